"""Integer arithmetic on tensors: requantisation, rounding, and checks that name the offending element."""

from __future__ import annotations

import torch
from torch import Tensor

from quietbar.contract.errors import require, require_integer
from quietbar.contract.requantize import MULTIPLIER_HIGH, MULTIPLIER_LOW, SHIFT_HIGH, SHIFT_LOW

ACCUMULATOR_MAGNITUDE = ((1 << 63) - 1 - (1 << (SHIFT_HIGH - 1))) // MULTIPLIER_HIGH
"""Largest accumulator whose product and rounding constant stay inside 64 bits: nearly 2**47."""


def check_requantizers(multiplier: Tensor, shift: Tensor, where: str = "requantizer") -> None:
    """Refuse multipliers and shifts, one per channel, that the hardware does not implement; the channel is named."""
    check_range(f"{where}.multiplier", multiplier, MULTIPLIER_LOW, MULTIPLIER_HIGH)
    check_range(f"{where}.shift", shift, SHIFT_LOW, SHIFT_HIGH)


def check_range(field: str, values: Tensor, low: int, high: int, axis: str = "channel") -> None:
    """Refuse a tensor that is not of integers in the closed range [low, high]; the first offender is named by index."""
    require(is_integral(values), field, values.dtype, "a tensor of integers")
    if not values.numel():
        return
    least, most = (int(bound) for bound in torch.aminmax(values))
    if low <= least and most <= high:
        return
    position = tuple(((values < low) | (values > high)).nonzero()[0].tolist())
    index = f", {axis} {', '.join(map(str, position))}" if position else ""
    require_integer(field + index, int(values[position]), low, high)


def is_integral(values: Tensor) -> bool:
    """Whether a tensor's elements are integers (booleans are not)."""
    return not (values.is_floating_point() or values.is_complex() or values.dtype == torch.bool)


def requantize(
    acc: Tensor | int, multiplier: Tensor | int, shift: Tensor | int, low: int, high: int, where: str = "requantizer"
) -> Tensor:
    """Scale, round and clamp accumulators, exactly as every requantiser of the hardware does.

    Args:
        acc: integers of any shape, at most `ACCUMULATOR_MAGNITUDE` in magnitude.
        multiplier: 2**15 to 2**16 - 1; one, or per channel in a shape that broadcasts against ``acc``.
        shift: 1 to 47, likewise.
        low: least output; 0 for a ReLU.
        high: largest output.
        where: what the requantizer belongs to, for the error.

    Returns:
        int64 of the broadcast shape, equal to ``quietbar.contract.requantize`` element by element.

    Raises:
        ConfigurationError: an operand is not of integers or outside its range; the channel is named.
    """
    acc, multiplier, shift = torch.as_tensor(acc), torch.as_tensor(multiplier), torch.as_tensor(shift)
    require(low <= high, f"{where}.low", low, f"at most high = {high}")
    check_requantizers(multiplier, shift, where)
    check_range(f"{where}.accumulator", acc, -ACCUMULATOR_MAGNITUDE, ACCUMULATOR_MAGNITUDE, axis="element")
    # |acc * multiplier| + 2**46 <= 2**63 - 1 by the range just checked, so int64 does not wrap.
    shift = shift.long()
    return round_shift(acc.long() * multiplier.long(), shift).clamp_(low, high)


def round_shift(values: Tensor, shift: Tensor | int) -> Tensor:
    """``values / 2**shift`` rounded half toward plus infinity; ``shift`` at least 1."""
    return (values + (torch.as_tensor(1) << (torch.as_tensor(shift) - 1))) >> shift
