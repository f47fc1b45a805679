"""Searches that train blocks to find out what they are worth: jointly, greedily, or every set there is.

They cost more than :func:`quietbar.placement.search`, which trains nothing, and say more.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from quietbar import analog
from quietbar.contract.block import BlockConfig, Kernel, Mode
from quietbar.contract.errors import require, require_integer, require_number
from quietbar.denoise import NoiseLevels, Objective, insert, measure, taps, train
from quietbar.denoise.levels import unchanged_noise
from quietbar.models import evaluation_mode

from .candidates import find_candidates
from .plan import Plan, PlannedTap

Batches = Iterable[tuple[Tensor, Tensor]]

EVERY_SUBSET = 1024
"""Up to so many sets of blocks are all looked at; of more, a descent from all blocks looks at few."""


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


def search_jointly(
    model: nn.Module,
    data: Batches,
    scoring: Batches,
    budget: float = 0.02,
    candidates: Iterable[str] | None = None,
    *,
    width: float = 0.25,
    kernel: Kernel = "depthwise",
    mode: Mode = "mean",
    training: BlockTraining = BlockTraining(),
    dropping: float = 0.5,
) -> tuple[Plan, nn.Module]:
    """Train blocks at all candidates at once, each left out at random, then choose among them without training again.

    The set with the least loss on ``scoring`` is found among all that fit the budget or, where these are more than
    ``EVERY_SUBSET``, by leaving out the block that is missed least for its parameters until the rest fits, and adding
    what still does. (One network whose parts are trained to stand in for each other: Bender et al., ICML 2018.)

    Args:
        model: from ``quietbar.analog.convert``, calibrated.
        data: (inputs, labels) batches to train on.
        scoring: batches to compare by, none of them test images.
        budget: parameters of all blocks, as a share of the model's.
        candidates: names of submodules; found by :func:`quietbar.placement.find_candidates` if None.
        width: of all blocks, as a share of their tap's channels.
        kernel: of all blocks.
        mode: of all blocks.
        training: how the blocks are trained.
        dropping: chance that a block is left out of a batch.

    Returns:
        The plan, whose scores are the rise of the loss where only this block is missing, and a copy of the model with
        the chosen blocks as they came out of the joint training.
    """
    space = _Space(model, data, budget, candidates, width, kernel, mode)
    denoised = insert(model, space.planned(space.names), kernel=kernel, mode=mode, seed=training.seed)
    training(denoised, data, dropping)
    loss = _Losses(denoised, scoring, training.objective)
    chosen = _best_subset(space, loss)
    rises = {name: loss(_without(space.names, name)) - loss(space.names) for name in space.names}
    plan = space.plan(chosen, rises, loss(chosen) / loss(()))
    result = insert(model, plan, kernel=kernel, mode=mode, seed=training.seed)
    for name, tap in taps(result).items():
        tap.block.load_state_dict(taps(denoised)[name].block.state_dict())
    return plan, result.eval()


def search_greedily(
    model: nn.Module,
    data: Batches,
    scoring: Batches,
    budget: float = 0.02,
    candidates: Iterable[str] | None = None,
    *,
    width: float = 0.25,
    kernel: Kernel = "depthwise",
    mode: Mode = "mean",
    training: BlockTraining = BlockTraining(),
) -> tuple[Plan, nn.Module]:
    """Add one block after the other: that which, after a short training, lowers the loss most for its parameters.

    The arguments are those of :func:`search_jointly`. The scores are the fall of the loss when the block came in.

    Returns:
        The plan, and a copy of the model with the chosen blocks, trained.
    """
    space = _Space(model, data, budget, candidates, width, kernel, mode)
    current, falls = model, dict.fromkeys(space.names, 0.0)
    chosen: tuple[str, ...] = ()
    none = least = _Losses(model, scoring, training.objective)(())
    while True:
        tried = []
        for name in space.names:
            if name in chosen or not space.fits((*chosen, name)):
                continue
            wider = insert(current, space.planned([name]), kernel=kernel, mode=mode, seed=training.seed)
            training(wider, data)
            found = _Losses(wider, scoring, training.objective)((*chosen, name))
            tried.append(((least - found) / space.blocks[name].parameters, name, found, wider))
        if not tried or max(tried, key=lambda each: each[0])[0] <= 0:
            break
        _, name, found, current = max(tried, key=lambda each: each[0])
        falls[name], least, chosen = least - found, found, (*chosen, name)
    require(len(chosen) > 0, "placement.data", "these", "batches on which one block at least lowers the loss")
    return space.plan(chosen, falls, least / none), current.eval()


def search_exhaustively(
    model: nn.Module,
    data: Batches,
    scoring: Batches,
    budget: float = 0.02,
    candidates: Iterable[str] | None = None,
    *,
    widths: Sequence[float] = (0.25,),
    kernel: Kernel = "depthwise",
    mode: Mode = "mean",
    training: BlockTraining = BlockTraining(),
) -> tuple[Plan, nn.Module]:
    """Train every set of blocks that fits the budget and could have none more and none wider; for small networks.

    The arguments are those of :func:`search_jointly`, but each block may have any of the ``widths``. The scores are
    each candidate's share of the sets that are better than the median one.

    Raises:
        ConfigurationError: there are more than ``EVERY_SUBSET`` sets, whatever they cost.
    """
    require(len(widths) > 0, "placement.widths", tuple(widths), "at least one")
    space = _Space(model, data, budget, candidates, min(widths), kernel, mode)
    offered = {name: [_of_width(block, width) for width in sorted(widths)] for name, block in space.blocks.items()}
    count = (1 + len(widths)) ** len(offered)
    require(count <= EVERY_SUBSET, "placement.candidates", len(offered), f"of {EVERY_SUBSET} sets at most, not {count}")
    results = []
    for blocks in _largest(offered, space.affordable):
        trained = insert(model, _planned(blocks), kernel=kernel, mode=mode, seed=training.seed)
        training(trained, data)
        results.append((_Losses(trained, scoring, training.objective)(blocks), blocks, trained))
    results.sort(key=lambda each: each[0])
    better = results[: max(1, len(results) // 2)]
    shares = {name: sum(name in blocks for _, blocks, _ in better) / len(better) for name in space.names}
    least, chosen, found = results[0]
    space.blocks = {**space.blocks, **chosen}
    return space.plan(tuple(chosen), shares, least / _Losses(model, scoring, training.objective)(())), found.eval()


class _Space:
    """The candidates, their blocks, and which sets of them fit the budget."""

    def __init__(
        self,
        model: nn.Module,
        data: Batches,
        budget: float,
        candidates: Iterable[str] | None,
        width: float,
        kernel: Kernel,
        mode: Mode,
    ) -> None:
        require_number("placement.budget", budget, 0.0, 1.0)
        require_number("placement.width", width, 0.0)
        first = next(iter(data), None)
        require(first is not None, "placement.data", data, "at least one batch")
        assert first is not None
        with analog.quiet(model):
            names = find_candidates(model, first[0]) if candidates is None else list(candidates)
            narrow = measure(model, names, first[0], kernel=kernel, mode=mode)
        self.blocks: Mapping[str, BlockConfig] = {name: _of_width(config, width) for name, config in narrow.items()}
        self.names = tuple(self.blocks)
        self.budget, self.backbone = float(budget), sum(parameter.numel() for parameter in model.parameters())
        self.affordable = int(budget * self.backbone)
        cheapest = min(block.parameters for block in self.blocks.values())
        least = math.ceil(1e4 * cheapest / self.backbone) / 1e4
        allowed = f"at least {least:.4f}: the cheapest block has {cheapest:,} parameters"
        require(self.affordable >= cheapest, "placement.budget", budget, allowed)

    @property
    def count(self) -> int:
        """Sets of candidates, whatever they cost."""
        return 1 << len(self.names)

    def fits(self, names: Iterable[str]) -> bool:
        return sum(self.blocks[name].parameters for name in names) <= self.affordable

    def planned(self, names: Iterable[str]) -> list[PlannedTap]:
        return _planned({name: self.blocks[name] for name in names})

    def plan(self, chosen: Sequence[str], scores: Mapping[str, float], remaining: float) -> Plan:
        total = sum(max(0.0, score) for score in scores.values()) or 1.0
        found = [
            PlannedTap(name, scores[name], block, max(0.0, scores[name]) / total, selected=name in chosen)
            for name, block in self.blocks.items()
        ]
        return Plan(tuple(found), self.budget, self.backbone, remaining)


def _of_width(block: BlockConfig, width: float) -> BlockConfig:
    return replace(block, hidden=max(1, round(width * block.channels)))


def _planned(blocks: Mapping[str, BlockConfig]) -> list[PlannedTap]:
    return [PlannedTap(name, 0.0, block, 0.0, selected=True) for name, block in blocks.items()]


def _largest(offered: Mapping[str, Sequence[BlockConfig]], affordable: int) -> Iterator[dict[str, BlockConfig]]:
    """The sets that fit and in which no block can be added and none replaced by the next wider one offered there."""
    costs = {name: [0, *(block.parameters for block in blocks)] for name, blocks in offered.items()}
    for numbers in itertools.product(*(range(len(each)) for each in costs.values())):
        chosen = dict(zip(costs, numbers, strict=True))
        left = affordable - sum(costs[name][number] for name, number in chosen.items())
        steps = [costs[name][number + 1] - costs[name][number]
                 for name, number in chosen.items() if number + 1 < len(costs[name])]  # fmt: skip
        if any(numbers) and left >= 0 and all(step > left for step in steps):
            yield {name: offered[name][number - 1] for name, number in chosen.items() if number}


class _Losses:
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
                for inputs, labels in self.scoring:
                    total += len(labels) * float(self.objective(self.model, inputs, labels))
                    count += len(labels)
        finally:
            for tap, enabled in before.items():
                tap.enabled = enabled
        require(count > 0, "placement.scoring", count, "at least one image")
        return total / count


def _best_subset(space: _Space, loss: Callable[[Iterable[str]], float]) -> tuple[str, ...]:
    if space.count <= EVERY_SUBSET:
        subsets = itertools.chain.from_iterable(
            itertools.combinations(space.names, number) for number in range(1, len(space.names) + 1)
        )
        return min((names for names in subsets if space.fits(names)), key=loss)
    chosen = space.names
    while not space.fits(chosen):

        def price(name: str, among: tuple[str, ...] = chosen) -> float:
            return (loss(_without(among, name)) - loss(among)) / space.blocks[name].parameters

        chosen = _without(chosen, min(chosen, key=price))
    while True:
        wider = [(*chosen, name) for name in space.names if name not in chosen and space.fits((*chosen, name))]
        best = min(wider, key=loss, default=chosen)
        if loss(best) >= loss(chosen):
            return chosen
        chosen = best


def _without(names: Sequence[str], left_out: str) -> tuple[str, ...]:
    return tuple(name for name in names if name != left_out)
