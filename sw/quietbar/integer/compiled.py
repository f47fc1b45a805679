"""The Gaussian sources by compiled kernels: the same samples as `box_muller` and `inverse_cdf` compute with NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from quietbar import native
from quietbar.contract import gaussian, inverse_cdf
from quietbar.contract.sources import SAMPLES_PER_DRAW, Kind
from quietbar.contract.uniform import LFSR161, LFSR258, WORD_BITS, CombinedGenerator, State

POWERS = 63
"""Powers of two whose leaps make up the steps to any draw, as in ``gaussian.cpp``."""

GENERATORS: dict[Kind, CombinedGenerator] = {"box-muller": LFSR258, "inverse-cdf": LFSR161}

Words = NDArray[np.uint64]


def compiled_samples(kind: Kind, seed: int, draws: int, start: int) -> NDArray[np.int16] | None:
    """The samples of draws ``start`` to ``start + draws - 1`` of ``seed``; None where there are no kernels."""
    kernels, state = native.kernels(), GENERATORS[kind].seed_state(seed)
    return None if kernels is None else samples_after(kernels, kind, state, draws, start)


def samples_after(kernels: native.Kernels, kind: Kind, state: State, draws: int, start: int = 0) -> NDArray[np.int16]:
    """The samples of ``draws`` draws; the first is ``start + 1`` steps after ``state``."""
    generator, words = GENERATORS[kind], np.array(state, np.uint64)
    found = np.empty(draws * SAMPLES_PER_DRAW[kind], np.int16)
    function = kernels.box_muller if kind == "box-muller" else kernels.inverse_cdf
    constants = (_components(generator), _matrices(generator), *_tables(kind))
    addresses = (array.ctypes.data for array in constants)
    function(found.ctypes.data, draws, words.ctypes.data, start, *addresses, torch.get_num_threads())
    return found


@cache
def _components(generator: CombinedGenerator) -> Words:
    rows = [(each.keep, each.tap, each.shift, each.order - each.shift) for each in generator.components]
    return np.array(rows, np.uint64)


@cache
def _matrices(generator: CombinedGenerator) -> Words:
    """By component and power of two the matrix of so many steps, uint64 [components, powers, bits]."""
    kernels, components = native.kernels(), _components(generator)
    assert kernels is not None
    found = np.empty((len(components), POWERS, WORD_BITS), np.uint64)
    kernels.leap_matrices(components.ctypes.data, len(components), found.ctypes.data)
    return found


@cache
def _tables(kind: Kind) -> tuple[Words, ...]:
    """As ``gaussian.cpp`` reads them: what a look-up needs in one word."""
    if kind == "box-muller":
        columns = (gaussian.LOGARITHM, gaussian.SQUARE_ROOT, gaussian.SINE)
        octaves = (0, *gaussian.OCTAVES[::-1])  # by bit length, not leading zeros
        return (*(_packed((32, each.base), (32, each.slope)) for each in columns), np.array(octaves, np.uint64))
    table = inverse_cdf.QUANTILE
    rows = [
        inverse_cdf.row_of(inverse_cdf.OCTAVE_BITS - length, segment)
        for length in range(inverse_cdf.OCTAVE_BITS + 1)
        for segment in range(1 << inverse_cdf.FINE_BITS)
    ]
    base, slope, curve = ([column[row] for row in rows] for column in (table.base, table.slope, table.curve))
    widths = (inverse_cdf.BASE_BITS, inverse_cdf.SLOPE_BITS, inverse_cdf.CURVE_BITS)
    return (_packed(*zip(widths, (base, slope, curve), strict=True)),)


def _packed(*columns: tuple[int, Sequence[int]]) -> Words:
    """Columns of the given widths side by side in a word, the first lowest."""
    found = np.zeros(len(columns[0][1]), np.uint64)
    place = 0
    for bits, values in columns:
        assert max(values) < 1 << bits
        found |= np.array(values, np.uint64) << np.uint64(place)
        place += bits
    return found
