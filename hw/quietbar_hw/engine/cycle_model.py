"""The engine cycle by cycle, without any data: of every part what decides about its next step.

Counters, levels of queues, and what is under way: `EngineModel.step` moves all of it as one cycle of the hardware does.
:func:`quietbar_hw.engine.timing.predict` runs it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from quietbar.contract import BlockConfig
from quietbar.contract.descriptor import beats_of, frame_beats_of, groups_of, passes_of
from quietbar.contract.engine import EngineConfig

from ..gaussian.box_muller import BoxMuller
from .core import skip_depth
from .frames import FRAMES
from .framing import ENTRY_DEPTH
from .heads import heads_depth, heads_latency, means_latency, samples_depth
from .reduce import reduce_depth, reduce_latency
from .slots import SLOTS
from .spatial import BANKS, spatial_depth, spatial_latency


@dataclass(slots=True)
class Turns:
    """How often a block goes round in each part."""

    beats: int
    groups: int
    passes: int
    width: int
    height: int
    frame_beats: int
    sampling: bool
    depthwise: bool

    @classmethod
    def of(cls, engine: EngineConfig, block: BlockConfig) -> Turns:
        """Those of a block."""
        return cls(
            beats_of(engine, block),
            groups_of(engine, block),
            passes_of(engine, block),
            block.width,
            block.height,
            frame_beats_of(engine, block),
            block.mode == "sampling",
            block.kernel == "depthwise",
        )


@dataclass
class StageCycles:
    """What a stage did in each cycle of a run.

    Attributes:
        working: a step of multiplications.
        first_columns: steps that read the first column of a frame (3x3 stage only).
        filling: nothing has come yet.
        starved: nothing is there; the stage waits for the one before it.
        blocked: work is there, and no room for its results, or the requantisers are not through.
        draining: all work is done; the stages behind it go on.
    """

    working: int = 0
    first_columns: int = 0
    filling: int = 0
    starved: int = 0
    blocked: int = 0
    draining: int = 0
    frames_left: int = 0

    def wait(self) -> None:
        """A cycle without work."""
        if not self.frames_left:
            self.draining += 1
        elif self.working:
            self.starved += 1
        else:
            self.filling += 1


class Results:
    """A ResultQueue: results under way and waiting; a launch's results come one by one ``latency`` cycles later."""

    __slots__ = ("burst", "depth", "latency", "launched", "outstanding", "popped", "under_way", "waiting")

    def __init__(self, depth: int, burst: int, latency: int) -> None:
        self.depth, self.burst, self.latency = depth, burst, latency
        self.outstanding = self.launched = 0
        self.popped = False
        self.under_way: deque[tuple[int, int]] = deque()
        self.waiting: deque[int] = deque()

    @property
    def room(self) -> bool:
        return self.outstanding <= self.depth - self.burst

    def launch(self, now: int, count: int, flags: int) -> None:
        self.launched = count
        for place in range(count):
            self.under_way.append((now + self.latency + place, flags if place == count - 1 else 0))

    def tick(self, now: int) -> None:
        if self.popped:
            self.waiting.popleft()
            self.outstanding -= 1
            self.popped = False
        if self.launched:
            self.outstanding += self.launched
            self.launched = 0
        under_way = self.under_way
        if under_way and under_way[0][0] == now:
            self.waiting.append(under_way.popleft()[1])


class Slots:
    """PixelSlots: how many are full, and the flags of those."""

    __slots__ = ("added", "flags", "removed")

    def __init__(self) -> None:
        self.flags: deque[int] = deque()
        self.added: int | None = None
        self.removed = False

    def tick(self) -> None:
        if self.removed:
            self.flags.popleft()
            self.removed = False
        if self.added is not None:
            self.flags.append(self.added)
            self.added = None


ENDS_PIXEL, ENDS_ROW, ENDS_FRAME = 1, 2, 4


