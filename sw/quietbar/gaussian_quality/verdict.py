"""Judging a tally against N(0, 1) rounded to the samples' grid: every statistic beside its limits.

By chance alone, a row in a thousand or fewer is outside.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from quietbar.contract.gaussian import SAMPLE

from .tally import LAGS, UNIT, VALUES, Integers, Tally

BINS_PER_SIGMA = 16
BINS = 128
LEAST_EXPECTED = 10
"""Values that are expected less often share the outermost bins of the chi-square at one unit."""
LANES = (2, 4, 8, 16)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    """A statistic, and the closed range in which it is what chance gives."""

    name: str
    value: float
    low: float
    high: float

    @property
    def holds(self) -> bool:
        """Whether the value is in its range."""
        return bool(self.low <= self.value <= self.high)

    def to_dict(self) -> dict[str, Any]:
        """The fields and the verdict as plain values."""
        numbers = {name: float(getattr(self, name)) for name in ("value", "low", "high")}
        return {"name": self.name, **numbers, "holds": self.holds}


def grid_probabilities() -> Floats:
    """Probabilities of N(0, 1) rounded to the grid of the samples, accurate in both tails."""
    below, above = (VALUES - 0.5) / UNIT, (VALUES + 0.5) / UNIT
    ndtr = special.ndtr
    return np.where(VALUES > 0, ndtr(-below) - ndtr(-above), ndtr(above) - ndtr(below))


def sixteenths() -> Integers:
    """First index of each of the 128 bins of 1/16 sigma; the outermost reach to the ends."""
    ends = np.arange(1 - BINS // 2, BINS // 2) * (UNIT // BINS_PER_SIGMA) - SAMPLE.low
    return np.concatenate([[0], ends])


def units(expected: Floats) -> Integers:
    """First index of each bin of one unit that is expected often enough."""
    often = np.flatnonzero(expected >= LEAST_EXPECTED)
    return np.concatenate([[0], np.arange(often[0] + 1, often[-1] + 1)])


def chi_square(counts: NDArray[Any], expected: Floats, edges: Integers) -> float:
    """Pearson's statistic over bins."""
    seen, wanted = np.add.reduceat(counts, edges), np.add.reduceat(expected, edges)
    return float(((seen - wanted) ** 2 / wanted).sum())


def correlations(tally: Tally) -> tuple[Floats, Floats]:
    """Autocorrelation at lags 1 to `LAGS`, of the samples and of their squares, times sqrt(N)."""
    root = np.sqrt(tally.samples)
    return tally.products[1:] / UNIT**2 / root, tally.squares[1:] / UNIT**2 / 2 / root


def lane_correlations(tally: Tally, lanes: int) -> Floats:
    """Correlation of each two of ``lanes`` parallel lanes, times the root of the number of transfers."""
    blocks = tally.lanes.reshape(LAGS // lanes, lanes, LAGS // lanes, lanes)
    together = np.einsum("kakb->ab", blocks)
    return together[np.triu_indices(lanes, 1)] / UNIT**2 / np.sqrt(tally.samples / lanes)


def judge(tally: Tally) -> Iterator[Row]:
    """Every statistic beside its limits."""
    counts, total, probabilities = tally.counts, tally.samples, grid_probabilities()
    expected, root = total * probabilities, np.sqrt(total)
    for power, name in ((1, "mean"), (2, "variance"), (3, "third moment"), (4, "fourth moment")):
        powers = (VALUES / UNIT) ** power
        spread = np.sqrt(probabilities @ powers**2 - (probabilities @ powers) ** 2)
        distance = powers @ (counts - expected) / total / (spread / root)
        yield Row(f"{name}, standard errors from N(0, 1)", distance, -4, 4)
    distance = np.abs(np.cumsum(counts) / total - np.cumsum(probabilities)).max() * root
    yield Row("Kolmogorov-Smirnov, sqrt(N) D", distance, 0, stats.kstwobign.ppf(0.999))
    for name, edges in ((f"{BINS} bins of 1/{BINS_PER_SIGMA} sigma", sixteenths()), ("one unit", units(expected))):
        square, limit = chi_square(counts, expected, edges), stats.chi2.ppf(0.999, len(edges) - 1)
        yield Row(f"chi-square, {name}" + f" ({len(edges)} bins)" * (name == "one unit"), square, 0, limit)
    for sigmas in (3, 4, 5, 6):
        tail = np.abs(VALUES) >= sigmas * UNIT
        low, high = stats.poisson.ppf([0.0005, 0.9995], expected[tail].sum())
        yield Row(f"beyond {sigmas} sigma", int(counts[tail].sum()), low, high)
    for name, values in zip(("autocorrelation", "autocorrelation of squares"), correlations(tally), strict=True):
        yield Row(f"{name}, largest of lags 1 to {LAGS}, times sqrt(N)", np.abs(values).max(), 0, 4)
    for lanes in LANES:
        largest = np.abs(lane_correlations(tally, lanes)).max()
        yield Row(f"correlation of {lanes} lanes, largest, times sqrt(transfers)", largest, 0, 4)
