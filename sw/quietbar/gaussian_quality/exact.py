"""The sources' distributions without sampling: everything that a uniform draw can be is gone through."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from quietbar.contract.gaussian import (
    ANGLE_BITS,
    EXPONENT_BITS,
    LOGARITHM,
    OCTAVES,
    PRODUCT_SHIFT,
    RADIUS_BITS,
    RADIUS_VALUE_BITS,
    SAMPLE,
    SQUARE_ROOT,
    sine,
)
from quietbar.contract.inverse_cdf import (
    COARSE_BITS,
    CURVE_SHIFT,
    FINE_BITS,
    FINE_OCTAVES,
    MAGNITUDE_SHIFT,
    OCTAVE_BITS,
    PLACE_BITS,
    QUANTILE,
    SLOPE_SHIFT,
    row_of,
)
from quietbar.contract.sources import Kind, check_kind

from .tally import UNIT, VALUES, Integers
from .verdict import Floats, chi_square, grid_probabilities, sixteenths


@functools.cache
def probabilities_of(kind: Kind) -> Floats:
    """Probability of each value of a sample, if draws are uniform, float64 [65536], read-only.

    Raises:
        ConfigurationError: ``kind`` names no source.
    """
    check_kind(kind)
    magnitudes = _box_muller() if kind == "box-muller" else _inverse_cdf()
    found = np.zeros(len(VALUES))
    found[-SAMPLE.low :] = magnitudes / 2
    found[1 : 1 - SAMPLE.low] += magnitudes[::-1] / 2
    found.flags.writeable = False
    return found


def _inverse_cdf() -> Floats:
    """Of magnitudes, float64 [32768]: segment by segment, all places of each."""
    place = 2 * np.arange(1 << PLACE_BITS, dtype=np.int64) + 1 - (1 << PLACE_BITS)
    magnitudes = np.zeros(SAMPLE.high + 1)
    for octave in range(OCTAVE_BITS + 1):
        segments = 1 << (FINE_BITS if octave < FINE_OCTAVES else COARSE_BITS)
        weight = 2.0 ** -min(octave + 1, OCTAVE_BITS) / segments / place.size
        for segment in range(segments):
            row = row_of(octave, segment)
            slope = QUANTILE.slope[row] + (QUANTILE.curve[row] * place >> CURVE_SHIFT)
            value = QUANTILE.base[row] + (slope * place >> SLOPE_SHIFT)
            found = np.bincount(value >> MAGNITUDE_SHIFT)
            magnitudes[: found.size] += weight * found
    return magnitudes


def _box_muller() -> Floats:
    """Of magnitudes, float64 [32768]: the distribution of the radius, then at each of the angles that of its part."""
    # Summed from the tail, where probabilities are too small to be differences of numbers near 1.
    at_least = np.concatenate([np.cumsum(_radii()[::-1])[::-1], [0.0]])
    halves = (2 * np.arange(SAMPLE.high + 1, dtype=np.int64) + 1) << PRODUCT_SHIFT - 1
    exceeded = np.zeros(SAMPLE.high + 1)
    for angle in range(1 << ANGLE_BITS):
        # The magnitude exceeds v where the product reaches v and a half.
        limits = -(-halves // sine(angle))
        exceeded += at_least[np.minimum(limits, len(at_least) - 1)]
    return -np.diff(exceeded / (1 << ANGLE_BITS), prepend=1.0)


@functools.cache
def _radii() -> Floats:
    """Probability of each value of the radius, float64 [2**17].

    The root reads the leading bits of ``e`` alone: so exponents are counted by those, and few roots are drawn.
    """
    unread = EXPONENT_BITS + 1 - SQUARE_ROOT.index_bits - SQUARE_ROOT.rest_bits
    leading = np.arange((1 << EXPONENT_BITS - 1 >> unread), (1 << EXPONENT_BITS + 1 >> unread) + 1)
    found = np.zeros(1 << RADIUS_VALUE_BITS)
    for weight, exponents in _exponents():
        ends = (int(end).bit_length() for end in (exponents[-1], exponents[0]))
        least, most = ((EXPONENT_BITS + 1 - bits) // 2 for bits in ends)
        for pairs in range(least, most + 1):
            # Where exponents begin that, shifted up by so many pairs of places, have these leading bits.
            first = -(-(leading << unread) >> 2 * pairs)
            number = np.diff(np.searchsorted(exponents, first))
            met = np.flatnonzero(number)
            np.add.at(found, _roots(pairs)[met], weight * number[met])
    return found


def _exponents() -> Iterator[tuple[float, Integers]]:
    """All values of ``e``, in ascending groups that share the probability of one of them."""
    used = LOGARITHM.index_bits + LOGARITHM.rest_bits
    place, half = np.arange(1 << LOGARITHM.rest_bits, dtype=np.int64) * 2 + 1, 1 << LOGARITHM.rest_bits
    lines = zip(LOGARITHM.base, LOGARITHM.slope, strict=True)
    logarithms = np.concatenate([base + (slope * place + half >> LOGARITHM.rest_bits + 1) for base, slope in lines])
    in_order = np.sort(logarithms)
    for zeros, octave in enumerate(OCTAVES):
        # So many bits follow the leading one; the lowest of the word is always 1.
        following = RADIUS_BITS - 1 - zeros
        values = in_order
        if following <= used:
            step = 1 << used - following
            values = np.sort(logarithms[step :: 2 * step]) if following else logarithms[:1]
        weight = 2.0 ** -min(zeros + 1, RADIUS_BITS - 1) / values.size
        yield weight, np.maximum(1, octave - values[::-1])


@functools.cache
def _roots(pairs: int) -> Integers:
    """The radius of each exponent that, shifted up by so many pairs of places, has 19 leading bits in turn."""
    index = np.arange(1 << SQUARE_ROOT.index_bits - 2, 1 << SQUARE_ROOT.index_bits)[:, None]
    place = np.arange(1 << SQUARE_ROOT.rest_bits) * 2 + 1
    half = 1 << SQUARE_ROOT.rest_bits
    base, slope = (np.array(column)[index] for column in (SQUARE_ROOT.base, SQUARE_ROOT.slope))
    root = base + (slope * place + half >> SQUARE_ROOT.rest_bits + 1)
    return (root + (1 << pairs) >> pairs + 1).reshape(-1)


@dataclass(frozen=True)
class Deviation:
    """How far a distribution is from N(0, 1) on the samples' grid.

    Attributes:
        variance, fourth_moment: their errors.
        distance: of Kolmogorov and Smirnov, the largest difference of the distribution functions.
        chi_square: by which a sample raises the expected statistic, over 128 bins of 1/16 sigma.
        tails: beyond 3, 4, 5, 6 and 7 sigma, the probability over the ideal one, less 1.
    """

    variance: float
    fourth_moment: float
    distance: float
    chi_square: float
    tails: tuple[float, ...]

    @property
    def visible_from(self) -> float:
        """Samples from which the chi-square's expectation is raised by one of its standard deviations."""
        return float(np.sqrt(2 * 127) / self.chi_square)


def deviation(probabilities: Floats) -> Deviation:
    """Of the distribution with these probabilities."""
    ideal, values = grid_probabilities(), VALUES / UNIT
    difference = probabilities - ideal
    tails = (np.abs(values) >= sigmas for sigmas in (3, 4, 5, 6, 7))
    return Deviation(
        variance=float(difference @ values**2),
        fourth_moment=float(difference @ values**4),
        distance=float(np.abs(np.cumsum(difference)).max()),
        chi_square=chi_square(probabilities, ideal, sixteenths()),
        tails=tuple(float(probabilities[tail].sum() / ideal[tail].sum() - 1) for tail in tails),
    )
