"""Searches that train blocks at all candidates jointly, or every set there is, to find out what they are worth.

They cost more than :func:`quietbar.placement.search`, which trains nothing, and say more.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from torch import nn

from quietbar.contract.block import BlockConfig, Kernel, Mode
from quietbar.contract.errors import require
from quietbar.denoise import insert

from .plan import Plan
from .trials import SHORT, Batches, BlockTraining, Losses, Space, planned, take_blocks

EVERY_SUBSET = 1024
"""Up to so many sets of blocks are all looked at; of more, a descent from all blocks looks at few."""


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
    training: BlockTraining = SHORT,
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
    space = Space(model, data, scoring, budget, candidates, (width,), kernel, mode)
    denoised = insert(model, planned(space.narrowest), kernel=kernel, mode=mode, seed=training.seed)
    training(denoised, data, dropping)
    loss = Losses(denoised, scoring, training.objective)
    chosen = _best_subset(space, loss)
    rises = {name: loss(_without(space.names, name)) - loss(space.names) for name in space.names}
    plan = space.plan({name: space.narrowest[name] for name in chosen}, rises, loss(chosen) / loss(()))
    result = insert(model, plan, kernel=kernel, mode=mode, seed=training.seed)
    take_blocks(result, denoised, chosen)
    return plan, result.eval()


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
    training: BlockTraining = SHORT,
) -> tuple[Plan, nn.Module]:
    """Train every set of blocks that fits the budget and could have none more and none wider; for small networks.

    The arguments are those of :func:`search_jointly`, but each block may have any of the ``widths``. The scores are
    each candidate's share of the sets that are better than the median one.

    Raises:
        ConfigurationError: there are more than ``EVERY_SUBSET`` sets, whatever they cost.
    """
    space = Space(model, data, scoring, budget, candidates, widths, kernel, mode)
    count = math.prod(1 + len(blocks) for blocks in space.offered.values())
    allowed = f"of {EVERY_SUBSET} sets at most, not {count}"
    require(count <= EVERY_SUBSET, "placement.candidates", len(space.names), allowed)
    results = []
    for blocks in _largest(space.offered, space.affordable):
        trained = insert(model, planned(blocks), kernel=kernel, mode=mode, seed=training.seed)
        training(trained, data)
        results.append((Losses(trained, scoring, training.objective)(blocks), blocks, trained))
    results.sort(key=lambda each: each[0])
    better = results[: max(1, len(results) // 2)]
    shares = {name: sum(name in blocks for _, blocks, _ in better) / len(better) for name in space.names}
    least, chosen, found = results[0]
    return space.plan(chosen, shares, least / Losses(model, scoring, training.objective)(())), found.eval()


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


def _best_subset(space: Space, loss: Callable[[Iterable[str]], float]) -> tuple[str, ...]:
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
