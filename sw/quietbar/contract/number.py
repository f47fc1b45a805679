"""Integer formats: how many bits, signed or not, and the closed range that follows."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import require_choice, require_integer


@dataclass(frozen=True)
class IntegerFormat:
    """A two's-complement (or unsigned) integer of ``bits`` bits with zero point 0."""

    bits: int
    signed: bool

    def __post_init__(self) -> None:
        require_integer("format.bits", self.bits, 1, 64)
        require_choice("format.signed", self.signed, (True, False))

    @property
    def low(self) -> int:
        """Smallest representable integer."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        """Largest representable integer."""
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1

    @property
    def magnitude(self) -> int:
        """Largest absolute value."""
        return max(-self.low, self.high)


INT8 = IntegerFormat(8, signed=True)
UINT8 = IntegerFormat(8, signed=False)

WEIGHT = INT8
WEIGHT_LIMIT = 127
"""Weights lie in [-127, 127]: -128 is never used, so that a sign flip is always representable."""

BIAS = IntegerFormat(24, signed=True)
"""Biases and ADC offsets. The exporter widens a weight scale rather than let a bias leave this format."""


def signed_bits(magnitude: int) -> int:
    """Bits of the smallest signed format that holds every integer in [-magnitude, magnitude]."""
    return magnitude.bit_length() + 1
