"""Random sessions with an engine: what is written, sent, cut off and read back, and what has to come of it.

A session is a list of steps in plain data, which the bench :mod:`quietbar_cosim.benches.engine` carries out through
independent AXI masters and slaves; what has to come of each step stands in the step. A seed makes the engine, its
resident blocks and all steps, so a failing session runs again from its seed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from quietbar.contract import BlockConfig
from quietbar.contract.block import Mode
from quietbar.contract.descriptor import Descriptor, place
from quietbar.contract.engine import EngineConfig, EngineError, Section
from quietbar.contract.requantize import MULTIPLIER_LOW, SHIFT_HIGH
from quietbar.integer import BlockParameters, random_parameters
from quietbar.integer.engine import Write, block_writes, descriptor_writes, seed_writes

from .blocks import random_frames
from .engine_frames import Outcome, Spoil, run_frame
from .engines import Beat, random_blocks, random_engine, spread_shifts
from .stalls import NO_STALLS, Stalls, bursty_stalls, random_stalls

REST_CYCLES = 90
"""After which an engine to which nothing happens is at rest, its store of samples full."""


@dataclass
class Step:
    """Something that the bench does.

    Attributes:
        do: ``write``, ``register``, ``traffic``, ``reset``, ``wait`` or ``status``.
        arguments: of it, plain data.
        expected: what has to come of it, plain data; keys that are absent are not held to anything.
        notes: what it exercises, for the coverage.
    """

    do: str
    arguments: dict[str, Any] = field(default_factory=dict)
    expected: dict[str, Any] = field(default_factory=dict)
    notes: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Traffic:
    """Frames of one exchange: the ``tid`` of each, its integers, and how it is spoilt."""

    order: list[int]
    frames: list[torch.Tensor]
    spoils: list[Spoil | None]


class Session:
    """Builds the steps, and keeps track of what the engine must be like after each.

    Attributes:
        engine: what is driven.
        steps: so far.
    """

    def __init__(self, seed: int, engine: EngineConfig | None = None) -> None:
        """
        Args:
            seed: of everything that is random.
            engine: to drive; a random one if None.
        """
        self.seed, self.source = seed, random.Random(seed)
        self.engine, self.blocks = self._random_engine() if engine is None else (engine, [])
        while not self.blocks:
            self.blocks = random_blocks(self.engine, self.source)
        self.steps: list[Step] = []
        self.parameters: dict[int, BlockParameters] = {}
        self.descriptors: dict[int, Descriptor] = {}
        self.noise_seed = 0
        self.sample: int | None = None
        self.errors, self.culprit = EngineError(0), 0
        self.counts: dict[str, int] = {}

    def _random_engine(self) -> tuple[EngineConfig, list[BlockConfig]]:
        while True:
            engine = random_engine(self.source)
            blocks = random_blocks(engine, self.source)
            if blocks:
                return engine, blocks

    def add(self, do: str, notes: Sequence[tuple[str, str]] = (), expected: Any = None, **arguments: Any) -> None:
        """One more step."""
        self.steps.append(Step(do, arguments, expected or {}, list(notes)))

    # Memory.

    def write(self, writes: Sequence[Write], refusals: dict[int, EngineError] | None = None) -> None:
        """Write words, of which those at the places of ``refusals`` are refused for these reasons."""
        refusals = refusals or {}
        answers = [at in refusals for at in range(len(writes))]
        notes = [("error cause", str(error.name)) for errors in refusals.values() for error in errors]
        self.add("write", notes, {"refused": answers}, writes=[list(write) for write in writes])
        for error in refusals.values():
            self.errors |= error

    def load(self, number: int, block: BlockConfig, place: Descriptor) -> None:
        """Parameters and descriptor of a block, with shifts of all sizes in one block of three."""
        parameters = random_parameters(block, self.source.randrange(1 << 30))
        if self.source.random() < 0.35:
            spread_shifts(parameters, self.source)
        self.parameters[number], self.descriptors[number] = parameters, place
        self.write(list(block_writes(self.engine, place, parameters, number)))

    def load_all(self) -> None:
        """All blocks, one after the other in memory."""
        for number, descriptor in enumerate(place(self.engine, self.blocks)):
            self.load(number, self.blocks[number], descriptor)

    def write_seed(self) -> None:
        """A seed, from one of its samples on."""
        if not self.engine.noise:
            return
        self.noise_seed, start = self.source.randrange(1 << 32), 2 * self.source.randrange(1 << 20)
        self.write(list(seed_writes(self.engine, self.noise_seed, start)))
        self.sample = start

    def run(self, value: bool) -> None:
        """Let frames begin, or none, and wait until all is at rest."""
        self.add("register", name="control", value=int(value))
        self.add("wait", cycles=REST_CYCLES)

    def bad_writes(self) -> None:
        """Writes that a sound engine refuses, among some that it takes."""
        engine, source = self.engine, self.source
        section = source.choice([each for each in Section if engine.rows(each)])
        scale = engine.address(Section.MEAN_SCALE, engine.channel_rows - 1, 1)
        weight = engine.address(Section.MEAN, engine.matrix_rows - 1, 0)
        beyond = (section << engine.section_bits) + (engine.rows(section) << engine.row_bits(section))
        shift = source.choice([0, SHIFT_HIGH + 1, 63])
        cases: list[tuple[Write, EngineError]] = [
            ((weight, 0x80 << 8 * source.randrange(4)), EngineError.PARAMETER_RANGE),
            ((scale, MULTIPLIER_LOW | shift << 16), EngineError.PARAMETER_RANGE),
            ((scale, MULTIPLIER_LOW - 1 | 1 << 16), EngineError.PARAMETER_RANGE),
            ((scale - 1, 1 << 23), EngineError.PARAMETER_RANGE),
            ((15 << engine.section_bits, 0), EngineError.WRITE_ADDRESS),
        ]
        if beyond < (section + 1) << engine.section_bits:
            cases.append(((beyond, 0), EngineError.WRITE_ADDRESS))
        chosen = source.sample(cases, 3)
        self.write([write for write, _ in chosen], {at: error for at, (_, error) in enumerate(chosen)})

    def bad_descriptor(self) -> None:
        """A descriptor that asks for too much; its block is unknown from then on, until its own comes again."""
        number = self.source.randrange(len(self.blocks))
        descriptor = self.descriptors[number]
        words = list(descriptor_writes(self.engine, descriptor, number))
        spoilt = [
            (0, self.engine.beats | words[0][1] & ~0xFF), (0, words[0][1] | self.engine.groups << 8),
            (0, words[0][1] | 1 << 20), (1, self.engine.width | words[1][1] & ~0xFFFF),
            (1, words[1][1] | self.engine.height << 16), (3, 0xFFFF), (2, 0xFFFF << 16),
        ]  # fmt: skip
        word, value = self.source.choice(spoilt)
        broken = [(address, value if at == word else given) for at, (address, given) in enumerate(words)]
        self.write(broken, {3: EngineError.DESCRIPTOR_RANGE})
        parameters = self.parameters.pop(number)
        self.run(True)
        self.exchange(self.traffic(2, [number, self.source.randrange(len(self.blocks))]))
        self.run(False)
        self.parameters[number] = parameters
        self.write(words)

    def bad_seed(self) -> None:
        """A seed that is none."""
        words = list(seed_writes(self.engine, 1))
        self.write([(address, 0) for address, _ in words], {len(words) - 1: EngineError.SEED_RANGE})
        self.sample = None

    # Frames.

    def traffic(self, count: int, order: Sequence[int] | None = None, spoil: Callable[[], Spoil | None] | None = None
                ) -> Traffic:  # fmt: skip
        """Random frames, of blocks in random order unless one is given."""
        source = self.source
        order = order or [source.randrange(len(self.blocks)) for _ in range(count)]
        frames = [random_frames(self.blocks[each], 1, source.randrange(1 << 30))[0] for each in order]
        return Traffic(list(order), frames, [spoil() if spoil else None for _ in order])

    def spoil(self) -> Spoil | None:
        """How to spoil a frame; one in three stays whole."""
        kind = self.source.choice(["whole", "short", "long", "changed", "unknown", "short and changed"])
        place, other = self.source.random(), self.source.randrange(1 << self.engine.id_bits)
        return None if kind == "whole" else Spoil(kind, place, other, self.source.randint(1, 6))

    def exchange(
        self, traffic: Traffic, stalls: tuple[Stalls, Stalls] | None = None, *, cut: int | None = None,
        late_write: bool = False,
    ) -> None:  # fmt: skip
        """Send frames, and what must come out. ``cut``: after so many cycles it is over; see `restart`."""
        stalls = stalls or self.stalls()
        known = {number: self.parameters[number] for number in self.parameters}
        beats: list[Beat] = []
        outcomes: list[Outcome] = []
        sample = self.sample
        for number, frame, spoil in zip(traffic.order, traffic.frames, traffic.spoils, strict=True):
            outcome = run_frame(self.engine, self.blocks, known, number, frame, spoil, self.noise_seed, sample)
            sample = outcome.sample
            beats += outcome.sent
            outcomes.append(outcome)
        clean = all(not outcome.errors for outcome in outcomes)
        expected = [beat for outcome in outcomes for beat in outcome.came]
        notes = self._notes(traffic, outcomes, stalls)
        late: list[Any] = []
        if late_write:
            late = [self.source.randint(5, 60), self.engine.address(Section.REDUCE), 0]
            self.errors |= EngineError.WRITE_BUSY
            notes.append(("error cause", "WRITE_BUSY"))
        arguments = {
            "beats": [[beat.data, int(beat.last), beat.block] for beat in beats],
            "count": len(expected), "cut": cut, "late_write": late,
            "input_stalls": stalls[0].to_dict(), "output_stalls": stalls[1].to_dict(),
        }  # fmt: skip
        wanted: dict[str, Any] = {
            "beats": [[beat.data, int(beat.last), beat.block, int(beat.bad)] for beat in expected]
        }
        if clean and cut is None and not late_write:  # a frame that would begin while a word is judged waits for that
            wanted["order"] = list(traffic.order)
            wanted["blocks"] = [self.blocks[number].to_dict() for number in traffic.order]
        self.add("traffic", notes, wanted, **arguments)
        if cut is not None:
            return
        self.sample = sample
        for outcome in outcomes:
            self.errors |= outcome.errors
            if outcome.errors:
                self.culprit = outcome.culprit
            for name, value in outcome.counts.items():
                self.counts[name] = self.counts.get(name, 0) + value

    def restart(self, hard: bool) -> None:
        """Begin anew from wherever the engine is: everything inside is dropped, the seed is forgotten, and by a reset
        the descriptors too.
        """
        self.sample = None
        if hard:
            self.add("reset", [("recovery", "reset")])
            self.errors, self.culprit, self.counts = EngineError(0), 0, {}
            for number, descriptor in self.descriptors.items():
                self.write(list(descriptor_writes(self.engine, descriptor, number)))
        else:
            # Not running, restarted, counters cleared; then the errors, whichever the frames that were cut raised.
            self.add("register", [("recovery", "restart")], name="control", value=0b110)
            self.add("register", name="errors", value=(1 << 10) - 1)
            self.errors, self.counts = EngineError(0), {}
        self.write_seed()
        self.run(True)

    def status(self) -> None:
        """Read everything back, and clear the errors that were found."""
        expected = {
            "errors": int(self.errors), "error_frame": self.culprit, "busy": 0, "counts": dict(self.counts),
            "seeded": int(self.sample is not None),
        }  # fmt: skip
        self.add("status", [], expected, enable=self.source.getrandbits(10))
        self.add("register", name="errors", value=int(self.errors))
        self.errors = EngineError(0)

    def stalls(self) -> tuple[Stalls, Stalls]:
        """Stall patterns of the two ends."""

        def one() -> Stalls:
            kind, seed = self.source.choice(["none", "random", "bursty"]), self.source.randrange(1 << 32)
            probability = self.source.choice([0.1, 0.4, 0.8])
            return {"none": NO_STALLS, "random": random_stalls(probability, seed), "bursty": bursty_stalls(seed)}[kind]

        return one(), one()

    def _notes(self, traffic: Traffic, outcomes: Sequence[Outcome], stalls: tuple[Stalls, Stalls]
               ) -> list[tuple[str, str]]:  # fmt: skip
        """What an exchange exercises, for the coverage."""
        notes: list[tuple[str, str]] = [("input stalls", stalls[0].kind), ("output stalls", stalls[1].kind)]
        before: BlockConfig | None = None
        for number, outcome in zip(traffic.order, outcomes, strict=True):
            block = self.blocks[number]
            notes += outcome.notes
            if not outcome.errors:
                notes += shape_notes(self.engine, block)
                if before is not None:
                    notes += switch_notes(before, block)
                before = block
        return notes


def shape_notes(engine: EngineConfig, block: BlockConfig) -> list[tuple[str, str]]:
    """What of the engine's options a frame exercises."""
    size = "1 x 1" if block.pixels == 1 else "one row" if block.height == 1 else "one column" if block.width == 1 else (
        "2 x 2" if block.pixels == 4 else "largest" if (block.height, block.width) == (engine.height, engine.width)
        else "between")  # fmt: skip
    kind = f"{block.kernel} {block.mode} {'signed' if block.signed else 'unsigned'}"
    return [
        ("frame", size),
        ("block", kind),
        ("channels", "whole beats" if block.channels % engine.lanes == 0 else "part of a beat"),
        ("hidden", "whole groups" if block.hidden % engine.group == 0 else "part of a group"),
        ("beats of a pixel", "one" if block.channels <= engine.lanes else "several"),
        ("groups of a pixel", "one" if block.hidden <= engine.group else "several"),
        ("lanes", str(engine.lanes)),
        ("group", str(engine.group)),
        ("outputs", str(engine.outputs)),
        ("engine", f"{engine.kernels}, {'with' if engine.noise else 'without'} source"),
        ("source", engine.source if engine.noise else "none"),
    ]


