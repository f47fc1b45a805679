"""Sessions carried out on an engine's Verilog, and what came of them held to what had to."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from pathlib import Path
from typing import Any

from quietbar.contract import BlockConfig, QuietbarError
from quietbar.contract.engine import COUNTERS
from quietbar_hw.engine.timing import Prediction, predict
from quietbar_hw.engine.top import AxiEngine
from quietbar_hw.registers.engine import engine_map

from .build import Design, design_of
from .engine_sessions import Session, Step
from .regression import run_bench

BENCH = "quietbar_cosim.benches.engine"
Observation = dict[str, Any]


class SessionError(QuietbarError, AssertionError):
    """An engine is not what a session says; the message names step, expected and found, and how to run it again."""


def observe(session: Session, design: Design | None = None) -> list[Observation]:
    """Carry a session out under cocotb; what came of each step.

    Raises:
        BenchFailure: a stream broke its rules, or a register could not be read or written.
    """
    registers = engine_map(session.engine)
    (memory,) = registers.windows
    design = design or design_of(AxiEngine(session.engine), "quietbar_engine")
    with tempfile.TemporaryDirectory(prefix="quietbar-session-") as name:
        folder = Path(name)
        facts = {
            "registers": {register.name: register.address for register in registers.registers},
            "memory": memory.address,
            "steps": [(step.do, step.arguments) for step in session.steps],
        }
        (folder / "session.json").write_text(json.dumps(facts))
        run_bench(design, BENCH, folder, session.seed & 0x7FFFFFFF, {"QUIETBAR_SESSION": name})
        found: list[Observation] = json.loads((folder / "observations.json").read_text())
        return found


def check(session: Session, observations: Sequence[Observation]) -> int:
    """Hold observations to a session; how many output beats were compared.

    Raises:
        SessionError: one differs.
    """
    beats, cycles = 0, dict.fromkeys(("busy_cycles", "stalled_in_cycles", "stalled_out_cycles"), 0)
    known = True
    for at, (step, seen) in enumerate(zip(session.steps, observations, strict=True)):
        where = f"step {at}, {step.do}"
        try:
            if step.do == "write":
                _same(f"{where}: refused", seen["refused"], step.expected["refused"])
            elif step.do == "traffic":
                beats += _check_beats(where, step, seen)
                known &= _check_cycles(where, session, step, seen, cycles)
            elif step.do == "reset" or step.arguments == {"name": "control", "value": 0b110}:
                cycles, known = dict.fromkeys(cycles, 0), True
            elif step.do == "status":
                _check_status(where, step, seen, cycles if known else {})
        except SessionError as error:
            raise SessionError(
                f"{error}\n  {session.engine}\n  replay: quietbar cosim engine --seed {session.seed}"
            ) from None
    return beats


def _same(what: str, found: Any, expected: Any) -> None:
    if found != expected:
        raise SessionError(f"{what}: expected {expected}, found {found}")


def _check_beats(where: str, step: Step, seen: Observation) -> int:
    expected, found = step.expected["beats"], seen["beats"]
    if step.arguments["cut"] is None:
        _same(f"{where}: number of beats", len(found), len(expected))
        if step.arguments["late_write"]:
            _same(f"{where}: response to a write while busy", seen["late"], 2)
    elif len(found) > len(expected):
        raise SessionError(f"{where}: {len(found)} beats, at most {len(expected)} are expected")
    for number, (beat, wanted) in enumerate(zip(found, expected, strict=False)):
        if beat != wanted:
            raise SessionError(f"{where}: beat {number} (data, last, tid, bad): expected {wanted}, found {beat}")
    return len(found)


def _check_cycles(where: str, session: Session, step: Step, seen: Observation, cycles: dict[str, int]) -> bool:
    """Hold the cycle of every beat to the model, where all frames are sound; whether counters of cycles are known."""
    trace = seen["trace"]
    cycles["stalled_out_cycles"] += sum(state & 0b1100 == 0b0100 for state in trace)
    if "order" not in step.expected or not step.expected["order"]:
        return False
    model = model_of(session, step, trace)
    taken = [cycle for cycle, state in enumerate(trace) if state & 0b11 == 0b11]
    left = [cycle for cycle, state in enumerate(trace) if state & 0b1100 == 0b1100]
    for name, found, expected in (("taken", taken, model.taken.tolist()), ("left", left, model.left.tolist())):
        for number, (one, other) in enumerate(zip(found, expected, strict=True)):
            if one != other:
                raise SessionError(f"{where}: beat {number} {name} in cycle {one}, the model says {other}")
    cycles["busy_cycles"] += model.busy
    cycles["stalled_in_cycles"] += model.stalled_in
    return True


def model_of(session: Session, step: Step, trace: Sequence[int]) -> Prediction:
    """What the cycle model makes of the stalls that were seen."""
    blocks = [BlockConfig.from_dict(values) for values in step.expected["blocks"]]

    def stalls(bit: int) -> Iterator[bool]:
        return chain((not state >> bit & 1 for state in trace), repeat(False))

    order = list(range(len(blocks)))
    return predict(session.engine, blocks, order, input_stalls=stalls(0), output_stalls=stalls(3))


def _check_status(where: str, step: Step, seen: Observation, cycles: dict[str, int]) -> None:
    expected = step.expected
    for name in ("errors", "busy", "seeded"):
        _same(f"{where}: {name}", seen[name], expected[name])
    if expected["errors"] & 0b11111:
        _same(f"{where}: error_frame", seen["error_frame"], expected["error_frame"])
    raised = int(bool(expected["errors"] & step.arguments["enable"]))
    _same(f"{where}: irq", (seen["irq"], seen["interrupt"]), (raised, raised))
    counted = {name: expected["counts"].get(name, 0) for name in COUNTERS if not name.endswith("cycles")}
    for name, value in (counted | cycles).items():
        _same(f"{where}: counter {name}", seen["counters"][name], value)
