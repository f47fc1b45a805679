"""Weights to target conductances, and conductances back to the weights that they amount to.

A layer's weights are a matrix (rows, columns): one row per input of a column, one column per output; a grouped
convolution's groups stand side by side. Its devices are numbered in row-major order of (slices, rows, columns, sides):
the least significant slice first, and of a differential pair the positive side first. With the offset mapping a column
of reference devices for each group follows the others. So a one-slice differential layer has its devices in the order
of :mod:`quietbar.contract.crossbar`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from quietbar.noise import Conductance


@dataclass(frozen=True)
class Mapped:
    """A layer's weights as targets of devices, all in float64.

    Attributes:
        conductance: the configuration.
        groups: groups of columns, each with inputs (and with the offset mapping a reference column) of its own.
        scale: weight that a relative weight of 1 stands for, (columns).
        target: conductances, in microsiemens, (slices, rows, columns [+ groups], sides).
    """

    conductance: Conductance
    groups: int
    scale: Tensor
    target: Tensor

    @property
    def significance(self) -> Tensor:
        """Relative weight of each slice's full range of conductance, (slices)."""
        conductance = self.conductance
        span = 2.0 if conductance.mapping == "offset" else 1.0
        if conductance.levels is None or conductance.magnitudes is None:
            return torch.tensor([span], dtype=torch.float64)
        steps = conductance.levels - 1
        values = [conductance.levels**k * steps / (conductance.magnitudes - 1) for k in range(conductance.slices)]
        return torch.tensor(values, dtype=torch.float64)


def to_targets(matrix: Tensor, conductance: Conductance, groups: int = 1) -> Mapped:
    """Weights, float64 (rows, columns), as targets of devices. Rounding of levels is half to even."""
    columns = matrix.shape[1]
    if conductance.scale == "layer":
        scale = matrix.abs().max().expand(columns) if matrix.numel() else matrix.new_ones(columns)
    else:
        scale = matrix.abs().amax(dim=0) if matrix.numel() else matrix.new_ones(columns)
    scale = torch.where(scale > 0, scale, 1.0)
    digits = _digits(matrix / scale, conductance, groups)
    target = digits * (conductance.g_max - conductance.g_min)
    return Mapped(conductance, groups, scale, target if conductance.mapping == "signed" else target + conductance.g_min)


def to_weights(mapped: Mapped, conductances: Tensor) -> Tensor:
    """The weights, float64 (rows, columns), that conductances of the shape of ``mapped.target`` amount to."""
    conductance, columns = mapped.conductance, len(mapped.scale)
    span = conductance.g_max - conductance.g_min
    if conductance.mapping == "differential":
        difference = conductances[..., 0] - conductances[..., 1]
    elif conductance.mapping == "offset":
        reference = conductances[:, :, columns:, 0].repeat_interleave(columns // mapped.groups, dim=2)
        difference = conductances[:, :, :columns, 0] - reference
    else:
        difference = conductances[..., 0]
    return torch.einsum("s,src->rc", mapped.significance / span, difference) * mapped.scale


def to_variances(mapped: Mapped, deviations: Tensor) -> tuple[Tensor, Tensor | None]:
    """What independent deviations of the devices, in microsiemens, are as variances of weights.

    Returns:
        Variances (rows, columns) of the weights by their own devices; and with the offset mapping those by the
        reference devices, (rows, groups), in units of the columns' squared scales: all columns share a reference.
    """
    conductance, columns = mapped.conductance, len(mapped.scale)
    factor = (mapped.significance / (conductance.g_max - conductance.g_min)).square()
    variance = torch.einsum("s,srcd->rc", factor, deviations.square())
    own = variance[:, :columns] * mapped.scale.square()
    return own, variance[:, columns:] if conductance.mapping == "offset" else None


def _digits(relative: Tensor, conductance: Conductance, groups: int) -> Tensor:
    """Relative conductances, 0 to 1 (signed: -1 to 1), of the devices for relative weights (rows, columns)."""
    steps = None if conductance.magnitudes is None else conductance.magnitudes - 1
    if conductance.mapping == "offset":
        rows = relative.shape[0]
        relative = torch.cat((relative, relative.new_zeros(rows, groups)), dim=1)
        if steps is None:
            return (relative / 2 + 0.5).unsqueeze(0).unsqueeze(-1)
        return _slices((relative * steps).round() + steps, conductance).unsqueeze(-1)
    magnitude = relative.abs()
    digits = magnitude.unsqueeze(0) if steps is None else _slices((magnitude * steps).round(), conductance)
    if conductance.mapping == "signed":
        return (digits * relative.sign()).unsqueeze(-1)
    return torch.stack((digits * (relative > 0), digits * (relative < 0)), dim=-1)


def _slices(codes: Tensor, conductance: Conductance) -> Tensor:
    """Digits of integer ``codes``, least significant first, relative to the highest digit: (slices, *codes)."""
    assert conductance.levels is not None
    digits = []
    for _ in range(conductance.slices):
        digits.append(codes % conductance.levels)
        codes = torch.div(codes, conductance.levels, rounding_mode="floor")
    return torch.stack(digits) / (conductance.levels - 1)