def switch_notes(before: BlockConfig, block: BlockConfig) -> list[tuple[str, str]]:
    """What changes from one frame to the next."""
    if before == block:
        return [("switch", "none")]
    notes = []
    for name in ("kernel", "mode", "signed"):
        one, other = getattr(before, name), getattr(block, name)
        if one != other:
            notes.append(("switch", f"{name} {one} to {other}"))
    if before.pixels != block.pixels:
        notes.append(("switch", "to a larger frame" if block.pixels > before.pixels else "to a smaller frame"))
    return notes


def random_session(seed: int, segments: int = 6, engine: EngineConfig | None = None) -> Session:
    """A session with some of everything: clean and spoilt frames, bad writes, frames cut off, other blocks loaded."""
    session = Session(seed, engine)
    source = session.source
    session.load_all()
    if session.engine.noise and source.random() < 0.5:
        session.run(True)
        session.exchange(session.traffic(3))
        session.status()
        session.run(False)
    session.write_seed()
    session.run(True)
    session.exchange(session.traffic(source.randint(3, 8)))
    session.status()
    kinds = ["clean", "spoilt", "restart", "reset", "at rest", "another block", "late write"]
    for kind in [*source.sample(kinds, min(segments, len(kinds))), "clean"]:
        _segment(session, kind)
        session.status()
    return session


