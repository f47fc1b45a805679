"""What a campaign found, as tables: how many mutants each bench caught, by part and by kind, and the survivors."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from quietbar_hw.mutation import KINDS

from .explained import reason

Facts = Mapping[str, Any]
BENCHES = ("bulk", "cocotb", "formal")


def caught(mutant: Facts) -> bool:
    """Whether any bench caught it."""
    return any(mutant["found"].values())


def unexplained(campaign: Sequence[Facts]) -> list[Facts]:
    """Mutants that no bench caught, that are not equal to the sound design, and for which no reason is known."""
    return [
        mutant
        for facts in campaign
        for mutant in facts["mutants"]
        if not caught(mutant) and not mutant["equivalent"] and not reason(facts["subject"], mutant)
    ]


def rows(campaign: Sequence[Facts]) -> list[list[str]]:
    """For each part, then for each kind of fault, then in all: mutants, caught by each bench of those it saw, left."""
    by_part = [_row(facts["subject"], [(facts, mutant) for mutant in facts["mutants"]]) for facts in campaign]
    every = [(facts, mutant) for facts in campaign for mutant in facts["mutants"]]
    by_kind = [_row(f"*{kind}*", [each for each in every if each[1]["kind"] == kind]) for kind in KINDS]
    return [*by_part, *by_kind, _row("**all**", every)]


HEADER = ["part, *kind*", "mutants", "caught", *(f"by {name}" for name in BENCHES), "equal", "explained", "unexplained"]


def _row(name: str, mutants: Sequence[tuple[Facts, Facts]]) -> list[str]:
    left = [(facts, mutant) for facts, mutant in mutants if not caught(mutant)]
    equal = sum(bool(mutant["equivalent"]) for _, mutant in left)
    known = sum(bool(not mutant["equivalent"] and reason(facts["subject"], mutant)) for facts, mutant in left)
    counts = []
    for bench in BENCHES:
        seen = [mutant["found"][bench] for _, mutant in mutants if bench in mutant["found"]]
        counts.append(f"{sum(map(bool, seen))} of {len(seen)}" if seen else "")
    numbers = len(mutants), len(mutants) - len(left)
    return [name, *map(str, numbers), *counts, *map(str, (equal, known, len(left) - equal - known))]


def markdown(campaign: Sequence[Facts], command: str) -> str:
    """The tables as a document, with the command that made them."""
    lines = [
        "# Mutants and what caught them",
        "",
        f"Made by `{command}`.",
        "*by* a bench: mutants that it caught, of those that it was run on; cocotb on those that nothing else caught.",
        "*equal*: proven equal to the sound design, see below. *explained*: why no run can show it, see below.",
        "",
        *_table(HEADER, rows(campaign)),
        "",
        "## What no bench caught",
        "",
    ]
    for facts in campaign:
        for mutant in facts["mutants"]:
            if not caught(mutant):
                why = reason(facts["subject"], mutant) or "UNEXPLAINED"
                verdict = mutant["equivalent"] or why
                lines.append(f"- {facts['subject']}: {mutant['name']}: {verdict}.")
    lines += ["", "## Every mutant", "", *_table(["part", "mutant", "caught by"], _every(campaign))]
    return "\n".join(lines) + "\n"


def _every(campaign: Sequence[Facts]) -> list[list[str]]:
    found = []
    for facts in campaign:
        for mutant in facts["mutants"]:
            by = [_caught_by(name, report) for name, report in mutant["found"].items() if report]
            found.append([facts["subject"], mutant["name"], ", ".join(by) or "none"])
    return found


def _caught_by(bench: str, report: str) -> str:
    """The bench; and of proofs the properties that the mutant breaks, which their report names."""
    if bench != "formal":
        return bench
    named = re.sub(r": an assertion fails within \d+ cycles", "", report.partition(": ")[2])
    return ", ".join(f"`{name}`" for name in re.split(r"[;,] ", named))


def _table(header: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *cells)]
