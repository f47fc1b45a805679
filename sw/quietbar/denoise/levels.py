"""The noise that blocks meet in training: how loud, of which chips, and never the noise of an evaluation."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import nn

from quietbar import analog
from quietbar.contract.errors import require, require_integer
from quietbar.contract.seeds import derive_seed
from quietbar.noise import Chip

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


@dataclass(frozen=True)
class Population:
    """Chips on which blocks are trained, so that what they learn carries over to chips that nobody has measured.

    Attributes:
        chips: how many; each batch is on one of them. 0 is the model's own chip, for all batches.
        seed: of their seeds, which no evaluation uses by accident: they are derived, 64 bits wide.
    """

    chips: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        require_integer("population.chips", self.chips, 0, 1 << 31)
        require_integer("population.seed", self.seed, 0, (1 << 64) - 1)

    def draw(self, generator: torch.Generator) -> int:
        """The seed of one of the chips."""
        number = int(torch.randint(self.chips, (), generator=generator))
        return derive_seed(self.seed, "population", str(number))


def change_chip(model: nn.Module, seed: int) -> None:
    """Put every analog layer on chip ``seed``, with the variation that it has; the next image stays the next."""
    chips = chips_of(model)
    place(model, {layer: None if chip is None else replace(chip, seed=seed) for layer, chip in chips.items()})


def chips_of(model: nn.Module) -> dict[analog.AnalogLayer, Chip | None]:
    """The chip of every analog layer, if there are any."""
    return {module: module.chip for module in model.modules() if isinstance(module, analog.AnalogLayer)}


def place(model: nn.Module, chips: dict[analog.AnalogLayer, Chip | None]) -> None:
    """Put each layer on its chip of ``chips``; the next image stays the next."""
    position = analog.position(model)
    for layer, chip in chips.items():
        if chip is not None and chip != layer.chip:
            layer.place_on(chip)
    analog.restart(model, position)


@contextlib.contextmanager
def unchanged_noise(model: nn.Module) -> Iterator[None]:
    """Chip, level and position of the noise of ``model``, if it has any, afterwards as they were."""
    chips = chips_of(model)
    factors = {layer: layer.factor for layer in chips}
    position = analog.position(model)
    try:
        yield
    finally:
        place(model, chips)
        for layer, factor in factors.items():
            layer.factor = factor
        analog.restart(model, position)
