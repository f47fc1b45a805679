"""The noise that blocks meet in training: how loud, and never the noise of an evaluation."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from quietbar import analog
from quietbar.contract.errors import require

FIRST_IMAGE = 1 << 40
"""Number, in the chip's noise, of the first training image: far from 0, where evaluations start."""


@dataclass(frozen=True)
class NoiseLevels:
    """How loud the noise of a training batch is, as a factor of the chip's own.

    Attributes:
        low, high: ends of the range from which a factor is drawn evenly.
        clean: probability of no noise at all instead.
    """

    low: float = 0.0
    high: float = 1.25
    clean: float = 0.1

    def __post_init__(self) -> None:
        for name in ("low", "high", "clean"):
            value = getattr(self, name)
            is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            require(is_number and value >= 0, f"levels.{name}", value, "a number of at least 0")
        require(self.low <= self.high, "levels.high", self.high, f"at least levels.low = {self.low}")
        require(self.clean <= 1, "levels.clean", self.clean, "a probability")

    def draw(self, generator: torch.Generator) -> float:
        """One factor."""
        chance, position = torch.rand(2, generator=generator).tolist()
        return 0.0 if chance < self.clean else self.low + (self.high - self.low) * position


@contextlib.contextmanager
def unchanged_noise(model: nn.Module) -> Iterator[None]:
    """Level and position of the noise of ``model``, if it has any, afterwards as they were."""
    factors = {module: module.factor for module in model.modules() if isinstance(module, analog.AnalogLayer)}
    position = analog.position(model)
    try:
        yield
    finally:
        for layer, factor in factors.items():
            layer.factor = factor
        analog.restart(model, position)
