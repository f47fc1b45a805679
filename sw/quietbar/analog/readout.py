"""The element-wise work round an analog product: quantizing its input, and reading its result out.

Compiled kernels do it where they can (float32 and float64, contiguous, in the processor's memory); the plain PyTorch
code below does it everywhere else and defines every bit. An element becomes, each operation rounded to its type::

    value = value * gain_c + offset_c                       c: its column; where they are given
    value = value + sigma * e                               e: see quietbar.noise.temporal
    value = value + e * sqrt(max(variance, 0) + sigma^2)    instead, where variances are given
    value = step * clamp(floor(value * (1 / step) + 1/2))   where there is a grid

Gradients pass through the rounding as if it were not there, and stop where a value was clipped (straight-through
estimator with saturation; Hubara et al., JMLR 18, 2018, section 1.3).
"""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from quietbar.native import kernels
from quietbar.noise import temporal

from .grid import Grid


@dataclass(frozen=True)
class Noise:
    """Temporal noise of a result.

    Attributes:
        sigma: standard deviation, in the unit of the result.
        seed: 64 bits; see :func:`quietbar.noise.temporal.add_noise_`.
        image: number of the first image of the result.
        variance: what is added to ``sigma**2`` at each element, of the result's shape and type; None is nothing. Below
            0, as rounding may leave it, counts as 0.
    """

    sigma: float
    seed: int
    image: int
    variance: Tensor | None = None


@dataclass(frozen=True)
class Columns:
    """What the converters of the columns do to values: ``value * gain + offset``.

    Attributes:
        gain: (columns), of the result's type, or None.
        offset: the same, in the unit of the result.
        dimension: which dimension of the result counts columns; 1 for convolutions, -1 for linear layers.
    """

    gain: Tensor | None = None
    offset: Tensor | None = None
    dimension: int = 1


def quantize(values: Tensor, grid: Grid) -> Tensor:
    """``values`` on ``grid``; of any shape and floating type, on any device. Straight-through gradient."""
    if values.requires_grad and torch.is_grad_enabled():
        result: Tensor = _Quantize.apply(values, grid)
        return result
    return _quantize(values, grid, None)


def read_out_(
    result: Tensor,
    noise: Noise | None = None,
    grid: Grid | None = None,
    columns: Columns | None = None,
    has_batch: bool = True,
) -> Tensor:
    """Column gains and offsets, noise and conversion of ``result``, in place.

    Args:
        result: (images, ...), or one image without ``has_batch``. Its old values are lost: nobody else may need them.
        noise: None is none. The gradient passes it by.
        grid: of the ADC; None converts nothing.
        columns: None changes nothing.
        has_batch: whether the first dimension counts images.

    Returns:
        ``result``, known to autograd.
    """
    if columns is not None and columns.gain is None and columns.offset is None:
        columns = None
    if columns is None and grid is None:
        if noise is not None:
            _read_out(result.detach(), noise, None, None, has_batch, None)
        return result
    if result.requires_grad and torch.is_grad_enabled():
        changed: Tensor = _ReadOut.apply(result, noise, grid, columns, has_batch)
        return changed
    _read_out(result.detach(), noise, grid, columns, has_batch, None)
    return result


class _Quantize(torch.autograd.Function):
    """Keeps one byte an element, and none where nothing was clipped."""

    @staticmethod
    def forward(context: Any, values: Tensor, grid: Grid) -> Tensor:
        inside = torch.empty(values.shape, dtype=torch.bool, device=values.device)
        result = _quantize(values.detach(), grid, inside)
        context.save_for_backward(None if bool(inside.all()) else inside)
        return result

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (inside,) = context.saved_tensors
        return (gradients[0] if inside is None else gradients[0] * inside), None


class _ReadOut(torch.autograd.Function):
    @staticmethod
    def forward(
        context: Any, result: Tensor, noise: Noise | None, grid: Grid | None, columns: Columns | None, has_batch: bool
    ) -> Tensor:
        inside = None if grid is None else torch.empty(result.shape, dtype=torch.bool, device=result.device)
        _read_out(result.detach(), noise, grid, columns, has_batch, inside)
        context.mark_dirty(result)
        gain = None if columns is None else columns.gain
        context.shape = None if gain is None or columns is None else _column_shape(result, columns)
        context.save_for_backward(None if inside is None or bool(inside.all()) else inside, gain)
        return result

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        inside, gain = context.saved_tensors
        gradient = gradients[0] if inside is None else gradients[0] * inside
        return (gradient if gain is None else gradient * gain.view(context.shape)), None, None, None, None


