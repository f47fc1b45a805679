"""Requantisation: the one rounding rule of the project, in exact Python integers.

``y = clamp((acc * m + 2**(t-1)) >> t, low, high)`` with an arithmetic shift: a single rounding, half toward
plus infinity (TOSA and CMSIS-NN "single rounding", hls4ml ``RND``, RISC-V ``rnu``).
"""

from __future__ import annotations

import math

from .errors import ConfigurationError, require, require_integer

MULTIPLIER_BITS = 16
MULTIPLIER_LOW = 1 << (MULTIPLIER_BITS - 1)
MULTIPLIER_HIGH = (1 << MULTIPLIER_BITS) - 1
SHIFT_LOW = 1
SHIFT_HIGH = 47
SHIFT_BITS = SHIFT_HIGH.bit_length()


def round_shift(value: int, shift: int) -> int:
    """``value / 2**shift`` rounded half toward plus infinity; ``shift`` 0 returns ``value``."""
    return value if shift == 0 else (value + (1 << (shift - 1))) >> shift


def clamp(value: int, low: int, high: int) -> int:
    """``value`` limited to the closed range [low, high]."""
    return max(low, min(high, value))


def requantize(accumulator: int, multiplier: int, shift: int, low: int, high: int) -> int:
    """The specification of every requantiser, on one integer; see the module docstring."""
    return clamp(round_shift(accumulator * multiplier, shift), low, high)


def check_requantizer(multiplier: int, shift: int, where: str) -> None:
    """Refuse a multiplier or shift that the hardware does not implement; ``where`` names the channel."""
    require_integer(f"{where}.multiplier", multiplier, MULTIPLIER_LOW, MULTIPLIER_HIGH)
    require_integer(f"{where}.shift", shift, SHIFT_LOW, SHIFT_HIGH)


def choose_multiplier(ratio: float, where: str = "requantizer") -> tuple[int, int]:
    """The (multiplier, shift) whose ``multiplier * 2**-shift`` is nearest to ``ratio``.

    Raises:
        ConfigurationError: ``ratio`` is not a positive number, or needs a shift outside [1, 47].
    """
    require(math.isfinite(ratio) and ratio > 0, f"{where}.ratio", ratio, "a finite number above 0")
    mantissa, exponent = math.frexp(ratio)
    multiplier, shift = round(mantissa * (1 << MULTIPLIER_BITS)), MULTIPLIER_BITS - exponent
    if multiplier > MULTIPLIER_HIGH:
        multiplier, shift = MULTIPLIER_LOW, shift - 1
    if not SHIFT_LOW <= shift <= SHIFT_HIGH:
        smallest, largest = MULTIPLIER_LOW * 2.0**-SHIFT_HIGH, MULTIPLIER_HIGH * 2.0**-SHIFT_LOW
        raise ConfigurationError(f"{where}.ratio", ratio, f"between {smallest:.3g} and {largest:.6g}")
    return multiplier, shift
