"""Counting samples: how often each value came, and the sums of products that correlations are made of.

All sums are of integers and exact, so that a tally is the same on every machine, in any number of parts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from quietbar.contract.gaussian import SAMPLE, SAMPLE_FRACTION_BITS
from quietbar.contract.sources import Kind
from quietbar.integer.sources import source_array

LAGS = 64
"""Largest lag of the correlations, and samples of a block."""
PIECE = 1 << 18
"""Samples that are counted together, so that they stay in the processor's cache."""

UNIT = 1 << SAMPLE_FRACTION_BITS
VALUES = np.arange(SAMPLE.low, SAMPLE.high + 1)

Integers = NDArray[np.int64]
Source = Callable[[Kind, int, int, int], NDArray[np.int16]]


@dataclass(frozen=True)
class Tally:
    """Counts of samples; tallies of parts add up.

    Attributes:
        counts: by value, int64 [65536], the most negative first.
        products: of samples at lags 0 to `LAGS`, in units of 2**-22, int64 [65].
        squares: the same of ``x**2 - 1``, rounded to samples' units.
        lanes: of samples ``i`` and ``j`` of each block of `LAGS` samples, int64 [64, 64].
    """

    counts: Integers
    products: Integers
    squares: Integers
    lanes: Integers

    @classmethod
    def empty(cls) -> Tally:
        """Of no samples."""
        zeros = np.zeros
        return cls(
            zeros(len(VALUES), np.int64),
            zeros(LAGS + 1, np.int64),
            zeros(LAGS + 1, np.int64),
            zeros((LAGS, LAGS), np.int64),
        )

    @property
    def samples(self) -> int:
        """How many were counted."""
        return int(self.counts.sum())

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


def count_samples(kind: Kind, seed: int, start: int, count: int, source: Source = source_array) -> Tally:
    """Tally of samples ``start`` to ``start + count - 1``; products reach `LAGS` samples further.

    ``count`` is a multiple of `LAGS`.
    """
    total = Tally.empty()
    for first in range(start, start + count, PIECE):
        size = min(PIECE, start + count - first)
        total += _count(source(kind, seed, size + LAGS, first))
    return total


def _count(samples: NDArray[np.int16]) -> Tally:
    """Tally of all but the last `LAGS` samples."""
    wide = samples.astype(np.int64)
    counts = np.bincount(wide[:-LAGS] - SAMPLE.low, minlength=len(VALUES))
    products, lanes = _products(wide)
    squares, _ = _products((wide * wide + UNIT // 2 >> SAMPLE_FRACTION_BITS) - UNIT)
    return Tally(counts, products, squares, lanes)


def _products(values: Integers) -> tuple[Integers, Integers]:
    """Sums of products at all lags, and within blocks: two products of matrices whose sums float64 holds exactly."""
    blocks = values.astype(np.float64).reshape(-1, LAGS)
    now, later = blocks[:-1], blocks[1:]
    within, across = now.T @ now, now.T @ later
    both = np.concatenate([within, across], axis=1)
    lags = [np.trace(both, offset=lag) for lag in range(LAGS + 1)]
    return np.array(lags).astype(np.int64), within.astype(np.int64)
