"""What searches that train blocks share: how they train, what they may choose, what a set of blocks is worth."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from quietbar import analog
from quietbar.contract.block import BlockConfig, Kernel, Mode
from quietbar.contract.errors import require, require_integer, require_number
from quietbar.data.checks import first_inputs, pairs, require_batches
from quietbar.denoise import NoiseLevels, Objective, measure, taps, train
from quietbar.denoise.levels import unchanged_noise
from quietbar.models import evaluation_mode

from .candidates import find_candidates
from .plan import Plan, PlannedTap

Batches = Iterable[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class BlockTraining:
    """How the searches train blocks, each time.

    Attributes:
        epochs: passes over the training batches.
        learning_rate: the peak.
        objective: what is trained for, and what sets of blocks are compared by.
        levels: range of the noise.
        seed: of first weights, noise levels and dropping.
    """

    epochs: int = 2
    learning_rate: float = 5e-3
    objective: Objective = Objective()  # noqa: RUF009 - it is frozen
    levels: NoiseLevels = NoiseLevels()  # noqa: RUF009
    seed: int = 0

    def __post_init__(self) -> None:
        require_integer("placement.training.epochs", self.epochs, 1, 1_000_000)
        require_number("placement.training.learning_rate", self.learning_rate, 0.0)

    def __call__(self, model: nn.Module, data: Batches, dropping: float = 0.0) -> None:
        train(
            model,
            data,
            self.epochs,
            learning_rate=self.learning_rate,
            objective=self.objective,
            levels=self.levels,
            dropping=dropping,
            seed=self.seed,
            progress=False,
        )


SHORT = BlockTraining()
"""What the searches do unless told otherwise."""


class Space:
    """The candidates, the blocks that each may have, and what the budget affords."""

    def __init__(
        self,
        model: nn.Module,
        data: Batches,
        scoring: Batches,
        budget: float,
        candidates: Iterable[str] | None,
        widths: Sequence[float],
        kernel: Kernel,
        mode: Mode,
    ) -> None:
        require_number("placement.budget", budget, 0.0, 1.0)
        require(len(widths) > 0, "placement.widths", tuple(widths), "at least one")
        for width in widths:
            require_number("placement.width", width, 0.0)
        require_batches("placement.data", data, again=True)
        require_batches("placement.scoring", scoring, again=True)
        first = first_inputs("placement.data", data)
        with analog.quiet(model):
            names = find_candidates(model, first) if candidates is None else list(candidates)
            require(len(names) > 0, "placement.candidates", names, "at least one, or None to have them found")
            measured = measure(model, names, first, kernel=kernel, mode=mode)
        self.offered = {name: _of_widths(block, widths) for name, block in measured.items()}
        self.narrowest = {name: blocks[0] for name, blocks in self.offered.items()}
        self.names = tuple(self.offered)
        self.budget, self.backbone = float(budget), sum(parameter.numel() for parameter in model.parameters())
        self.affordable = int(budget * self.backbone)
        cheapest = min(block.parameters for block in self.narrowest.values())
        least = math.ceil(1e4 * cheapest / self.backbone) / 1e4
        allowed = f"at least {least:.4f}: the cheapest block has {cheapest:,} parameters"
        require(self.affordable >= cheapest, "placement.budget", budget, allowed)

    @property
    def count(self) -> int:
        """Sets of candidates, whatever they cost."""
        return 1 << len(self.names)

    def affords(self, blocks: Iterable[BlockConfig]) -> bool:
        return sum(block.parameters for block in blocks) <= self.affordable

    def fits(self, names: Iterable[str]) -> bool:
        """Whether the narrowest blocks of these candidates are affordable."""
        return self.affords(self.narrowest[name] for name in names)

    def plan(self, chosen: Mapping[str, BlockConfig], scores: Mapping[str, float], remaining: float) -> Plan:
        total = sum(max(0.0, score) for score in scores.values()) or 1.0
        found = [
            PlannedTap(name, scores[name], block, max(0.0, scores[name]) / total, selected=name in chosen)
            for name, block in {**self.narrowest, **chosen}.items()
        ]
        return Plan(tuple(found), self.budget, self.backbone, remaining)


def _of_widths(block: BlockConfig, widths: Sequence[float]) -> list[BlockConfig]:
    """Blocks of these shares of the tap's channels, the narrowest first, none twice."""
    hidden = {max(1, round(width * block.channels)) for width in widths}
    return [replace(block, hidden=each) for each in sorted(hidden)]


def planned(blocks: Mapping[str, BlockConfig]) -> list[PlannedTap]:
    """These blocks as a plan tells of them."""
    return [PlannedTap(name, 0.0, block, 0.0, selected=True) for name, block in blocks.items()]


def take_blocks(model: nn.Module, source: nn.Module, names: Iterable[str]) -> None:
    """Give the blocks of ``model`` at these taps the weights and statistics that they have in ``source``."""
    to, of = taps(model), taps(source)
    for name in names:
        to[name].block.load_state_dict(of[name].block.state_dict())


class Losses:
    """Mean loss of a trained model with some of its blocks on, at the chip's own noise from image 0 on; kept by set."""

    def __init__(self, model: nn.Module, scoring: Batches, objective: Objective) -> None:
        self.model, self.scoring, self.objective = model, scoring, objective
        self.known: dict[frozenset[str], float] = {}

    def __call__(self, names: Iterable[str]) -> float:
        key = frozenset(names)
        if key not in self.known:
            self.known[key] = self._measure(key)
        return self.known[key]

    def _measure(self, names: frozenset[str]) -> float:
        found = taps(self.model)
        before = {tap: tap.enabled for tap in found.values()}
        total, count = 0.0, 0
        try:
            for name, tap in found.items():
                tap.enabled = name in names
            with unchanged_noise(self.model), evaluation_mode(self.model), torch.no_grad():
                analog.scale_noise(self.model, 1.0)
                analog.restart(self.model)
                for inputs, labels in pairs("placement.scoring", self.scoring):
                    total += len(labels) * float(self.objective(self.model, inputs, labels))
                    count += len(labels)
        finally:
            for tap, enabled in before.items():
                tap.enabled = enabled
        require(count > 0, "placement.scoring", count, "at least one image")
        return total / count
