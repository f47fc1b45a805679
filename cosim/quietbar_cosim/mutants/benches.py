"""What a mutant has to get past: jobs in either tier of simulation, sessions, checks of registers, proofs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from quietbar.contract import QuietbarError
from quietbar_hw.formal.prove import Method
from quietbar_hw.mutation import PlantedDesign
from quietbar_hw.mutation.proving import prove_planted
from quietbar_hw.verilog import from_rtlil

from ..build import Design
from ..bulk import Simulator
from ..mismatch import MismatchError
from ..planting import chosen_fault
from ..regression import run_bulk, run_cocotb
from ..replay import Case
from ..rules import StreamError
from ..vectors import Beats, Job, Run

LONGEST = 160
"""Characters of a report where several are given."""
PATIENCE = 20_000
"""Cycles without a transfer after which a mutant in the bulk runner has stopped."""


@dataclass(frozen=True)
class Planted:
    """A part with faults, as RTLIL and as the Verilog that is simulated."""

    component: Any
    design: PlantedDesign
    verilog: Design


@dataclass(frozen=True)
class Bench:
    """Something that runs a design with the chosen fault and raises an error where it is not as it has to be.

    Attributes:
        name: of the column of the kill table.
        identity: a text that changes with anything that the bench does.
        run: it.
        compared: how much it holds to the reference, in ``unit``.
        random: of that, under stalls at random.
        unit: bits, beats or checks.
    """

    name: str
    identity: str
    run: Callable[[Planted], None]
    compared: int = 0
    random: int = 0
    unit: str = "bits"


def planted_part(component: Any, design: PlantedDesign) -> Planted:
    """The part with its faults, ready for every bench."""
    return Planted(component, design, Design("top", from_rtlil(design.text, "top")))


def bulk(jobs: Sequence[Job], cycles: int = 0, again: bool = True) -> Bench:
    """All jobs but those with a reset in between, in the bulk runner; the first takes at most ``cycles``, if given.

    With ``again`` the last goes through once more without a reset before it: configured anew after traffic.
    """
    chosen = [job for job in jobs if job.scenario.reset_after is None]

    def run(planted: Planted) -> None:
        for job, found in zip(chosen, run_bulk(planted.verilog, chosen, PATIENCE), strict=True):
            _compare(planted.verilog, job, found)
            if cycles and job is chosen[0] and found.cycles > cycles:
                raise QuietbarError(f"{job.name}, {job.scenario.name}: takes {found.cycles} cycles, at most {cycles}")
        twice = [chosen[-1]] * 2 if again else []
        for job, found in zip(twice, run_bulk(planted.verilog, twice, PATIENCE, resets=1), strict=True):
            _compare(planted.verilog, job, found)

    return Bench("bulk", f"{_identity(chosen)} {cycles} {again}", run, *_bits(chosen))


@dataclass(frozen=True)
class Refusal:
    """Something that a part has to refuse.

    Attributes:
        name: what is wrong.
        configuration: frames, all of which are sent.
        error: bits of the port ``error`` that have to come.
        inputs: beats behind the configuration, in frames of ``frame_beats``.
    """

    name: str
    configuration: tuple[tuple[int, ...], ...]
    error: int
    inputs: Beats | None = None
    frame_beats: int = 1


def refusals(cases: Sequence[Refusal], good: Job) -> Bench:
    """Each case raises its error and no other, after a reset; the good job goes through after another."""

    def run(planted: Planted) -> None:
        for case in cases:
            with Simulator(planted.verilog) as simulator:
                beats, frame = case.inputs, case.frame_beats
                try:
                    simulator.run(case.configuration, beats, frame_beats=frame, output_beats=1, patience=100)
                except StreamError as error:
                    told = f"is {case.error:#x}:"
                    if error.signal == "error" and error.what.startswith(told):
                        continue
                    raise QuietbarError(f"{case.name}: {error}, but error has to be {case.error:#x}") from None
                raise QuietbarError(f"{case.name}: is not refused")
        _compare(planted.verilog, good, run_bulk(planted.verilog, [good], PATIENCE)[0])

    told = [(case.name, case.configuration, case.error, case.frame_beats) for case in cases]
    identity = hashlib.sha256(repr(told).encode()).hexdigest()[:16]
    return Bench("bulk", f"refusals {identity}", run)


def together(*benches: Bench) -> Bench:
    """Several benches of one name as one: all are run, and all that they report is reported."""
    (name,) = {bench.name for bench in benches}
    (unit,) = {bench.unit for bench in benches}

    def run(planted: Planted) -> None:
        reports = []
        for bench in benches:
            try:
                bench.run(planted)
            except QuietbarError as error:
                reports.append(" ".join(str(error).splitlines()[0].split())[:LONGEST])
        if reports:
            raise QuietbarError("; ".join(dict.fromkeys(reports)))

    compared, random = (sum(getattr(bench, what) for bench in benches) for what in ("compared", "random"))
    return Bench(name, " ".join(bench.identity for bench in benches), run, compared, random, unit)


def cocotb(jobs: Sequence[Job]) -> Bench:
    """All jobs under cocotb; one with a reset in between, of one cycle, takes the cycles of its like without."""

    def run(planted: Planted) -> None:
        for job, found in zip(jobs, run_cocotb(planted.verilog, jobs), strict=True):
            _compare(planted.verilog, job, found)

    return Bench("cocotb", f"{_identity(jobs)}, resets of a cycle, timed", run, *_bits(jobs))


def proof(harness: Callable[[Any], Any], method: Method, depth: int) -> Bench:
    """The assertions of ``harness(part)`` proven; the part is that with the fault."""

    def run(planted: Planted) -> None:
        verdict = prove_planted(harness, planted.component, planted.design.with_fault(chosen_fault()), method, depth)
        if not verdict.holds:
            raise QuietbarError(f"{name}: an assertion fails within {verdict.depth} cycles")

    name = getattr(harness, "__name__", repr(harness))
    return Bench("formal", f"{name} {method} {depth}", run)


def _compare(design: Design, job: Job, found: Run) -> None:
    case = Case(design, job, "bulk")
    comparison = case.compare(found)
    if not comparison.equal:
        raise MismatchError(comparison, case.report(comparison))


def _bits(jobs: Sequence[Job]) -> tuple[int, int]:
    """Output bits that are compared, and those under stalls at random."""
    stalled = [job for job in jobs if job.scenario.output_stalls.kind in ("random", "bursty")]
    return sum(job.vectors.bits for job in jobs), sum(job.vectors.bits for job in stalled)


def _identity(jobs: Sequence[Job]) -> str:
    """A hash of all that goes in, of what has to come out, and of the stalls."""
    digest = hashlib.sha256()
    for job in jobs:
        vectors = job.vectors
        digest.update(repr((vectors.configuration, vectors.frame_beats, vectors.output_frame_beats)).encode())
        digest.update(b"" if vectors.inputs is None else vectors.inputs.tobytes())
        digest.update(vectors.expected.tobytes())
        digest.update(repr(job.scenario).encode())
    return digest.hexdigest()[:16]
