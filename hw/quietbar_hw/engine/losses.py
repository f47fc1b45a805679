"""Where the cycles of an engine's multipliers go, item by item."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat

from quietbar.contract import BlockConfig, require_integer
from quietbar.contract.engine import EngineConfig

from .cycle_model import StageCycles
from .timing import Prediction, predict

ITEMS = ("fill", "drain", "edge", "stall", "imbalance", "padding")
"""Of losses. Fill: nothing has come yet. Drain: a stage's work is done, those behind it go on. Edge: the first column
of a frame is read and nothing multiplied. Stall: waiting that the ends of the streams bring about. Imbalance: waiting
for a slower stage. Padding: channels that fill up a unit of work, and multipliers that depthwise blocks leave idle."""


@dataclass(frozen=True)
class Losses:
    """Multiplier cycles of a run, or of a part of one.

    Attributes:
        cycles: clock cycles.
        available: of all multipliers: cycles times multipliers.
        useful: multiplications that the block asks for.
        lost: by the names of `ITEMS`; with ``useful`` they add up to ``available``.
    """

    cycles: int
    available: int
    useful: int
    lost: dict[str, int]

    @property
    def share(self) -> float:
        """Of the multipliers' cycles that are useful."""
        return self.useful / self.available

    def less(self, other: Losses) -> Losses:
        """The part of this run that comes on top of a shorter one."""
        lost = {item: count - other.lost[item] for item, count in self.lost.items()}
        return Losses(self.cycles - other.cycles, self.available - other.available, self.useful - other.useful, lost)


def losses(
    engine: EngineConfig,
    block: BlockConfig,
    frames: int,
    input_stalls: Iterator[bool] | None = None,
    output_stalls: Iterator[bool] | None = None,
) -> Losses:
    """Losses of a run of frames of one block, back to back, from an engine at rest to the last beat's leaving.

    Args:
        engine: that runs the block.
        block: of all frames.
        frames: of the run.
        input_stalls, output_stalls: see :func:`quietbar_hw.engine.timing.predict`; none unless given.
    """
    require_integer("frames", frames, 1, 1 << 16)
    quiet = predict(engine, [block], [0] * frames)
    stalls = {"input_stalls": input_stalls or repeat(False), "output_stalls": output_stalls or repeat(False)}
    run = predict(engine, [block], [0] * frames, **stalls) if input_stalls or output_stalls else quiet
    names = ("reduce", "spatial", *engine.heads)
    lost = dict.fromkeys(ITEMS, 0)
    for name in names:
        multipliers = engine.multipliers_of(name)
        now, before = (_stage(each, name) for each in (run, quiet))
        waiting, without_stalls = now.starved + now.blocked, before.starved + before.blocked
        useful = frames * (block.stage(name).weights * block.pixels if _has(block, name) else 0)
        lost["fill"] += multipliers * now.filling
        lost["drain"] += multipliers * now.draining
        lost["edge"] += multipliers * now.first_columns
        lost["imbalance"] += multipliers * without_stalls
        lost["stall"] += multipliers * (waiting - without_stalls)
        lost["padding"] += multipliers * now.working - useful
    return Losses(run.cycles, run.cycles * engine.multipliers, block.multiplications * frames, lost)


def steady_losses(engine: EngineConfig, block: BlockConfig) -> Losses:
    """Losses of a frame among others of its kind: nothing fills and nothing drains."""
    return losses(engine, block, 4).less(losses(engine, block, 3))


def _stage(run: Prediction, name: str) -> StageCycles:
    return run.stages["heads" if name in ("mean", "log_sigma") else name]


def _has(block: BlockConfig, name: str) -> bool:
    return name != "log_sigma" or block.mode == "sampling"