def _segment(session: Session, kind: str) -> None:
    source = session.source
    if kind == "clean":
        session.exchange(session.traffic(source.randint(2, 8)))
    elif kind == "spoilt":
        session.exchange(session.traffic(source.randint(3, 6), spoil=session.spoil))
    elif kind in ("restart", "reset"):
        session.exchange(session.traffic(4, spoil=session.spoil if source.random() < 0.3 else None),
                         cut=source.randint(0, 250))  # fmt: skip
        session.restart(hard=kind == "reset")
        session.exchange(session.traffic(3))
    elif kind == "late write":
        session.exchange(session.traffic(3), late_write=True)
    else:
        session.run(False)
        if kind == "at rest":
            session.bad_writes()
            session.bad_descriptor()
            if session.engine.noise and source.random() < 0.5:
                session.bad_seed()
                session.write_seed()
        else:
            number = source.randrange(len(session.blocks))
            session.blocks[number] = _smaller(session.blocks[number], session.engine, source)
            session.load(number, session.blocks[number], replace(session.descriptors[number],
                                                                 block=session.blocks[number]))  # fmt: skip
        session.run(True)
        session.exchange(session.traffic(3))


def _smaller(block: BlockConfig, engine: EngineConfig, source: random.Random) -> BlockConfig:
    """Another block that fits where this one is."""
    sampling = engine.noise and block.channels >= engine.lanes
    channels = source.randint(1, block.channels)
    mode: Mode = "sampling" if sampling and source.random() < 0.5 else "mean"
    if mode == "sampling":
        channels = source.randint(1, block.channels // engine.lanes) * engine.lanes
    return replace(block, channels=channels, hidden=source.randint(1, block.hidden), mode=mode,
                   height=source.randint(1, engine.height), width=source.randint(1, engine.width),
                   signed=source.random() < 0.5)  # fmt: skip