def _column_shape(result: Tensor, columns: Columns) -> list[int]:
    shape = [1] * result.dim()
    shape[columns.dimension] = -1
    return shape


def _quantize(values: Tensor, grid: Grid, inside: Tensor | None) -> Tensor:
    native = _native(values)
    if native is None:
        return _quantize_by_torch(values, grid, inside, out=None)
    result = torch.empty_like(values)
    function = native.quantize[_type_name(values)]
    flag = None if inside is None else inside.data_ptr()
    function(values.data_ptr(), result.data_ptr(), values.numel(), _levels(grid), flag, torch.get_num_threads())
    return result


def _read_out(
    result: Tensor,
    noise: Noise | None,
    grid: Grid | None,
    columns: Columns | None,
    has_batch: bool,
    inside: Tensor | None,
) -> None:
    if result.numel() == 0:
        return
    native = _native(result, noise.variance if noise else None, *((columns.gain, columns.offset) if columns else ()))
    if native is None:
        _read_out_by_torch(result, noise, grid, columns, has_batch, inside)
        return
    images = result.shape[0] if has_batch else 1
    count = inner = 1
    if columns is not None:
        dimension = columns.dimension % result.dim()
        count, inner = result.shape[dimension], math.prod(result.shape[dimension + 1 :])
    native.read_out[_type_name(result)](
        result.data_ptr(),
        images,
        result.numel() // images,
        None if noise is None else temporal.quantiles(result.device).data_ptr(),
        0.0 if noise is None else noise.sigma,
        0 if noise is None else noise.seed,
        0 if noise is None else noise.image,
        _pointer(noise.variance if noise else None),
        _pointer(columns.gain if columns else None),
        _pointer(columns.offset if columns else None),
        count,
        inner,
        None if grid is None else _levels(grid),
        _pointer(inside),
        torch.get_num_threads(),
    )


def _read_out_by_torch(
    result: Tensor,
    noise: Noise | None,
    grid: Grid | None,
    columns: Columns | None,
    has_batch: bool,
    inside: Tensor | None,
) -> None:
    if columns is not None:
        shape = _column_shape(result, columns)
        if columns.gain is not None:
            result *= columns.gain.view(shape)
        if columns.offset is not None:
            result += columns.offset.view(shape)
    if noise is not None:
        images = result if has_batch else result.unsqueeze(0)
        if noise.variance is None:
            temporal.add_noise_by_torch_(images, noise.sigma, noise.seed, noise.image)
        else:
            drawn = torch.zeros(images.shape, device=result.device)
            temporal.add_noise_by_torch_(drawn, 1.0, noise.seed, noise.image)
            square = noise.variance.reshape(images.shape).clamp(min=0).add_(noise.sigma**2)
            images += drawn.to(result.dtype) * _square_root(square)
    if grid is not None:
        _quantize_by_torch(result, grid, inside, out=result)


def _square_root(values: Tensor) -> Tensor:
    """Rounded to the nearest, as IEEE 754 asks; PyTorch's own on a processor may be the second nearest."""
    if values.device.type == "cpu" and values.dtype in (torch.float32, torch.float64):
        return torch.from_numpy(np.sqrt(values.numpy()))
    return values.sqrt()


def _quantize_by_torch(values: Tensor, grid: Grid, inside: Tensor | None, out: Tensor | None) -> Tensor:
    if inside is not None:
        torch.logical_and(values >= grid.least, values <= grid.most, out=inside)
    codes = torch.mul(values, 1 / grid.step, out=out)
    return codes.add_(0.5).floor_().clamp_(grid.low, grid.high).mul_(grid.step)


def _native(values: Tensor, *others: Tensor | None) -> Any:
    """The kernels, where they can do the work."""
    fits = values.dtype in (torch.float32, torch.float64) and values.device.type == "cpu" and values.is_contiguous()
    for other in others:
        fits = fits and (other is None or (other.dtype == values.dtype and other.is_contiguous()))
    return kernels() if fits else None


def _type_name(values: Tensor) -> str:
    return "float32" if values.dtype == torch.float32 else "float64"


def _pointer(values: Tensor | None) -> int | None:
    return None if values is None else values.data_ptr()


def _levels(grid: Grid) -> Any:
    return (ctypes.c_double * 6)(1 / grid.step, grid.step, grid.low, grid.high, grid.least, grid.most)
