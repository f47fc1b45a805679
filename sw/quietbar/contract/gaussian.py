"""The Gaussian source: Box-Muller in fixed point, two samples from each 64-bit draw.

Source: G. E. P. Box, M. E. Muller, "A note on the generation of random normal deviates", 1958. One draw of the uniform
source gives 48 bits for the radius and 16 for the angle::

    draw[63:16] | 1 -> u in (0, 1)      e = -2 ln(u)      f = sqrt(e)
    draw[13:0]      -> phi in (0, pi/2)                   first = +-f cos(phi)      second = +-f sin(phi)
    draw[15], draw[14] are the signs of the first and the second sample

Samples ``2j`` and ``2j + 1`` of a seed come from its draw ``j``. A sample is signed 16 bits with 11 fraction bits.
Logarithm, square root, sine and cosine are tables with linear interpolation, all of one form (`InterpolationTable`).
The functions here are the specification, on one integer at a time; the reference and the hardware equal them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from .number import IntegerFormat
from .requantize import round_shift
from .uniform import leap, output, seed_state, step

SAMPLE = IntegerFormat(16, signed=True)
SAMPLE_FRACTION_BITS = 11

RADIUS_BITS = 48
ANGLE_BITS = 14
SIGN_OF_FIRST_BIT = ANGLE_BITS + 1
SIGN_OF_SECOND_BIT = ANGLE_BITS

EXPONENT_FRACTION_BITS = 24
EXPONENT_BITS = 31
ROOT_FRACTION_BITS = 17
RADIUS_FRACTION_BITS = 13
RADIUS_VALUE_BITS = 17
SINE_FRACTION_BITS = 16
PRODUCT_SHIFT = RADIUS_FRACTION_BITS + SINE_FRACTION_BITS - SAMPLE_FRACTION_BITS


@dataclass(frozen=True)
class InterpolationTable:
    """A function on 2**index_bits equal segments, a straight line in each.

    ``value(index, rest) = base[index] + round_shift(slope[index] * (2 * rest + 1), rest_bits + 1)``: the line is read
    at the middle of the finest step. Bases are raised so that the mean error over each segment is nil.
    """

    index_bits: int
    rest_bits: int
    base: tuple[int, ...]
    slope: tuple[int, ...]

    @property
    def base_bits(self) -> int:
        """Width of the unsigned base column."""
        return max(self.base).bit_length()

    @property
    def slope_bits(self) -> int:
        """Width of the unsigned slope column."""
        return max(self.slope).bit_length()

    def value(self, index: int, rest: int) -> int:
        """The interpolated function value."""
        return self.base[index] + round_shift(self.slope[index] * (2 * rest + 1), self.rest_bits + 1)


def _tabulate(
    function: Callable[[float], float], index_bits: int, rest_bits: int, fraction_bits: int, first: int = 0
) -> InterpolationTable:
    """Table of ``function`` over segment numbers; segments below ``first`` are never read and hold zeros."""
    base, slope = [0] * first, [0] * first
    for index in range(first, 1 << index_bits):
        left, middle, right = function(index), function(index + 0.5), function(index + 1)
        raised = left + (middle - (left + right) / 2) * 2 / 3
        base.append(round(raised * 2**fraction_bits))
        slope.append(round((right - left) * 2**fraction_bits))
    return InterpolationTable(index_bits, rest_bits, tuple(base), tuple(slope))


LOGARITHM = _tabulate(lambda segment: 2 * math.log1p(segment / 512), 9, 15, EXPONENT_FRACTION_BITS)
"""2 ln(1 + x) for x in [0, 1), 24 fraction bits."""

OCTAVES = tuple(round((zeros + 1) * 2 * math.log(2) * 2**EXPONENT_FRACTION_BITS) for zeros in range(RADIUS_BITS))
"""-2 ln(2**-(zeros + 1)), 24 fraction bits, by the number of leading zeros of u."""

SQUARE_ROOT = _tabulate(lambda segment: math.sqrt(segment / 128), 9, 10, ROOT_FRACTION_BITS, first=128)
"""sqrt(y) for y in [1, 4), indexed by y's leading nine bits (two of them before the point), 17 fraction bits."""

SINE = _tabulate(lambda segment: math.sin(segment / 512 * math.pi / 2), 9, 5, SINE_FRACTION_BITS)
"""Sine over the first quadrant, 16 fraction bits; the cosine is the sine of the complemented angle."""


def exponent(radius_word: int) -> int:
    """-2 ln(u) with 24 fraction bits, at least 1, for the 48-bit word of u (its lowest bit is taken as 1)."""
    word = radius_word | 1
    zeros = RADIUS_BITS - word.bit_length()
    fraction = (word << (zeros + 1)) & ((1 << RADIUS_BITS) - 1)
    index = fraction >> (RADIUS_BITS - LOGARITHM.index_bits)
    rest = (fraction >> (RADIUS_BITS - LOGARITHM.index_bits - LOGARITHM.rest_bits)) & ((1 << LOGARITHM.rest_bits) - 1)
    return max(1, OCTAVES[zeros] - LOGARITHM.value(index, rest))


def radius(exponent_value: int) -> int:
    """sqrt(e) with 13 fraction bits for e = ``exponent_value`` with 24 fraction bits, from 1 to 2**31 - 1."""
    pairs = (32 - exponent_value.bit_length()) // 2
    normalized = exponent_value << (2 * pairs)
    index = normalized >> 23
    rest = (normalized >> 13) & ((1 << SQUARE_ROOT.rest_bits) - 1)
    return round_shift(SQUARE_ROOT.value(index, rest), pairs + 1)


def sine(angle_word: int) -> int:
    """Sine of the middle of step ``angle_word`` (14 bits) of the first quadrant, 16 fraction bits."""
    return SINE.value(angle_word >> SINE.rest_bits, angle_word & ((1 << SINE.rest_bits) - 1))


def pair(draw: int) -> tuple[int, int]:
    """The two samples of one 64-bit draw."""
    length = radius(exponent(draw >> 16))
    angle = draw & ((1 << ANGLE_BITS) - 1)
    complement = angle ^ ((1 << ANGLE_BITS) - 1)
    first = round_shift(length * sine(complement), PRODUCT_SHIFT)
    second = round_shift(length * sine(angle), PRODUCT_SHIFT)
    return (
        -first if draw >> SIGN_OF_FIRST_BIT & 1 else first,
        -second if draw >> SIGN_OF_SECOND_BIT & 1 else second,
    )


def samples(seed: int, count: int, start: int = 0) -> list[int]:
    """Samples ``start`` to ``start + count - 1`` of ``seed``, one by one: the specification, slow on purpose."""
    state = leap(seed_state(seed), start // 2)
    found: list[int] = []
    while len(found) < count + start % 2:
        state = step(state)
        found.extend(pair(output(state)))
    return found[start % 2 : start % 2 + count]


SIGMA_FRACTION_BITS = 8
"""Every standard deviation is an unsigned integer with 8 fraction bits below the unit it scales."""


def scaled_noise(sigma: int, sample: int, fraction_bits: int) -> int:
    """``sigma * sample`` with ``fraction_bits`` fraction bits, for a sigma with 8 and a sample with 11."""
    return round_shift(sigma * sample, SIGMA_FRACTION_BITS + SAMPLE_FRACTION_BITS - fraction_bits)