class EngineModel:
    """The engine's state; `step` is one cycle of it."""

    def __init__(self, config: EngineConfig, frames: int) -> None:
        self.config, self.parts, self.now = config, config.parts, 0
        self.stages = {name: StageCycles(frames_left=frames) for name in ("reduce", "spatial", "heads")}
        self.entry: deque[Turns] = deque()
        self.held: Turns | None = None
        self.begun, self.known = False, True
        self.began: list[int] = []
        self.starved = 0
        self.part = self.column = self.row = 0
        self.frames: dict[str, deque[Turns]] = {name: deque() for name in self.stages}
        # Whether the first frame of the 1x1 stage is in the register before it; those of the others are long since.
        self.frame_there = False
        self.begins: Turns | None = None
        self.ended: list[str] = []
        # The skip queue: in its memory, and in the register behind it.
        self.skip_room, self.skipped, self.skip_ready = skip_depth(config) - 1, 0, False
        self.reduce_slots, self.heads_slots = Slots(), Slots()
        parts = config.parts
        self.reduced = Results(reduce_depth(config), parts, reduce_latency(config))
        self.convolved = Results(spatial_depth(config), parts, spatial_latency(config))
        self.results = Results(heads_depth(config), 1, heads_latency(config))
        self.reduce_beat = self.reduce_turn = self.reduce_gap = 0
        self.gathered = self.ahead = self.lead = 0
        self.group = self.turn = self.spatial_gap = self.x = self.y = 0
        self.middle = self.middle_ends_frame = False
        self.heads_gathered = self.heads_group = self.heads_beat = 0
        self.means: deque[tuple[int, bool]] = deque()
        # Of the inverse CDF there is always another sample.
        self.claiming = config.noise and config.source == "box-muller"
        self.sample_depth = samples_depth(config) if self.claiming else 0
        self.samples_out = self.samples_left = self.sample_depth
        self.samples_coming: deque[int] = deque()

    def step(self, offered: Turns | None, ready: bool) -> tuple[bool, bool]:
        """One cycle, with a beat offered or not, and the other end ready or not; whether one was taken and one left."""
        now = self.now
        taken = offered is not None and len(self.entry) != ENTRY_DEPTH
        left = ready and bool(self.results.waiting)
        self.results.popped = left

        first_there = self.held is not None and not self.begun
        pushed = self._frame()
        self._reduce(now)
        row_written, pixel_written = self._write_rows()
        row_read, column_read = self._convolve(now)
        self._gather()
        self._heads(now)
        skip_taken = self._samples(now)

        # All of it happens at the end of the cycle.
        advance = self.held is None or pushed
        self.known = not (first_there and advance)
        if advance:
            self.held = self.entry.popleft() if self.entry else None
        if taken:
            assert offered is not None
            self.entry.append(offered)
        moved = self.skipped != 0 and (not self.skip_ready or skip_taken)
        self.skipped += pushed - moved
        self.skip_ready = moved or (self.skip_ready and not skip_taken)
        self.ahead += row_written - row_read
        self.lead += pixel_written - column_read
        if not self.frame_there or "reduce" in self.ended:
            self.frame_there = len(self.frames["reduce"]) > self.frame_there
        for name in self.ended:
            self.frames[name].popleft()
            self.stages[name].frames_left -= 1
        self.ended.clear()
        if self.begins is not None:
            for frames in self.frames.values():
                frames.append(self.begins)
            self.begins = None
        self.reduce_slots.tick()
        self.heads_slots.tick()
        self.reduced.tick(now)
        self.convolved.tick(now)
        self.results.tick(now)
        self.now = now + 1
        return taken, left

    def _frame(self) -> bool:
        """Framing: whether the beat at hand goes on its way."""
        self.starved += self.begun and self.held is None
        if self.held is None or len(self.reduce_slots.flags) == SLOTS or self.skipped == self.skip_room:
            return False
        turns = self.held
        if not self.begun:
            if not self.known or any(len(frames) == FRAMES for frames in self.frames.values()):
                return False
            self.begins = turns
            self.began.append(self.now)
        self.begun = True
        self.part += 1
        if self.part == turns.beats:
            self.part, flags = 0, ENDS_PIXEL
            self.column += 1
            if self.column == turns.width:
                self.column, flags = 0, flags | ENDS_ROW
                self.row += 1
                if self.row == turns.height:
                    self.row, flags, self.begun = 0, flags | ENDS_FRAME, False
            self.reduce_slots.added = flags
        return True

    def _reduce(self, now: int) -> None:
        cycles, frames, slots = self.stages["reduce"], self.frames["reduce"], self.reduce_slots.flags
        gap = self.reduce_gap
        self.reduce_gap = gap - 1 if gap else 0
        if not self.frame_there or not slots:
            cycles.wait()
            return
        turns = frames[0]
        if self.reduce_beat != turns.beats - 1:
            self.reduce_beat += 1
            cycles.working += 1
            return
        if gap or not self.reduced.room:
            cycles.blocked += 1
            return
        cycles.working += 1
        self.reduce_beat, self.reduce_gap = 0, self.parts - 1
        self.reduce_turn += 1
        flags = 0
        if self.reduce_turn == turns.groups:
            self.reduce_turn, flags = 0, slots[0]
            self.reduce_slots.removed = True
            if flags & ENDS_FRAME:
                self.ended.append("reduce")
        self.reduced.launch(now, self.parts, flags)

    def _write_rows(self) -> tuple[bool, bool]:
        """Rows of hidden channels written: whether a row, a pixel is complete."""
        waiting = self.reduced.waiting
        if not waiting:
            return False, False
        if self.gathered != self.parts - 1:
            self.gathered += 1
            self.reduced.popped = True
            return False, False
        if self.ahead == BANKS - 1:
            return False, False
        self.gathered, self.reduced.popped = 0, True
        flags = waiting[0]
        return bool(flags & ENDS_ROW), bool(flags & ENDS_PIXEL)

    def _convolve(self, now: int) -> tuple[bool, bool]:
        """The 3x3 stage: whether a row, a column has been read."""
        cycles, frames = self.stages["spatial"], self.frames["spatial"]
        gap = self.spatial_gap
        self.spatial_gap = gap - 1 if gap else 0
        if not frames:
            cycles.wait()
            return False, False
        turns = frames[0]
        reading = not (self.middle and self.middle_ends_frame)
        if not self.group and not self.turn and reading:
            needed = turns.width + 1 if self.y < turns.height - 1 else turns.width - self.x
            if self.lead < needed:
                cycles.wait()
                return False, False
        last_group = self.group == turns.groups - 1
        last_turn = not self.middle or self.turn == turns.passes - 1
        launching = self.middle and (turns.depthwise or last_group)
        if launching and (gap or not self.convolved.room):
            cycles.blocked += 1
            return False, False
        if self.middle:
            cycles.working += 1
        else:
            cycles.first_columns += 1
        ended = last_group and last_turn
        if launching:
            flags = 0
            if ended:
                flags = ENDS_PIXEL | (ENDS_FRAME if self.middle_ends_frame else 0)
            self.spatial_gap = self.parts - 1 if turns.depthwise else 0
            self.convolved.launch(now, self.parts if turns.depthwise else 1, flags)
        self.group = 0 if last_group else self.group + 1
        if last_group:
            self.turn = 0 if last_turn else self.turn + 1
        if not ended:
            return False, False
        if self.middle and self.middle_ends_frame:
            self.middle = False
            self.ended.append("spatial")
            return False, False
        self.middle = True
        last_x = self.x == turns.width - 1
        self.middle_ends_frame = last_x and self.y == turns.height - 1
        self.x = 0 if last_x else self.x + 1
        if last_x:
            self.y = 0 if self.middle_ends_frame else self.y + 1
        return last_x, True

    def _gather(self) -> None:
        """Hidden channels on their way into the heads' buffer."""
        waiting = self.convolved.waiting
        if not waiting:
            return
        if self.heads_gathered != self.parts - 1:
            self.heads_gathered += 1
            self.convolved.popped = True
        elif len(self.heads_slots.flags) != SLOTS:
            self.heads_gathered, self.convolved.popped = 0, True
            if waiting[0] & ENDS_PIXEL:
                self.heads_slots.added = waiting[0]

    def _heads(self, now: int) -> None:
        cycles, frames, slots = self.stages["heads"], self.frames["heads"], self.heads_slots.flags
        if not frames or not slots:
            cycles.wait()
            return
        turns = frames[0]
        if self.heads_group != turns.groups - 1:
            self.heads_group += 1
            cycles.working += 1
            return
        if not self.results.room or (turns.sampling and self.claiming and not self.samples_left):
            cycles.blocked += 1
            return
        cycles.working += 1
        self.heads_group = 0
        self.results.launch(now, 1, 0)
        self.means.append((now + means_latency(self.config), turns.sampling))
        if turns.sampling and self.claiming:
            self.samples_left -= 1
        self.heads_beat += 1
        if self.heads_beat == turns.beats:
            self.heads_beat = 0
            self.heads_slots.removed = True
            if slots[0] & ENDS_FRAME:
                self.ended.append("heads")

    def _samples(self, now: int) -> bool:
        """The end of the heads, and the source of samples; whether a beat leaves the skip queue."""
        here = bool(self.means) and self.means[0][0] == now
        sampling = here and self.means.popleft()[1]
        if self.claiming:
            coming = self.samples_coming
            if coming and coming[0] == now:
                coming.popleft()
                self.samples_left += 1
            made = self.samples_out < self.sample_depth
            if made:
                coming.append(now + BoxMuller.LATENCY)
            self.samples_out += made - sampling
        return here
