"""What calibration keeps of the numbers that it has seen."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .grid import Grid
from .interface import Converter

BIN_SHIFT = 16
"""A bin is the upper 16 bits of a magnitude in float32: its exponent and 7 bits of its fraction."""


@dataclass(frozen=True)
class Distribution:
    """Moments, extremes and histogram of some numbers.

    Attributes:
        count: how many.
        mean: their mean.
        std: their standard deviation.
        low: the smallest.
        high: the largest.
        first: number of the histogram's first bin.
        bins: how many magnitudes fell into each bin from ``first`` on.
    """

    count: int
    mean: float
    std: float
    low: float
    high: float
    first: int = field(default=0, repr=False)
    bins: tuple[int, ...] = field(default=(), compare=False, repr=False)

    @property
    def range(self) -> float:
        """The largest minus the smallest."""
        return self.high - self.low

    def limit(self, converter: Converter) -> float:
        """The largest magnitude that ``converter`` converts."""
        if converter.range == "percentile":
            size = self.percentile(converter.percentile)
        elif converter.range == "std":
            size = abs(self.mean) + converter.deviations * self.std
        else:
            size = max(abs(self.low), abs(self.high))
        return size * converter.margin

    def percentile(self, percent: float) -> float:
        """The smallest end of a bin that ``percent`` percent of the magnitudes do not exceed, at most the largest."""
        needed, seen = math.ceil(self.count * percent / 100), 0
        largest = max(abs(self.low), abs(self.high))
        for number, count in enumerate(self.bins, start=self.first):
            seen += count
            if seen >= needed:
                bits = torch.tensor((number + 1) << BIN_SHIFT, dtype=torch.int32)
                return min(float(bits.view(torch.float32)), largest)
        return largest


@dataclass(frozen=True)
class Calibration:
    """The scale of a layer's ideal results, and what its converters' ranges are found from.

    Attributes:
        std: standard deviation of the ideal results.
        range: their largest minus their smallest value.
        inputs: the layer's inputs; None where nobody measured them.
        conversions: the ideal results of each array, slice by slice; empty where nobody measured them.
    """

    std: float
    range: float
    inputs: Distribution | None = None
    conversions: tuple[Distribution, ...] = ()


@functools.lru_cache(maxsize=4096)
def grid_of(distribution: Distribution, converter: Converter, is_signed: bool) -> Grid | None:
    """The grid of ``converter`` for numbers like those seen; None where it is ideal or its range would be 0."""
    limit = distribution.limit(converter)
    if converter.bits is None or not limit > 0:
        return None
    return Grid.signed(converter.bits, limit) if is_signed else Grid.unsigned(converter.bits, limit)


@dataclass
class Moments:
    """Count, mean, sum of squared deviations, extremes and histogram of numbers that come in parts, in float64.

    Parts are merged by the formula of T. F. Chan, G. H. Golub, R. J. LeVeque, "Updating formulae and a pairwise
    algorithm for computing sample variances", 1979.
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    low: float = math.inf
    high: float = -math.inf
    bins: Tensor | None = None

    def add(self, values: Tensor) -> None:
        """Take in all elements of ``values``."""
        values = values.detach()
        count = values.numel()
        if count == 0:
            return
        magnitude_bins = values.abs().float().contiguous().view(torch.int32).view(-1).bitwise_right_shift_(BIN_SHIFT)
        counts = torch.bincount(magnitude_bins, minlength=1 << 15)
        self.bins = counts if self.bins is None else self.bins + counts
        values = values.double()
        variance, mean = torch.var_mean(values, correction=0)
        difference, total = float(mean) - self.mean, self.count + count
        self.squares += float(variance) * count + difference**2 * self.count * count / total
        self.mean += difference * count / total
        self.count = total
        low, high = torch.aminmax(values)
        self.low, self.high = min(self.low, float(low)), max(self.high, float(high))

    @property
    def is_finite(self) -> bool:
        """Whether all numbers were."""
        return math.isfinite(self.squares + self.high - self.low)

    @property
    def distribution(self) -> Distribution:
        """What the layers need of it."""
        assert self.bins is not None
        used = torch.nonzero(self.bins).view(-1)
        first, last = int(used[0]), int(used[-1])
        bins = tuple(self.bins[first : last + 1].tolist())
        return Distribution(
            self.count, self.mean, math.sqrt(self.squares / self.count), self.low, self.high, first, bins
        )
