"""Lines and toggles of the Verilog that benches covered: Verilator's counts, merged, in percent and by name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from quietbar.contract.errors import ConfigurationError

Kind = Literal["line", "toggle"]
KINDS: tuple[Kind, ...] = ("line", "toggle")
STARTER = "$auto$verilog_backend"
"""Part of the names of registers that Yosys adds to start processes in simulators; nothing ever changes them."""


@dataclass(frozen=True, order=True)
class Point:
    """Something that a run covers or not.

    Attributes:
        kind: a statement or branch, or one bit of a signal going up or down.
        instance: that holds it, from the top down.
        line: of the Verilog.
        what: ``block``, ``if``, ``else``, or ``name[3]:0->1``.
    """

    kind: Kind
    instance: str
    line: int
    what: str


def read_points(path: Path) -> Counter[Point]:
    """How often each point was covered, of a file that Verilator's runtime wrote.

    Raises:
        ConfigurationError: the file is not one.
    """
    lines = path.read_text(errors="replace").splitlines()
    if not lines or not lines[0].startswith("# SystemC::Coverage-3"):
        raise ConfigurationError("coverage", str(path), "a file that Verilator's coverage wrote")
    counts: Counter[Point] = Counter()
    for line in lines[1:]:
        matched = re.fullmatch(r"C '(.*)' (\d+)", line)
        if matched is None:
            continue
        facts = dict(part.split("\x02", 1) for part in matched[1].split("\x01") if part)
        counts[_point(facts)] += int(matched[2])
    return counts


def _point(facts: Mapping[str, str]) -> Point:
    instance, what, line = facts.get("h", "").removeprefix("TOP."), _decoded(facts["o"]), int(facts["l"])
    if facts["page"].startswith("v_toggle"):
        return Point("toggle", instance, line, what)
    return Point("line", instance, line, f"{what} (column {facts['n']})")


def _decoded(name: str) -> str:
    """A name as it is in the Verilog: Verilator writes signs as ``__0`` and their code."""
    return re.sub(r"__0([0-9A-F]{2})", lambda match: chr(int(match[1], 16)), name)


def merge(files: Iterable[Path]) -> Counter[Point]:
    """The sum of several files' counts; points that nothing covers stay, with 0."""
    counts: Counter[Point] = Counter()
    for path in files:
        for point, count in read_points(path).items():
            counts[point] += count
    return counts


def summary(counts: Mapping[Point, int], verilog: str) -> dict[str, Any]:
    """For each kind: points, covered, percent, and those that are not, by instance; ``verilog`` was covered."""
    lines = verilog.splitlines()
    idle = {number for number, line in enumerate(lines, 1) if STARTER in line}
    found: dict[str, Any] = {}
    for kind in KINDS:
        points = sorted(point for point in counts if point.kind == kind and point.line not in idle)
        missed: dict[str, list[str]] = {}
        for point in points:
            if not counts[point]:
                text = lines[point.line - 1].strip() if point.line <= len(lines) else ""
                told = point.what if kind == "toggle" else f"line {point.line} {point.what}: {text[:80]}"
                missed.setdefault(point.instance, []).append(told)
        covered = len(points) - sum(map(len, missed.values()))
        percent = round(100 * covered / len(points), 2) if points else None
        found[kind] = {"points": len(points), "covered": covered, "percent": percent, "missed": missed}
    return found


def signals(missed: Iterable[str]) -> list[str]:
    """The signals of toggles that were missed, with how many of their bits' toggles."""
    counts = Counter(re.split(r"\[|:", what, maxsplit=1)[0] for what in missed)
    return [f"{name} ({count})" for name, count in counts.items()]
