"""The values that a uniform converter can tell apart."""

from __future__ import annotations

import math
from dataclasses import dataclass

from quietbar.contract.errors import require, require_integer

MOST_BITS = 16


@dataclass(frozen=True)
class Grid:
    """Integer codes ``low`` to ``high``, worth ``step`` each: ``value -> step * clamp(floor(value / step + 1/2))``.

    Attributes:
        step: value of one code, in the unit of what is converted; above 0.
        low: lowest code, at most 0.
        high: highest code, at least 1.
    """

    step: float
    low: int
    high: int

    def __post_init__(self) -> None:
        is_number = isinstance(self.step, (int, float)) and not isinstance(self.step, bool)
        require(is_number and math.isfinite(self.step) and self.step > 0, "grid.step", self.step, "a number above 0")
        most = 1 << MOST_BITS
        require_integer("grid.low", self.low, -most, 0)
        require_integer("grid.high", self.high, 1, most)

    @classmethod
    def signed(cls, bits: int, limit: float) -> Grid:
        """Codes ``-(2**(bits - 1) - 1)`` to ``2**(bits - 1) - 1`` for values of up to ``limit`` of either sign."""
        require_integer("grid.bits", bits, 2, MOST_BITS)
        high = (1 << bits - 1) - 1
        return cls(limit / high, -high, high)

    @classmethod
    def unsigned(cls, bits: int, limit: float) -> Grid:
        """Codes 0 to ``2**bits - 1`` for values from 0 to ``limit``."""
        require_integer("grid.bits", bits, 1, MOST_BITS)
        high = (1 << bits) - 1
        return cls(limit / high, 0, high)

    @property
    def least(self) -> float:
        """The value of the lowest code."""
        return self.low * self.step

    @property
    def most(self) -> float:
        """The value of the highest code."""
        return self.high * self.step
