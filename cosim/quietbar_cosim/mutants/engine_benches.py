"""Benches of the engine and its registers: frames in the bulk runner, sessions and checks of registers under cocotb."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from itertools import chain

import numpy as np

from quietbar.contract import QuietbarError
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
from ..engine_sessions import random_session
from ..engines import Beat, EngineCase, random_blocks
from ..registers import check_design
from ..stalls import random_stalls
from .benches import PATIENCE, Bench, Planted

FRAMES = 3
"""Of each resident block, one after the other."""
STALLED = 0.3
FUNCTIONAL = "functional.json"
"""Where a session under coverage leaves the bins that it hit: group, name, hits."""


def engine_frames(engine: EngineConfig, seed: int) -> Bench:
    """Memory written by the driver, then frames of every block, compared beat by beat."""
    blocks = random_blocks(engine, random.Random(seed))
    case = EngineCase.random(engine, blocks, [number for number in range(len(blocks)) for _ in range(FRAMES)], seed)
    inputs, expected = case.inputs, case.expected

    def run(planted: Planted) -> None:
        with Simulator(planted.verilog) as simulator:
            EngineDriver(BulkBus(simulator), engine).load(case.writes)
            for block in range(len(blocks)):
                frames = [at for at, number in enumerate(case.order) if number == block]
                sent, wanted = (_bytes(chain(*(beats[at] for at in frames)), engine) for beats in (inputs, expected))
                found = simulator.run(
                    beats=sent,
                    frame_beats=len(inputs[frames[0]]),
                    output_beats=len(wanted),
                    output_frame_beats=len(expected[frames[0]]),
                    input_stalls=random_stalls(STALLED, seed + block),
                    output_stalls=random_stalls(STALLED, seed - block),
                    patience=PATIENCE,
                    identifier=block,
                ).output
                if not np.array_equal(found, wanted):
                    beat = int(np.flatnonzero((found != wanted).any(axis=1))[0])
                    raise QuietbarError(f"block {block}: beat {beat} is {found[beat]}, must be {wanted[beat]}")

    bits = 8 * engine.lanes * sum(map(len, expected))
    return Bench("bulk", f"frames {engine} {seed} {FRAMES} {STALLED}", run, bits, bits)


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


def register_reads(registers: RegisterMap) -> Bench:
    """Every register after a reset, twice in the bulk runner: at first, and in the middle of an access to a memory.

    The memory behind a window does not answer; a reset of one cycle ends the access, and what is read is as before.
    """
    readable = [register for register in registers.registers if register.readable]

    def run(planted: Planted) -> None:
        with Simulator(planted.verilog) as simulator:
            interrupted: tuple[Window | None, ...] = (None, *registers.windows)
            for window in interrupted:
                if window is not None:
                    pending = np.array([[window.address, 0, 1, 0]], np.uint32)
                    if simulator.access(pending, patience=20):
                        raise QuietbarError(f"{window.name}: answered without its memory")
                simulator.run(reset=True, reset_cycles=1, frame_beats=1)
                bus = BulkBus(simulator)
                for register in readable:
                    found, wanted = bus.read(register.address), reset_value(register)
                    if found != wanted:
                        raise QuietbarError(f"{register.name} after a reset: is {found:#x}, must be {wanted:#x}")

    bits = 32 * len(readable) * (1 + len(registers.windows))
    return Bench("bulk", f"reads after a reset of a cycle {registers}", run, bits)


def reset_value(register: Register) -> int:
    """What is read after a reset, hardware driving 0."""
    return sum((field.reset or 0) << field.low for field in register.fields if field.readable_by_software)


def register_checks(registers: RegisterMap, seed: int) -> Bench:
    """Everything that the map says of each register, under cocotb, channels pausing."""

    def run(planted: Planted) -> None:
        check_design(planted.verilog, registers, names=["reset values"], seed=seed)  # and resets in mid-transfer
        for stall in (0.0, 0.5):
            check_design(planted.verilog, registers, stall=stall, seed=seed)

    count = len(checks(registers, seed))
    return Bench("cocotb", f"resets, checks and windows {registers} {seed}", run, 2 * count, count, "checks")
