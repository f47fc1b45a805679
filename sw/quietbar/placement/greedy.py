"""A search that adds or widens one block after the other, where training shows that it pays most."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from quietbar.contract.block import BlockConfig, Kernel, Mode
from quietbar.contract.errors import require
from quietbar.denoise import insert, taps

from .plan import Plan
from .trials import SHORT, Batches, BlockTraining, Losses, Space, planned

Step = tuple[str, BlockConfig]
"""Put this block at this candidate, in the place of a narrower one if there is one."""


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
    training: BlockTraining = SHORT,
) -> tuple[Plan, nn.Module]:
    """Step by step, add a block or put a wider one in its place, where that pays most.

    When a step is tried, the block that it brings starts afresh, the others from where they are, and all are trained
    for a short time. Two descents are made, one by what a step lowers the loss for each parameter that it adds, one by
    what it lowers the loss, and the better of the two is taken: the first is thrifty, the second does not fill a large
    budget with narrow blocks. Steps are tried lazily: what a step was worth when it was last tried bounds what it is
    worth now, so only steps that could be the best are tried again. (Both: Leskovec et al., "Cost-effective outbreak
    detection in networks", KDD 2007, whose bound holds where blocks lower the loss less the more others there are.)

    The arguments are those of :func:`search_jointly`, but each block may have any of the ``widths``. The scores are
    the fall of the loss by the steps taken at this candidate.

    Returns:
        The plan, and a copy of the model with the chosen blocks, trained.
    """
    space = Space(model, data, scoring, budget, candidates, widths, kernel, mode)
    trials = _Trials(model, data, scoring, space, kernel, mode, training)
    best = min((_descend(space, trials, per_parameter) for per_parameter in (True, False)), key=lambda each: each.loss)
    require(len(best.blocks) > 0, "placement.data", "these", "batches on which one block at least lowers the loss")
    falls = {name: best.falls.get(name, 0.0) for name in space.names}
    return space.plan(best.blocks, falls, best.loss / trials.start.loss), trials.network(best).eval()


@dataclass(frozen=True)
class _State:
    """Where a descent has come to.

    Attributes:
        path: the steps taken.
        blocks: that are there now.
        weights: theirs, trained.
        loss: with them.
        falls: of the loss, by the candidate whose step it was.
    """

    path: tuple[Step, ...]
    blocks: dict[str, BlockConfig]
    weights: dict[str, dict[str, Any]]
    loss: float
    falls: dict[str, float]


class _Trials:
    """Steps that were tried, each once, whichever descent asked for it."""

    def __init__(
        self,
        model: nn.Module,
        data: Batches,
        scoring: Batches,
        space: Space,
        kernel: Kernel,
        mode: Mode,
        training: BlockTraining,
    ) -> None:
        self.model, self.data, self.scoring, self.space = model, data, scoring, space
        self.shape: dict[str, Any] = {"kernel": kernel, "mode": mode, "seed": training.seed}
        self.training = training
        self.start = _State((), {}, {}, Losses(model, scoring, training.objective)(()), {})
        self.known: dict[tuple[Step, ...], _State] = {}

    def network(self, state: _State) -> nn.Module:
        """A copy of the model with the state's blocks."""
        network = insert(self.model, planned(state.blocks), **self.shape)
        for name, tap in taps(network).items():
            if name in state.weights:
                tap.block.load_state_dict(state.weights[name])
        return network

    def take(self, state: _State, step: Step) -> _State:
        """Where a step leads."""
        path, (name, block) = (*state.path, step), step
        if path not in self.known:
            weights = {other: weights for other, weights in state.weights.items() if other != name}
            blocks = {other: {**state.blocks, name: block}[other] for other in self.space.names
                      if other in state.blocks or other == name}  # fmt: skip
            network = self.network(_State(path, blocks, weights, math.nan, {}))
            self.training(network, self.data)
            loss = Losses(network, self.scoring, self.training.objective)(blocks)
            weights = {other: tap.block.state_dict() for other, tap in taps(network).items()}
            falls = {**state.falls, name: state.falls.get(name, 0.0) + state.loss - loss}
            self.known[path] = _State(path, blocks, weights, loss, falls)
        return self.known[path]


def _descend(space: Space, trials: _Trials, per_parameter: bool) -> _State:
    """Take the best step as long as one lowers the loss and fits the budget."""
    state = trials.start
    bounds = {(name, block): math.inf for name, blocks in space.offered.items() for block in blocks}
    while True:
        tried: dict[Step, _State] = {}
        steps = [step for step in bounds if _is_open(space, state, step)]
        best = max(steps, key=bounds.__getitem__, default=None)
        while best is not None and best not in tried:
            tried[best] = trials.take(state, best)
            fall = state.loss - tried[best].loss
            bounds[best] = fall / _added(state, best) if per_parameter else fall
            best = max(steps, key=bounds.__getitem__)
        if best is None or bounds[best] <= 0:
            return state
        state = tried[best]
        # What the candidate's other steps add is no longer what it was.
        bounds |= {step: math.inf for step in bounds if step[0] == best[0]}


def _is_open(space: Space, state: _State, step: Step) -> bool:
    """Whether a step widens and is affordable."""
    name, block = step
    return _added(state, step) > 0 and space.affords({**state.blocks, name: block}.values())


def _added(state: _State, step: Step) -> int:
    """Parameters that a step adds; below 0 where it would narrow."""
    name, block = step
    return block.parameters - (state.blocks[name].parameters if name in state.blocks else 0)
