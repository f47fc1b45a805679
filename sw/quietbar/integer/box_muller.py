"""The Gaussian source, vectorised: fixed-point Box-Muller, equal to ``quietbar.contract.gaussian`` sample by sample."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quietbar.contract.errors import require_integer
from quietbar.contract.gaussian import (
    ANGLE_BITS,
    LOGARITHM,
    OCTAVES,
    PRODUCT_SHIFT,
    RADIUS_BITS,
    SIGN_OF_FIRST_BIT,
    SIGN_OF_SECOND_BIT,
    SINE,
    SQUARE_ROOT,
    InterpolationTable,
)

from .compiled import compiled_samples
from .uniform import DRAW_HIGH, Words, draw_chunks

Integers = NDArray[np.int64]

PIECE = 1 << 14
"""Draws that become samples together, so that the intermediate arrays stay in the processor's cache."""

_MANTISSA_BITS = 52
_EXPONENT_BIAS = 1023
_ANGLE_MASK = (1 << ANGLE_BITS) - 1


def _columns(table: InterpolationTable) -> tuple[Integers, Integers]:
    return np.array(table.base, np.int64), np.array(table.slope, np.int64)


_LOGARITHM = _columns(LOGARITHM)
_SQUARE_ROOT = _columns(SQUARE_ROOT)
_OCTAVES_BY_LENGTH = np.array((0, *OCTAVES[::-1]), np.int64)
"""`OCTAVES` by the bit length of the radius word instead of its leading zeros."""


def _interpolate(
    table: InterpolationTable, columns: tuple[Integers, Integers], index: Integers, rest: Integers
) -> Integers:
    """``table.value`` of int64 arrays; overwrites ``rest``."""
    base, slope = columns
    product = slope.take(index, mode="clip")
    rest <<= 1
    rest += 1
    product *= rest
    product += 1 << table.rest_bits
    product >>= table.rest_bits + 1
    product += base.take(index, mode="clip")
    return product


def _sines() -> Integers:
    angle = np.arange(1 << ANGLE_BITS)
    return _interpolate(SINE, _columns(SINE), angle >> SINE.rest_bits, angle & ((1 << SINE.rest_bits) - 1))


_SINES = _sines()
_COSINES = np.ascontiguousarray(_SINES[::-1])


def _float_bits(positive: Integers) -> Integers:
    """The float64 patterns of positive integers below 2**53: bit length + 1022, then what follows the leading one."""
    return positive.astype(np.float64).view(np.int64)


def exponents(radius_words: Integers) -> Integers:
    """-2 ln(u) with 24 fraction bits, int64, of 48-bit words (int64)."""
    pattern = _float_bits(radius_words | 1)
    length = (pattern >> _MANTISSA_BITS) - (_EXPONENT_BIAS - 1)
    pattern >>= _MANTISSA_BITS - LOGARITHM.index_bits - LOGARITHM.rest_bits
    rest = pattern & ((1 << LOGARITHM.rest_bits) - 1)
    pattern >>= LOGARITHM.rest_bits
    pattern &= (1 << LOGARITHM.index_bits) - 1
    found = _OCTAVES_BY_LENGTH.take(length, mode="clip")
    found -= _interpolate(LOGARITHM, _LOGARITHM, pattern, rest)
    return np.maximum(found, 1, out=found)


def radii(exponent_values: Integers) -> Integers:
    """Square roots with 13 fraction bits, int64, of exponents int64 in [1, 2**31)."""
    length = (_float_bits(exponent_values) >> _MANTISSA_BITS) - (_EXPONENT_BIAS - 1)
    pairs = (32 - length) >> 1
    normalized = exponent_values << (pairs << 1)
    index = normalized >> 23
    normalized >>= 13
    normalized &= (1 << SQUARE_ROOT.rest_bits) - 1
    root = _interpolate(SQUARE_ROOT, _SQUARE_ROOT, index, normalized)
    root += 1 << pairs
    root >>= pairs + 1
    return root


def samples_of_draws(draws: Words) -> NDArray[np.int16]:
    """The two samples of each draw uint64 [draws], int16 [2 * draws]."""
    length = radii(exponents((draws >> np.uint64(64 - RADIUS_BITS)).view(np.int64)))
    low = (draws & np.uint64(0xFFFF)).view(np.int64)
    angle = low & _ANGLE_MASK
    found = np.empty((draws.size, 2), np.int16)
    for column, wave, sign_bit in ((0, _COSINES, SIGN_OF_FIRST_BIT), (1, _SINES, SIGN_OF_SECOND_BIT)):
        value = wave.take(angle, mode="clip")
        value *= length
        value += 1 << (PRODUCT_SHIFT - 1)
        value >>= PRODUCT_SHIFT
        sign = -(low >> sign_bit & 1)
        value ^= sign
        value -= sign
        found[:, column] = value
    return found.reshape(-1)


def gaussian_array(seed: int, count: int, start: int = 0) -> NDArray[np.int16]:
    """Samples ``start`` to ``start + count - 1`` of ``seed``, int16 [count], 11 fraction bits; see :func:`gaussian`."""
    require_integer("start", start, 0, 2 * DRAW_HIGH + 1)
    require_integer("count", count, 0, 2 * DRAW_HIGH)
    skipped = start % 2
    draws = (count + skipped + 1) // 2
    found = compiled_samples("box-muller", seed, draws, start // 2)
    if found is None:
        found = samples_by_numpy(seed, draws, start // 2)
    return found[skipped : skipped + count]


def samples_by_numpy(seed: int, draws: int, start: int) -> NDArray[np.int16]:
    """The samples of draws ``start`` to ``start + draws - 1`` without compiled kernels."""
    found = np.empty(2 * draws, np.int16)
    position = 0
    for chunk in draw_chunks(seed, draws, start):
        for first in range(0, chunk.size, PIECE):
            piece = samples_of_draws(chunk[first : first + PIECE])
            found[position : position + piece.size] = piece
            position += piece.size
    return found


def gaussian(seed: int, count: int, start: int = 0) -> Tensor:
    """Standard normal samples, integers with 11 fraction bits: ``value = integer / 2048``.

    Args:
        seed: 0 to 2**64 - 1.
        count: how many samples.
        start: number of the first one in the seed's sequence, so that consecutive calls make up one sequence.

    Returns:
        int16 [count], equal to ``quietbar.contract.gaussian.samples(seed, count, start)``.

    Raises:
        ConfigurationError: an argument is not an integer in its range.
    """
    return torch.from_numpy(gaussian_array(seed, count, start))
