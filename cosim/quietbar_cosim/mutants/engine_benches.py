"""Benches of the engine and its registers: frames in the bulk runner, sessions and checks of registers under cocotb."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator
from itertools import chain, groupby, product
from typing import Any

import numpy as np

from quietbar.contract import BlockConfig, QuietbarError
from quietbar.contract.engine import EngineConfig
from quietbar.files import write_atomically
from quietbar_hw.engine.driver import EngineDriver
from quietbar_hw.registers import Register, RegisterMap, Window
from quietbar_hw.registers.checks import checks

from ..build import coverage_folder
from ..bulk import Bytes, Simulator
from ..coverage import Coverage
from ..engine import BulkBus
from ..engine_checks import check, observe
from ..engine_coverage import REQUIRED, collect
from ..engine_frames import Outcome, run_frame
from ..engine_sessions import random_session
from ..engines import Beat, EngineCase, spread_shifts
from ..registers import check_design
from ..stalls import random_stalls
from .benches import PATIENCE, Bench, Planted

FRAMES = 3
"""Of each block, one after the other."""
STALLED = 0.3
UNANSWERED = 8
"""Cycles of an access within which a reset comes; the longest takes fewer."""
FUNCTIONAL = "functional.json"
"""Where a session under coverage leaves the bins that it hit: group, name, hits."""


def engine_frames(engine: EngineConfig, seed: int) -> Bench:
    """Memory written by the driver, then frames of blocks of every kind: each beat compared, and what was counted."""
    cases = list(_every_kind(engine, seed))

    def run(planted: Planted) -> None:
        with Simulator(planted.verilog) as simulator:
            driver = EngineDriver(BulkBus(simulator), engine)
            for case in cases:
                _run_case(simulator, driver, case)

    bits = sum(8 * engine.lanes * sum(map(len, case.expected)) for case in cases)
    told = [(case.parameters[number].config, case.seed) for case in cases for number in case.order]
    return Bench("bulk", f"frames {engine} {told} {FRAMES} {STALLED}, counted", run, bits, bits)


def _every_kind(engine: EngineConfig, seed: int) -> Iterator[EngineCase]:
    """Blocks of all kinds, as many at a time as are resident, the first as large as they get; then with any shifts."""
    kinds = list(product(("dense", "depthwise"), ("mean", "sampling"), (False, True)))
    source = random.Random(seed)
    for spread in (False, True):
        for first in range(0, len(kinds), engine.blocks):
            blocks = [
                _block(engine, *kind, source if number else None)
                for number, kind in enumerate(kinds[first : first + engine.blocks])
            ]
            order = [number for number in range(len(blocks)) for _ in range(FRAMES)]
            case = EngineCase.random(engine, blocks, order, seed)
            for parameters in case.parameters if spread else ():
                spread_shifts(parameters, source)
            yield case


def _block(engine: EngineConfig, kernel: Any, mode: Any, signed: bool, source: random.Random | None) -> BlockConfig:
    """A block of some size, or the largest without a source; a sampling one fills its beats."""
    sizes = [engine.channels, engine.hidden, engine.height, engine.width]
    channels, hidden, height, width = sizes if source is None else (source.randint(1, size) for size in sizes)
    if mode == "sampling":
        channels = -(-channels // engine.lanes) * engine.lanes
    return BlockConfig(channels, hidden, height, width, kernel, mode, signed, engine.fraction_bits)


def _run_case(simulator: Simulator, driver: EngineDriver, case: EngineCase) -> None:
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
        found = simulator.run(
            beats=sent,
            frame_beats=len(sent) // FRAMES,
            output_beats=len(wanted),
            output_frame_beats=len(wanted) // FRAMES,
            input_stalls=random_stalls(STALLED, case.seed + block),
            output_stalls=random_stalls(STALLED, case.seed + FRAMES + block),
            patience=PATIENCE,
            identifier=block,
        ).output
        if not np.array_equal(found, wanted):
            beat = int(np.flatnonzero((found != wanted).any(axis=1))[0])
            raise QuietbarError(f"{case.blocks[block]}: beat {beat} is {found[beat]}, must be {wanted[beat]}")
    for name, count in driver.counters().items():
        if not name.endswith("cycles") and count != counted[name]:
            raise QuietbarError(f"{case.blocks}: counter {name} is {count}, must be {counted[name]}")


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
