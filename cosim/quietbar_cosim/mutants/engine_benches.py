"""Benches of the engine and its registers: frames in the bulk runner, sessions and checks of registers under cocotb."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, groupby, product
from typing import Any

import numpy as np

from quietbar.contract import BlockConfig, QuietbarError
from quietbar.contract.engine import EngineConfig, EngineError
from quietbar.files import write_atomically
from quietbar_hw.engine.driver import EngineDriver
from quietbar_hw.registers import Register, RegisterMap, Window
from quietbar_hw.registers.checks import checks

from ..build import coverage_folder
from ..bulk import Bytes, Simulator
from ..coverage import Coverage
from ..engine import BulkBus, run_cycles
from ..engine_checks import check, observe
from ..engine_coverage import REQUIRED, collect
from ..engine_frames import Outcome, run_frame
from ..engine_sessions import random_session
from ..engines import Beat, EngineCase, spread_shifts
from ..registers import check_design
from ..stalls import NO_STALLS, random_stalls
from .benches import PATIENCE, Bench, Planted

FRAMES = 3
"""Of each block, one after the other."""
STALLED = 0.3
UNANSWERED = 8
"""Cycles of an access within which a reset comes; the longest takes fewer."""
FUNCTIONAL = "functional.json"
"""Where a session under coverage leaves the bins that it hit: group, name, hits."""


def engine_frames(engine: EngineConfig, seed: int) -> Bench:
    """Memory written by the driver, then frames of blocks of every kind: each beat compared, and what was counted.

    Those of blocks as they usually are come and go at full speed, in the cycles that the model predicts; those with any
    shifts come under stalls.
    """
    fast, spread = (list(_every_kind(engine, seed, each)) for each in (False, True))

    def run(planted: Planted) -> None:
        with Simulator(planted.verilog) as simulator:
            driver = EngineDriver(BulkBus(simulator), engine)
            for case in (*fast, *spread):
                _run_case(simulator, driver, case, case in spread)

    bits, stalled = (
        sum(8 * engine.lanes * sum(map(len, case.expected)) for case in cases) for cases in (fast + spread, spread)
    )
    told = [(case.parameters[number].config, case.seed) for case in fast + spread for number in case.order]
    return Bench("bulk", f"frames {engine} {told} {FRAMES} {STALLED}, counted and timed", run, bits, stalled)


def _every_kind(engine: EngineConfig, seed: int, spread: bool) -> Iterator[EngineCase]:
    """Blocks of all kinds, as many at a time as are resident, with any shifts where they are ``spread``.

    The first are as large as they get, the second have a beat to a pixel, so that the 3x3 stage is the busiest.
    """
    kinds = list(product(("dense", "depthwise"), ("mean", "sampling"), (False, True)))
    largest = engine.channels, engine.hidden, engine.height, engine.width
    source = random.Random(seed)
    for first in range(0, len(kinds), engine.blocks):
        blocks = []
        for number, (kernel, mode, signed) in enumerate(kinds[first : first + engine.blocks]):
            drawn = tuple(source.randint(1, size) for size in largest)
            sizes = (largest, (engine.lanes, *largest[1:]), drawn)[min(number, 2)]
            blocks.append(_block(engine, kernel, mode, signed, sizes))
        order = [number for number in range(len(blocks)) for _ in range(FRAMES)]
        case = EngineCase.random(engine, blocks, order, seed)
        for parameters in case.parameters if spread else ():
            spread_shifts(parameters, source)
        yield case


def _block(engine: EngineConfig, kernel: Any, mode: Any, signed: bool, sizes: Sequence[int]) -> BlockConfig:
    """A block of these sizes; a sampling one fills its beats."""
    channels, hidden, height, width = sizes
    if mode == "sampling":
        channels = -(-channels // engine.lanes) * engine.lanes
    return BlockConfig(channels, hidden, height, width, kernel, mode, signed, engine.fraction_bits)


def _run_case(simulator: Simulator, driver: EngineDriver, case: EngineCase, stalled: bool) -> None:
    driver.load(case.writes)
    driver.clear_counters()
    counted, sample = dict.fromkeys(driver.COUNTERS, 0), 0
    for block, numbers in groupby(range(len(case.order)), key=lambda at: case.order[at]):
        known, frames = dict(enumerate(case.parameters)), [case.frames[number] for number in numbers]
        outcomes: list[Outcome] = []
        for frame in frames:
            outcome = run_frame(case.engine, case.blocks, known, block, frame, None, case.seed, sample)
            outcomes, sample = [*outcomes, outcome], outcome.sample or 0
            for name, count in outcome.counts.items():
                counted[name] += count
        sent, wanted = (
            _bytes(chain(*(getattr(outcome, way) for outcome in outcomes)), case.engine) for way in ("sent", "came")
        )
        config = case.blocks[block]
        run = simulator.run(
            beats=sent,
            frame_beats=len(sent) // FRAMES,
            output_beats=len(wanted),
            output_frame_beats=len(wanted) // FRAMES,
            input_stalls=random_stalls(STALLED, case.seed + block) if stalled else NO_STALLS,
            output_stalls=random_stalls(STALLED, case.seed + FRAMES + block) if stalled else NO_STALLS,
            patience=PATIENCE,
            identifier=block,
        )
        if not np.array_equal(run.output, wanted):
            beat = int(np.flatnonzero((run.output != wanted).any(axis=1))[0])
            raise QuietbarError(f"{config}: beat {beat} is {run.output[beat]}, must be {wanted[beat]}")
        if not stalled and run.cycles != run_cycles(case.engine, config, FRAMES):
            predicted = run_cycles(case.engine, config, FRAMES)
            raise QuietbarError(f"{config}: {run.cycles} cycles for {FRAMES} frames, the model says {predicted}")
    for name, count in driver.counters().items():
        if not name.endswith("cycles") and count != counted[name]:
            raise QuietbarError(f"{case.blocks}: counter {name} is {count}, must be {counted[name]}")


def unknown_blocks(engine: EngineConfig) -> Bench:
    """Frames after a reset, before any descriptor was written: each is dropped, and told as that and nothing else."""
    beats, count = np.arange(3 * engine.lanes, dtype=np.uint8).reshape(3, -1), 1 << engine.id_bits

    def run(planted: Planted) -> None:
        with Simulator(planted.verilog) as simulator:
            driver = EngineDriver(BulkBus(simulator), engine)
            driver.start()
            for block in range(count):
                simulator.run(beats=beats, frame_beats=len(beats), patience=PATIENCE, identifier=block)
            errors, dropped = driver.errors(), driver.counters()["dropped_frames"]
            if (errors, dropped) != (EngineError.BLOCK_UNKNOWN, count):
                raise QuietbarError(f"unknown blocks: {dropped} of {count} frames dropped, errors {int(errors):#x}")

    return Bench("bulk", f"unknown blocks {engine}", run)


def _bytes(beats: Iterable[Beat], engine: EngineConfig) -> Bytes:
    data = b"".join(beat.data.to_bytes(engine.lanes, "little") for beat in beats)
    return np.frombuffer(data, np.uint8).reshape(-1, engine.lanes)


def engine_session(engine: EngineConfig, seed: int) -> Bench:
    """A random session under independent masters and slaves, everything in it held to the reference and the model."""
    session = random_session(seed, segments=7, engine=engine)

    def run(planted: Planted) -> None:
        observations = observe(session, planted.verilog)
        check(session, observations)
        folder = coverage_folder()
        if folder is not None:
            coverage = Coverage(REQUIRED)
            collect(coverage, session, observations)
            write_atomically(folder / FUNCTIONAL, json.dumps([[*note, hits] for note, hits in coverage.hits.items()]))

    beats = sum(len(step.expected["beats"]) for step in session.steps if step.do == "traffic")
    return Bench("cocotb", f"session {engine} {seed}", run, beats, beats, "beats")


def register_resets(registers: RegisterMap, answered: bool) -> Bench:
    """Every register after a reset in the bulk runner: at first, and after one of a cycle in the middle of an access.

    The access is of the memory behind each window, of each kind that there is, and has begun up to `UNANSWERED` cycles
    before the reset, which ends it: what is read is as before.

    Args:
        registers: the map.
        answered: whether there is a memory behind the windows; otherwise an access has no end but the reset.
    """
    readable = [register for register in registers.registers if register.readable]
    kinds = [(window, kind) for window in registers.windows for kind in window.access]
    before: list[tuple[Window, str, int] | None] = [None]
    before += [(*each, cycles) for each in kinds for cycles in range(1, UNANSWERED + 1)]

    def run(planted: Planted) -> None:
        with Simulator(planted.verilog) as simulator:
            for interrupted in before:
                told = "after a reset"
                if interrupted is not None:
                    window, kind, cycles = interrupted
                    told += f" {cycles} cycles into an access of {window.name} ({kind})"
                    pending = np.array([[window.address, 0, kind == "w", 0]], np.uint32)
                    if simulator.access(pending, patience=cycles) and not answered:
                        raise QuietbarError(f"{window.name}: answered without its memory")
                simulator.run(reset=True, reset_cycles=1, frame_beats=1)
                bus = BulkBus(simulator)
                for register in readable:
                    found, wanted = bus.read(register.address), reset_value(register)
                    if found != wanted:
                        raise QuietbarError(f"{register.name} {told}: is {found:#x}, must be {wanted:#x}")

    bits = 32 * len(readable) * len(before)
    return Bench("bulk", f"reads after a reset in {UNANSWERED} cycles of an access {registers} {answered}", run, bits)


def reset_value(register: Register) -> int:
    """What is read after a reset, hardware driving 0."""
    return sum((field.reset or 0) << field.low for field in register.fields if field.readable_by_software)


def register_checks(registers: RegisterMap, seed: int, inside: bool = False) -> Bench:
    """Everything that the map says of each register, under cocotb, channels pausing.

    ``inside`` a design at rest, that is what reading and writing tells, without the windows; what is counted there is
    the beats of its sessions.
    """
    options: dict[str, Any] = {"windows": not inside, "bus_only": inside}

    def run(planted: Planted) -> None:
        # Beside the check, resets in mid-transfer.
        check_design(planted.verilog, registers, names=["reset values"], seed=seed, **options)
        for stall in (0.0, 0.5):
            check_design(planted.verilog, registers, stall=stall, seed=seed, **options)

    count, unit = (0, "beats") if inside else (len(checks(registers, seed)), "checks")
    return Bench("cocotb", f"resets, checks and windows {registers} {seed} {inside}", run, 2 * count, count, unit)
