"""How a layer's product is cut into arrays, and its input into slices of bits."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from quietbar.contract.errors import require

from .grid import Grid
from .interface import Interface
from .readout import quantize


def rows_of(layer: nn.Module) -> int:
    """Rows that every column of a layer needs: inputs of an output (of its group)."""
    assert isinstance(layer.weight, Tensor)
    return layer.weight[0].numel()


def channel_ranges(weight: Tensor, interface: Interface, name: str = "layer") -> list[tuple[int, int]]:
    """First and last-plus-one input channel (of its group) of each array of a layer.

    Args:
        weight: (columns, channels, ...).
        interface: its ``tile_rows``.
        name: of the layer, for messages.

    Raises:
        ConfigurationError: one channel needs more rows than an array has.
    """
    channels, rows = weight.shape[1], weight[0, 0].numel()
    if interface.tile_rows is None:
        return [(0, channels)]
    allowed = f"at least {rows} for {name}, whose kernel has as many places"
    require(interface.tile_rows >= rows, "interface.tile_rows", interface.tile_rows, allowed)
    count = -(-channels // (interface.tile_rows // rows))
    ends = [channels * number // count for number in range(count + 1)]
    return list(itertools.pairwise(ends))


def slice_count(interface: Interface, grid: Grid | None) -> int:
    """How often an input on ``grid`` is applied."""
    if interface.slice_bits is None or grid is None:
        return 1
    return -(-grid.high.bit_length() // interface.slice_bits)


def slice_input(values: Tensor, grid: Grid, slice_bits: int) -> tuple[Tensor, ...]:
    """``values`` on ``grid``, cut into slices of their magnitude's bits, lowest first, each with the values' sign.

    Slice k holds codes of up to ``2**slice_bits - 1``, times the grid's step: the values on the grid are the sum of
    ``slices[k] * 2**(k * slice_bits)``.
    """
    slices: tuple[Tensor, ...] = _Slice.apply(quantize(values, grid), grid, slice_bits)
    return slices


class _Slice(torch.autograd.Function):
    """Each slice's gradient is the whole value's, times the slice's worth; the mean of them is passed on."""

    @staticmethod
    def forward(context: Any, values: Tensor, grid: Grid, slice_bits: int) -> tuple[Tensor, ...]:
        codes = (values / grid.step).round().int()
        sign, magnitude = codes.sign(), codes.abs()
        count = -(-grid.high.bit_length() // slice_bits)
        context.slice_bits = slice_bits
        mask = (1 << slice_bits) - 1
        return tuple(
            (((magnitude >> (number * slice_bits)) & mask) * sign).to(values.dtype) * grid.step
            for number in range(count)
        )

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        scaled = [gradient / (1 << number * context.slice_bits) for number, gradient in enumerate(gradients)]
        return torch.stack(scaled).mean(dim=0), None, None


def multiply(
    layer: nn.Module, values: Tensor, weight: Tensor, bias: Tensor | None, channels: tuple[int, int] | None = None
) -> Tensor:
    """The product that ``layer`` computes, with another weight: of all input channels, or of a range of every group.

    Args:
        layer: a convolution or linear layer, for its stride and so on.
        values: all of its input.
        weight: all of its weight, (columns, channels of a group, ...).
        bias: (columns) or None.
        channels: first and last-plus-one channel of each group that take part; None is all.
    """
    if isinstance(layer, nn.Linear):
        if channels is not None:
            values, weight = values[..., channels[0] : channels[1]], weight[:, channels[0] : channels[1]]
        return functional.linear(values, weight, bias)
    assert isinstance(layer, nn.Conv2d)
    if channels is not None:
        start, end = channels
        parts = values.unflatten(-3, (layer.groups, -1)).narrow(-3, start, end - start)
        values, weight = parts.flatten(-4, -3), weight[:, start:end]
    return layer._conv_forward(values, weight, bias)
