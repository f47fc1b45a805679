"""The inverse-CDF source, vectorised; equal to ``quietbar.contract.inverse_cdf`` sample by sample."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from quietbar.contract.errors import require_integer
from quietbar.contract.inverse_cdf import (
    CURVE_SHIFT,
    FINE_BITS,
    MAGNITUDE_SHIFT,
    OCTAVE_BITS,
    PLACE_BITS,
    QUANTILE,
    SIGN_BIT,
    SLOPE_SHIFT,
    row_of,
)
from quietbar.contract.uniform import LFSR161

from .compiled import compiled_samples
from .uniform import DRAW_HIGH, Words, draw_chunks

PIECE = 1 << 14
"""Draws that become samples together, so that the intermediate arrays stay in the processor's cache."""

_MANTISSA_BITS = 52
_BIAS = 1022
_ROWS = np.array(
    [row_of(OCTAVE_BITS - length, segment) for length in range(OCTAVE_BITS + 1) for segment in range(1 << FINE_BITS)],
    np.int64,
)
"""Rows by the bit length of the octave's word, and segment."""


def _by_length(column: tuple[int, ...]) -> NDArray[np.int64]:
    return np.array(column, np.int64)[_ROWS]


_BASE, _SLOPE, _CURVE = (_by_length(column) for column in (QUANTILE.base, QUANTILE.slope, QUANTILE.curve))


def samples_of_draws(draws: Words) -> NDArray[np.int16]:
    """The sample of each draw uint64 [draws], int16 [draws]."""
    words = draws.view(np.int64)
    octave = (draws >> np.uint64(SIGN_BIT + 1)).view(np.int64)
    # The exponent of a float64 tells the bit length; zero has its own, below that of 1 by more than one.
    row = octave.astype(np.float64).view(np.int64)
    row >>= _MANTISSA_BITS
    row -= _BIAS
    np.maximum(row, 0, out=row)
    row <<= FINE_BITS
    low = words >> PLACE_BITS
    row += low & ((1 << FINE_BITS) - 1)
    place = words & ((1 << PLACE_BITS) - 1)
    place <<= 1
    place += 1 - (1 << PLACE_BITS)
    value = _CURVE.take(row, mode="clip")
    value *= place
    value >>= CURVE_SHIFT
    value += _SLOPE.take(row, mode="clip")
    value *= place
    value >>= SLOPE_SHIFT
    value += _BASE.take(row, mode="clip")
    value >>= MAGNITUDE_SHIFT
    low >>= SIGN_BIT - PLACE_BITS
    low &= 1
    sign = np.negative(low, out=low)
    value ^= sign
    value -= sign
    return value.astype(np.int16)


def inverse_cdf_array(seed: int, count: int, start: int = 0) -> NDArray[np.int16]:
    """Samples ``start`` to ``start + count - 1`` of ``seed``, int16 [count], 11 fraction bits.

    Raises:
        ConfigurationError: an argument is not an integer in its range.
    """
    require_integer("start", start, 0, DRAW_HIGH)
    require_integer("count", count, 0, DRAW_HIGH)
    found = compiled_samples("inverse-cdf", seed, count, start)
    return samples_by_numpy(seed, count, start) if found is None else found


def samples_by_numpy(seed: int, count: int, start: int) -> NDArray[np.int16]:
    """The samples of draws ``start`` to ``start + count - 1`` without compiled kernels."""
    found = np.empty(count, np.int16)
    position = 0
    for chunk in draw_chunks(seed, count, start, LFSR161):
        for first in range(0, chunk.size, PIECE):
            piece = samples_of_draws(chunk[first : first + PIECE])
            found[position : position + piece.size] = piece
            position += piece.size
    return found
