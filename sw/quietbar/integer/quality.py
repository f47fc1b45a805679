"""How normal the Gaussian source is: moments, Kolmogorov-Smirnov, chi-square, tails and autocorrelation.

``python -m quietbar.integer.quality --count 100000000 --seed 1``; see "Quality" in docs/numerics.md. Exit status 1 if a
statistic is outside its limit.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from quietbar.contract.gaussian import SAMPLE, SAMPLE_FRACTION_BITS

from .box_muller import gaussian_array

CHUNK = 1 << 20
LAGS = 64
BINS_PER_SIGMA = 16
BINS = 128

Floats = NDArray[np.float64]
Row = tuple[str, float, float, bool]
"""What, its value, its limit, and whether it holds: by chance alone, one row in a thousand or fewer does not."""

UNIT = 1 << SAMPLE_FRACTION_BITS
VALUES = np.arange(SAMPLE.low, SAMPLE.high + 1)


def grid_probabilities() -> Floats:
    """Probabilities of N(0, 1) rounded to the grid of the samples, accurate in both tails."""
    below, above = (VALUES - 0.5) / UNIT, (VALUES + 0.5) / UNIT
    ndtr = special.ndtr
    return np.where(VALUES > 0, ndtr(-below) - ndtr(-above), ndtr(above) - ndtr(below))


def measure(seed: int, count: int) -> tuple[NDArray[np.int64], Floats]:
    """Counts by value, and the sums of products at lags 1 to `LAGS`."""
    counts, products = np.zeros(len(VALUES), np.int64), np.zeros(LAGS)
    before = np.zeros(LAGS)
    for start in range(0, count, CHUNK):
        samples = gaussian_array(seed, min(CHUNK, count - start), start).astype(np.int64)
        counts += np.bincount(samples - SAMPLE.low, minlength=len(VALUES))
        joined = np.concatenate([before, samples / UNIT])
        products += [joined[LAGS:] @ joined[LAGS - lag : -lag] for lag in range(1, LAGS + 1)]
        before = joined[-LAGS:]
    return counts, products


def judge(counts: NDArray[np.int64], products: Floats) -> Iterator[Row]:
    """Every statistic beside its limit."""
    total, probabilities = int(counts.sum()), grid_probabilities()
    expected, root = total * probabilities, np.sqrt(counts.sum())
    for power, name in ((1, "mean"), (2, "variance"), (3, "third moment"), (4, "fourth moment")):
        powers = (VALUES / UNIT) ** power
        spread = np.sqrt(probabilities @ powers**2 - (probabilities @ powers) ** 2)
        distance = abs(powers @ (counts - expected) / total) / (spread / root)
        yield f"{name}, standard errors from N(0, 1)", distance, 4, distance < 4
    distance = np.abs(np.cumsum(counts) / total - np.cumsum(probabilities)).max() * root
    yield "Kolmogorov-Smirnov, sqrt(N) D", distance, 1.95, distance < 1.95
    ends = np.arange(1 - BINS // 2, BINS // 2) * (UNIT // BINS_PER_SIGMA) - SAMPLE.low
    edges = np.concatenate([[0], ends])
    seen, wanted = np.add.reduceat(counts, edges), np.add.reduceat(expected, edges)
    square, limit = ((seen - wanted) ** 2 / wanted).sum(), stats.chi2.ppf(0.999, BINS - 1)
    yield f"chi-square, {BINS} bins of 1/{BINS_PER_SIGMA} sigma", square, limit, square < limit
    for sigmas in (3, 4, 5):
        tail = np.abs(VALUES) >= sigmas * UNIT
        low, high = stats.poisson.ppf([0.0005, 0.9995], expected[tail].sum())
        found = int(counts[tail].sum())
        yield f"beyond {sigmas} sigma ({low:.0f} to {high:.0f})", found, high, low <= found <= high
    largest = np.abs(products).max() / root
    yield f"autocorrelation, largest of lags 1 to {LAGS}, times sqrt(N)", largest, 4, largest < 4


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000_000, help="samples (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    arguments = parser.parse_args()
    rows = list(judge(*measure(arguments.seed, arguments.count)))
    print(f"seed {arguments.seed}, {arguments.count} samples")
    for name, value, limit, holds in rows:
        print(f"{name:<60} {value:>14.6g}   limit {limit:>10.6g}   {'ok' if holds else 'OUTSIDE'}")
    return 0 if all(holds for *_, holds in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
