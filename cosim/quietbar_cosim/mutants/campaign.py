"""A campaign: mutants of a subject past its benches, what each found written down as it ends, so that it resumes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from quietbar.contract import QuietbarError
from quietbar.files import write_atomically
from quietbar_hw.formal.equivalence import equivalent
from quietbar_hw.mutation import PlantedDesign, choose, find_faults, plant, sound_text

from ..build import cocotb_program, shared_library
from .attempts import Attempt, run_attempts
from .benches import Planted, planted_part
from .subjects import Subject

Say = Callable[[str], None]

WHOLE = 600_000
"""Characters of RTLIL up to which a design is also compared as a whole, where a module has what surrounds it."""


@dataclass(frozen=True)
class Plan:
    """Which mutants of a subject.

    Attributes:
        name: of the subject.
        subject: itself.
        planted: the part with the chosen faults.
    """

    name: str
    subject: Subject
    planted: Planted

    @classmethod
    def make(cls, name: str, subject: Subject, count: int, seed: int) -> Plan:
        """``count`` faults of the subject's modules, chosen by ``seed``."""
        text = sound_text(subject.component)
        faults = choose(find_faults(text, subject.takes), count, seed)
        return cls(name, subject, planted_part(subject.component, plant(text, faults)))

    @property
    def key(self) -> str:
        """Changes with the hardware, the faults and the benches: what was found then says nothing any more."""
        parts = [self.planted.verilog.verilog, *(bench.identity for bench in self.subject.benches)]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


class Record:
    """What is known of a plan's mutants, in a file that is written after each attempt."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.path = folder / f"{plan.name}.json"
        faults = plan.planted.design.faults
        self.facts: dict[str, Any] = {
            "subject": plan.name,
            "key": plan.key,
            "benches": [bench.name for bench in plan.subject.benches],
            "sound": {},
            "mutants": [
                {"number": number, "name": fault.name, **_told(fault), "found": {}, "equivalent": None}
                for number, fault in enumerate(faults, 1)
            ],
        }
        if self.path.is_file():
            known = json.loads(self.path.read_text())
            if known.get("key") == plan.key:
                self.facts = known

    def found(self, number: int) -> dict[str, str]:
        """What each bench that was run reported of a mutant, empty where it found nothing; 0 is the sound design."""
        found: dict[str, str] = self.facts["mutants"][number - 1]["found"] if number else self.facts["sound"]
        return found

    def save(self) -> None:
        """Write the file, whole or not at all."""
        write_atomically(self.path, json.dumps(self.facts, indent=1) + "\n")


def _told(fault: Any) -> dict[str, Any]:
    return {name: value for name, value in asdict(fault).items() if name in ("kind", "module", "source", "what")}


def run_plan(plan: Plan, folder: Path, jobs: int, first: bool, say: Say) -> dict[str, Any]:
    """Run what is not known yet; all that is known then.

    Args:
        plan: to run.
        folder: of the record.
        jobs: processes at a time.
        first: go no further with a mutant once a bench has caught it.
        say: told each mutant that is caught, and each that is left.

    Raises:
        QuietbarError: a bench finds fault with the sound design, or could not be run.
    """
    record, benches = Record(plan, folder), plan.subject.benches
    names = [bench.name for bench in benches]
    if any(name not in record.found(0) for name in names):
        _build(plan)
    mutants = range(1, len(plan.planted.design.faults) + 1)

    def carry_out(attempts: Iterator[Attempt]) -> None:
        for attempt, outcome in run_attempts(attempts, jobs):
            name = attempt.bench.name
            if not attempt.number and outcome.caught:
                raise QuietbarError(f"{plan.name}: {name} finds fault with the sound design: {outcome.report}")
            record.found(attempt.number)[name] = outcome.report
            record.save()
            if outcome.caught:
                fault = plan.planted.design.faults[attempt.number - 1]
                say(f"{plan.name} {attempt.number}: {fault.name}\n    {name}: {outcome.report[:160]}")

    carry_out(Attempt(0, bench, plan.planted) for bench in benches if bench.name not in record.found(0))
    for bench in benches:
        carry_out(
            Attempt(number, bench, plan.planted)
            for number in mutants
            if bench.name not in record.found(number) and not (first and any(record.found(number).values()))
        )
    for number in mutants:
        mutant = record.facts["mutants"][number - 1]
        if not any(mutant["found"].values()):
            if mutant["equivalent"] is None:
                mutant["equivalent"] = is_equal(plan.planted.design, number)
                record.save()
            verdict = "equal to the sound design" if mutant["equivalent"] else "SURVIVES"
            say(f"{plan.name} {number}: {mutant['name']}\n    {verdict}")
    record.save()
    return record.facts


def is_equal(design: PlantedDesign, number: int) -> bool:
    """Whether a mutant is proven equal to the sound design: its module, or a small design as a whole."""
    mutant, module = design.with_fault(number), design.faults[number - 1].module
    if equivalent(design.sound, mutant, module):
        return True
    return module != "top" and len(design.sound) < WHOLE and equivalent(design.sound, mutant)


def _build(plan: Plan) -> None:
    """The simulators, before processes are forked that all would build them."""
    names = {bench.name for bench in plan.subject.benches}
    if "bulk" in names:
        shared_library(plan.planted.verilog)
    if "cocotb" in names:
        cocotb_program(plan.planted.verilog)
