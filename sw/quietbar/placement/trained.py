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
    space = _Space(model, data, budget, candidates, (width,), kernel, mode)
    denoised = insert(model, _planned(space.narrowest), kernel=kernel, mode=mode, seed=training.seed)
    training(denoised, data, dropping)
    loss = _Losses(denoised, scoring, training.objective)
    chosen = _best_subset(space, loss)
    rises = {name: loss(_without(space.names, name)) - loss(space.names) for name in space.names}
    plan = space.plan({name: space.narrowest[name] for name in chosen}, rises, loss(chosen) / loss(()))
    result = insert(model, plan, kernel=kernel, mode=mode, seed=training.seed)
    _take_blocks(result, denoised, chosen)
    return plan, result.eval()


def search_greedily(
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
    """Step by step, add the narrowest block or widen one by a step, where that pays most.

    A step is tried at each candidate: the block that is new or wider starts afresh, the others from where they are, and
    after a short training of all, that step is taken which lowers the loss most for the parameters that it adds. It
    ends where none lowers the loss, or none fits the budget.

    The arguments are those of :func:`search_jointly`, but each block may have any of the ``widths``. The scores are
    the fall of the loss by the steps taken at this candidate.

    Returns:
        The plan, and a copy of the model with the chosen blocks, trained.
    """
    space = _Space(model, data, budget, candidates, widths, kernel, mode)
    current, falls = model, dict.fromkeys(space.names, 0.0)
    chosen: dict[str, BlockConfig] = {}
    none = least = _Losses(model, scoring, training.objective)(())
    while True:
        tried = []
        for name in space.names:
            block = space.wider(name, chosen.get(name))
            grown = {**chosen, name: block} if block else {}
            if block is None or not space.affords(grown.values()):
                continue
            network = insert(model, _planned(grown), kernel=kernel, mode=mode, seed=training.seed)
            _take_blocks(network, current, [other for other in chosen if other != name])
            training(network, data)
            found = _Losses(network, scoring, training.objective)(grown)
            added = block.parameters - (chosen[name].parameters if name in chosen else 0)
            tried.append(((least - found) / added, name, found, block, network))
        if not tried or max(tried, key=lambda each: each[0])[0] <= 0:
            break
        _, name, found, block, current = max(tried, key=lambda each: each[0])
        falls[name] += least - found
        least, chosen[name] = found, block
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
    space = _Space(model, data, budget, candidates, widths, kernel, mode)
    count = math.prod(1 + len(blocks) for blocks in space.offered.values())
    allowed = f"of {EVERY_SUBSET} sets at most, not {count}"
    require(count <= EVERY_SUBSET, "placement.candidates", len(space.names), allowed)
    results = []
    for blocks in _largest(space.offered, space.affordable):
        trained = insert(model, _planned(blocks), kernel=kernel, mode=mode, seed=training.seed)
        training(trained, data)
        results.append((_Losses(trained, scoring, training.objective)(blocks), blocks, trained))
    results.sort(key=lambda each: each[0])
    better = results[: max(1, len(results) // 2)]
    shares = {name: sum(name in blocks for _, blocks, _ in better) / len(better) for name in space.names}
    least, chosen, found = results[0]
    return space.plan(chosen, shares, least / _Losses(model, scoring, training.objective)(())), found.eval()


class _Space:
    """The candidates, the blocks that each may have, and what the budget affords."""

    def __init__(
        self,
        model: nn.Module,
        data: Batches,
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
        first = next(iter(data), None)
        require(first is not None, "placement.data", data, "at least one batch")
        assert first is not None
        with analog.quiet(model):
            names = find_candidates(model, first[0]) if candidates is None else list(candidates)
            require(len(names) > 0, "placement.candidates", names, "at least one, or None to have them found")
            measured = measure(model, names, first[0], kernel=kernel, mode=mode)
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

    def wider(self, name: str, block: BlockConfig | None) -> BlockConfig | None:
        """The next block that the candidate may have; None where it has the widest."""
        offered = self.offered[name]
        number = 0 if block is None else offered.index(block) + 1
        return offered[number] if number < len(offered) else None

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


def _planned(blocks: Mapping[str, BlockConfig]) -> list[PlannedTap]:
    return [PlannedTap(name, 0.0, block, 0.0, selected=True) for name, block in blocks.items()]


def _take_blocks(model: nn.Module, source: nn.Module, names: Iterable[str]) -> None:
    """Give the blocks of ``model`` at these taps the weights and statistics that they have in ``source``."""
    to, of = taps(model), taps(source)
    for name in names:
        to[name].block.load_state_dict(of[name].block.state_dict())


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
            return (loss(_without(among, name)) - loss(among)) / space.narrowest[name].parameters

        chosen = _without(chosen, min(chosen, key=price))
    while True:
        wider = [(*chosen, name) for name in space.names if name not in chosen and space.fits((*chosen, name))]
        best = min(wider, key=loss, default=chosen)
        if loss(best) >= loss(chosen):
            return chosen
        chosen = best


def _without(names: Sequence[str], left_out: str) -> tuple[str, ...]:
    return tuple(name for name in names if name != left_out)
