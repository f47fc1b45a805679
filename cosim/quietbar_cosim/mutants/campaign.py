"""A campaign: mutants of a subject past its benches, what each found written down as it ends, so that it resumes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from quietbar.contract import QuietbarError, derive_seed, require
from quietbar.files import write_atomically
from quietbar_hw.formal.equivalence import equivalent
from quietbar_hw.mutation import PlantedDesign, choose, find_faults, fingerprint, plant, sound_text
from quietbar_hw.mutation.observing import looks_the_same

from ..build import cocotb_program, shared_library
from .attempts import Attempt, run_attempts
from .benches import Bench, Planted, planted_part
from .explained import reason
from .subjects import Subject

Say = Callable[[str], None]

WHOLE = 250_000
"""Characters of RTLIL up to which a design is also compared as a whole, where a module has what surrounds it."""


SLOWEST = "cocotb"
REGISTERS = "equal to the sound design, register by register, proven by Yosys"
PORTS = "equal to the sound design at all ports, wherever a valid says that they mean something, proven by ABC"


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
        """``count`` faults of the subject's modules, chosen by ``seed`` and its name, and those that it always has.

        Raises:
            ConfigurationError: none of those is in the hardware any more.
        """
        text = sound_text(subject.component)
        faults = find_faults(text, subject.takes)
        chosen = {fault.line: fault for fault in choose(faults, count, derive_seed(seed, name))}
        if subject.always is not None:
            always = [fault for fault in faults if subject.always(fault)]
            require(bool(always), f"{name}.always", "no fault of the hardware", "one at least")
            chosen |= {fault.line: fault for fault in always}
        planted = plant(text, [chosen[line] for line in sorted(chosen)])
        return cls(name, subject, planted_part(subject.component, planted))

    @property
    def hardware(self) -> str:
        """Of the sound design, see :func:`quietbar_hw.mutation.fingerprint`."""
        return fingerprint(self.planted.design.sound)

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
            "hardware": plan.hardware,
            "benches": [bench.name for bench in plan.subject.benches],
            "sound": {},
            "mutants": [
                {"number": number, **_told(fault), "found": {}, "equivalent": None}
                for number, fault in enumerate(faults, 1)
            ],
        }
        if self.path.is_file():
            known = json.loads(self.path.read_text())
            if known.get("key") == plan.key:
                self.facts = known
                for mutant, fault in zip(known["mutants"], faults, strict=True):
                    mutant.update(_told(fault))

    def found(self, number: int) -> dict[str, str]:
        """What each bench that was run reported of a mutant, empty where it found nothing; 0 is the sound design."""
        found: dict[str, str] = self.facts["mutants"][number - 1]["found"] if number else self.facts["sound"]
        return found

    def save(self) -> None:
        """Write the file, whole or not at all."""
        write_atomically(self.path, json.dumps(self.facts, indent=1) + "\n")


def _told(fault: Any) -> dict[str, Any]:
    told = {name: value for name, value in asdict(fault).items() if name in ("kind", "module", "source", "what")}
    return {"name": fault.name, **told}


def run_plan(plan: Plan, folder: Path, jobs: int, first: bool, say: Say) -> dict[str, Any]:
    """Run what is not known yet; all that is known then.

    Args:
        plan: to run.
        folder: of the record.
        jobs: processes at a time.
        first: run no cocotb bench, which takes the longest, on a mutant that another bench has caught.
        say: told each mutant that is caught, and each that is left.

    Raises:
        QuietbarError: a bench finds fault with the sound design, or could not be run.
    """
    record, benches = Record(plan, folder), plan.subject.benches
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

    for bench in sorted(benches, key=lambda bench: bench.name == SLOWEST):
        skipped = {
            number for number in mutants if first and bench.name == SLOWEST and any(record.found(number).values())
        }
        left = [number for number in mutants if number not in skipped and bench.name not in record.found(number)]
        if left:
            _build(plan, bench)
            if bench.name not in record.found(0):
                carry_out(iter([Attempt(0, bench, plan.planted)]))
            carry_out(Attempt(number, bench, plan.planted) for number in left)
    for number in mutants:
        mutant = record.facts["mutants"][number - 1]
        if not any(mutant["found"].values()):
            if mutant["equivalent"] is None:
                mutant["equivalent"] = proven_equal(plan.planted.design, number)
                record.save()
            mutant["explained"] = "" if mutant["equivalent"] else reason(plan.name, mutant)
            verdict = mutant["equivalent"] or mutant["explained"] or "SURVIVES"
            say(f"{plan.name} {number}: {mutant['name']}\n    {verdict}")
    record.save()
    return record.facts


def proven_equal(design: PlantedDesign, number: int) -> str:
    """How a mutant is proven equal to the sound design, its module or a small design as a whole; empty if it is not."""
    mutant, module = design.with_fault(number), design.faults[number - 1].module
    within = [module, *(["top"] if module != "top" and len(design.sound) < WHOLE else [])]
    if any(equivalent(design.sound, mutant, name) for name in within):
        return REGISTERS
    return PORTS if any(looks_the_same(design.sound, mutant, name) for name in within) else ""


def _build(plan: Plan, bench: Bench) -> None:
    """The simulator of a bench, before processes are forked that all would build it."""
    if bench.name == "bulk":
        shared_library(plan.planted.verilog)
    if bench.name == "cocotb":
        cocotb_program(plan.planted.verilog)
