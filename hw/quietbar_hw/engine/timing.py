"""When each beat is taken by the engine and when each leaves, whatever the ends stall: the cycle model, run.

A test holds the hardware to it, to the cycle.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from quietbar.contract import BlockConfig, require, require_integer
from quietbar.contract.engine import EngineConfig

from .cycle_model import EngineModel, StageCycles, Turns

PATIENCE = 1_000_000
"""Cycles without a transfer after which the model says that the ends stall for ever."""


@dataclass
class Prediction:
    """A run of the model, cycles counted from the first in which a beat could be offered.

    Attributes:
        taken: cycle in which each beat is taken, [beats].
        left: cycle in which each beat leaves, [beats].
        frame_begins: cycle in which the first beat of each frame goes on its way, [frames].
        frame_ends: cycle in which the last beat of each frame leaves, [frames].
        stalled_in: cycles in which a frame had begun and its next beat was not there.
        stages: by name of the stage.
    """

    taken: NDArray[np.int64]
    left: NDArray[np.int64]
    frame_begins: NDArray[np.int64]
    frame_ends: NDArray[np.int64]
    stalled_in: int = 0
    stages: dict[str, StageCycles] = field(default_factory=dict)

    @property
    def cycles(self) -> int:
        """Up to and with the last beat's leaving."""
        return int(self.left[-1]) + 1

    @property
    def busy(self) -> int:
        """Cycles with frames inside."""
        before = np.concatenate([self.frame_begins[:1], self.frame_ends[:-1]])
        return int((self.frame_ends - np.maximum(self.frame_begins, before)).sum())


def predict(
    config: EngineConfig,
    blocks: Sequence[BlockConfig],
    order: Sequence[int],
    *,
    input_stalls: Iterable[bool] = repeat(False),
    output_stalls: Iterable[bool] = repeat(False),
) -> Prediction:
    """When the beats of frames are taken and leave, from an engine at rest on.

    Args:
        config: of the engine.
        blocks: that are resident, by ``tid``.
        order: the ``tid`` of each frame.
        input_stalls: for each cycle, whether the source pauses if it has no beat on offer; see
            :class:`quietbar_cosim.stalls.Stalls`.
        output_stalls: for each cycle, whether ``tready`` is low.

    Raises:
        ConfigurationError: a block does not fit the engine, or a frame names none.
    """
    require(len(order) > 0, "order", list(order), "at least one frame")
    for number, block in enumerate(blocks):
        config.check(block, f"block {number}")
    turns = [Turns.of(config, block) for block in blocks]
    for number in order:
        require_integer("order", number, 0, len(blocks) - 1)
    beats = (turns[number] for number in order for _ in range(turns[number].frame_beats))
    ends = np.cumsum([turns[number].frame_beats for number in order])
    total = int(ends[-1])

    engine = EngineModel(config, len(order))
    pausing, stalling = iter(input_stalls), iter(output_stalls)
    taken_at: list[int] = []
    left_at: list[int] = []
    offered, last_move = None, 0
    while len(left_at) < total:
        if not next(pausing) and offered is None:
            offered = next(beats, None)
        taken, left = engine.step(offered, not next(stalling))
        if taken:
            taken_at.append(engine.now - 1)
            offered = None
        if left:
            left_at.append(engine.now - 1)
        if taken or left:
            last_move = engine.now
        require(engine.now - last_move < PATIENCE, "stalls", "for ever", "some that end")
    taken_cycles, left_cycles = np.array(taken_at, dtype=np.int64), np.array(left_at, dtype=np.int64)
    began = np.array(engine.began, dtype=np.int64)
    return Prediction(taken_cycles, left_cycles, began, left_cycles[ends - 1], engine.starved, engine.stages)
