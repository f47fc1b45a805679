"""Cases in a folder, each complete in itself: the Verilog, the vectors, the scenario, the reference's integers.

A case that differed is written to ``build/replay/<id>/`` and runs again with ``quietbar replay build/replay/<id>``, on
any machine with the toolchain, whatever became of the network, the bundle or the hardware sources meanwhile.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from quietbar.contract.errors import ConfigurationError, require, require_choice
from quietbar.files import write_atomically

from .build import Design, build_root
from .mismatch import Comparison, MismatchError, compare, record
from .regression import run_bulk, run_cocotb
from .vectors import Job, Run, Scenario, Vectors

Tier = Literal["cocotb", "bulk"]
TIERS: tuple[Tier, ...] = ("cocotb", "bulk")

FORMAT = 1
SEED = 1
"""Of what registers and memories hold before the first reset, under cocotb."""


@dataclass(frozen=True)
class Case:
    """A job on a design in one tier of simulation."""

    design: Design
    job: Job
    tier: Tier
    seed: int = SEED

    def run(self) -> Run:
        """Simulate."""
        return run(self.design, [self.job], self.tier, self.seed)[0]

    def compare(self, result: Run) -> Comparison:
        """Compare the run's output with the vectors'."""
        vectors = self.job.vectors
        name = f"{self.job.name}, {self.job.scenario.name}"
        got = vectors.elements(result.output)
        return compare(
            name, vectors.expected_elements, got, vectors.element.bits, vectors.axes, result.cycles, result.seconds
        )

    def report(self, comparison: Comparison, folder: Path | None = None) -> str:
        """The comparison in words, and the command that runs the case again from ``folder``."""
        explain = None if self.job.subject is None else self.job.subject.explain
        return comparison.report(explain, "" if folder is None else f"quietbar replay {_shown(folder)}")

    def save(self, root: Path) -> Path:
        """Write the case to a folder of its own under ``root``; the folder."""
        facts = {
            "format": FORMAT,
            "name": self.job.name,
            "tier": self.tier,
            "seed": self.seed,
            "top": self.design.top,
            "scenario": self.job.scenario.to_dict(),
            "subject": None if self.job.subject is None else _class_name(self.job.subject),
        }
        root.mkdir(parents=True, exist_ok=True)
        temporary = root / f".new-{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]}"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        self.job.vectors.save(temporary / "vectors.npz")
        write_atomically(temporary / "design.v", self.design.verilog)
        if self.job.subject is not None:
            self.job.subject.save(temporary)
        write_atomically(temporary / "case.json", json.dumps(facts, indent=2) + "\n")
        digest = hashlib.sha256()
        for path in sorted(temporary.iterdir()):
            digest.update(path.read_bytes())
        folder = root / digest.hexdigest()[:12]
        if folder.exists():
            shutil.rmtree(temporary)
        else:
            temporary.rename(folder)
        return folder


def load(folder: Path) -> Case:
    """The case in a folder.

    Raises:
        ConfigurationError: the folder does not hold a case, or a damaged one.
    """
    require(
        (folder / "case.json").is_file(), "replay", str(folder), "a folder with a case.json, as a mismatch leaves it"
    )
    try:
        facts = json.loads((folder / "case.json").read_text())
        require(facts["format"] == FORMAT, "replay.format", facts["format"], f"{FORMAT}, which this version reads")
        require_choice("replay.tier", facts["tier"], TIERS)
        design = Design(facts["top"], (folder / "design.v").read_text())
        subject = None
        if facts["subject"] is not None:
            module, _, name = facts["subject"].partition(":")
            require(
                module.startswith("quietbar_cosim."), "replay.subject", facts["subject"], "a class of quietbar_cosim"
            )
            subject = getattr(importlib.import_module(module), name).load(folder)
        scenario = Scenario.from_dict(facts["scenario"])
        job = Job(facts["name"], Vectors.load(folder / "vectors.npz"), scenario, subject)
        return Case(design, job, facts["tier"], facts["seed"])
    except ConfigurationError:
        raise
    except (OSError, KeyError, ValueError, TypeError, AttributeError, ImportError) as error:
        raise ConfigurationError("replay", str(folder), f"an undamaged case ({error})") from error


def run(design: Design, jobs: Sequence[Job], tier: Tier, seed: int = SEED) -> list[Run]:
    """Run jobs in one tier, in one simulator."""
    require_choice("tier", tier, TIERS)
    return run_cocotb(design, jobs, seed) if tier == "cocotb" else run_bulk(design, jobs)


def verify(
    bench: str,
    design: Design,
    jobs: Sequence[Job],
    tier: Tier = "cocotb",
    seed: int = SEED,
    folder: Path | None = None,
) -> list[Comparison]:
    """Run jobs, compare every bit, and record the counts.

    Args:
        bench: name of the record, ``cosim/<bench>.jsonl`` in ``folder``.
        folder: for the record and for the cases that differ (``replay/<id>/``); by default ``build``.

    Raises:
        MismatchError: an output differs. The case is saved for replay; the message tells how to run it again.
        StreamError, BenchFailure: a stream broke its rules, or nothing moved.
    """
    require(bool(jobs), "jobs", len(jobs), "at least one")
    folder = build_root() if folder is None else folder
    cases = [Case(design, job, tier, seed) for job in jobs]
    results = run(design, jobs, tier, seed)
    comparisons = [case.compare(result) for case, result in zip(cases, results, strict=True)]
    record(bench, comparisons, folder / "cosim")
    for case, comparison in zip(cases, comparisons, strict=True):
        if not comparison.equal:
            raise MismatchError(comparison, case.report(comparison, case.save(folder / "replay")))
    return comparisons


def _class_name(value: object) -> str:
    return f"{type(value).__module__}:{type(value).__qualname__}"


def _shown(folder: Path) -> Path:
    """The folder as one would type it here."""
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
