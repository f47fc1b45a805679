"""The benches of a part on its sound design, built to count lines and toggles: what they compared and covered."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from quietbar import toolchain
from quietbar.files import write_atomically
from quietbar_hw.mutation import PlantedDesign, fingerprint, sound_text
from quietbar_hw.verilog import lint, write_verilog

from ..build import COVERAGE, design_of
from ..code_coverage import KINDS, merge, signals, summary
from ..coverage import Coverage
from ..engine_coverage import REQUIRED
from .benches import Bench, Planted
from .engine_benches import FUNCTIONAL
from .subjects import Subject
from .waived import waiver

TIERS = ("bulk", "cocotb")
NAMED = 12
"""Signals that the document names for an instance; the record names all."""


def cover(name: str, subject: Subject, folder: Path, tiers: Sequence[str] = TIERS) -> dict[str, Any]:
    """Lint a part, run its benches of these tiers, keep what came of it as ``folder/name.json``; or return the record.

    One of another part with the same design and benches does as well.

    Raises:
        LintError: Verilator or Yosys warns of something.
        QuietbarError: a bench finds fault with the part, which is recorded by nothing.
    """
    design = design_of(subject.component, "top")
    benches = [bench for bench in subject.benches if bench.name in tiers]
    version = str(toolchain.verilator().version)
    parts = [design.verilog, version, *(f"{bench.name} {bench.identity}" for bench in benches)]
    key, path = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16], folder / f"{name}.json"
    for other in (path, *sorted(folder.glob("*.json"))):
        known: dict[str, Any] = json.loads(other.read_text()) if other.is_file() else {}
        if known.get("key") == key:
            record = {**known, "part": name}
            if other != path:
                write_atomically(path, json.dumps(record, indent=1) + "\n")
            return record
    with tempfile.TemporaryDirectory(prefix="quietbar-lint-") as place:
        lint(write_verilog(subject.component, place, "top"))
    with _counting() as covered:
        for bench in benches:
            bench.run(Planted(subject.component, PlantedDesign("", (), ""), design))
        counts = merge(sorted(covered.glob("*.dat")))
        bins = covered / FUNCTIONAL
        functional = _functional(json.loads(bins.read_text())) if bins.is_file() else None
    record = {
        "part": name,
        "key": key,
        "hardware": fingerprint(sound_text(subject.component)),
        "verilator": version,
        "linted": "verilator --lint-only -Wall, yosys check -assert",
        "benches": [_compared(bench) for bench in benches],
        **summary(counts, design.verilog),
        "functional": functional,
    }
    write_atomically(path, json.dumps(record, indent=1) + "\n")
    return record


@contextlib.contextmanager
def _counting() -> Iterator[Path]:
    """Within the context, simulators count what they cover, and write it to the folder."""
    with tempfile.TemporaryDirectory(prefix="quietbar-coverage-") as name:
        os.environ[COVERAGE] = name
        try:
            yield Path(name)
        finally:
            del os.environ[COVERAGE]


def _compared(bench: Bench) -> dict[str, Any]:
    return {name: getattr(bench, name) for name in ("name", "compared", "random", "unit")}


def _functional(hits: Sequence[tuple[str, str, int]]) -> dict[str, Any]:
    """Required bins of sessions that were hit; others are beyond what one engine can show."""
    coverage = Coverage(REQUIRED)
    for group, name, count in hits:
        coverage.hits[group, name] += count
    required = sum(map(len, REQUIRED.values()))
    missing = [f"{group}: {name}" for group, name in coverage.missing]
    return {"bins": required, "hit": required - len(missing), "missing": missing}


def compact(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record without the bits of the toggles that were missed: signals, with how many; lines with their excuses."""
    lines, toggles = dict(record["line"]), dict(record["toggle"])
    lines["missed"] = {
        instance: {told: excuse(record["part"], instance, told) for told in missed}
        for instance, missed in lines["missed"].items()
    }
    toggles["missed"] = {instance: _signals(missed) for instance, missed in toggles["missed"].items()}
    return {**record, "line": lines, "toggle": toggles}


def _signals(missed: Sequence[str]) -> list[str]:
    """The signals of toggles that were missed, as :func:`signals` has them; those of a compact record are such."""
    return signals(missed) if any("->" in each for each in missed) else list(missed)


def excuse(part: str, instance: str, told: str) -> str:
    """Why a line that was missed cannot be reached; empty where no reason is known."""
    found = waiver(part, f"{instance}: {told.partition(': ')[2]}")
    return "" if found is None else found.reason


def open_lines(record: Mapping[str, Any]) -> list[str]:
    """Lines that were missed without an excuse."""
    return [
        f"{instance}: {told}"
        for instance, missed in record["line"]["missed"].items()
        for told in missed
        if not excuse(record["part"], instance, told)
    ]


def row(record: Mapping[str, Any]) -> list[str]:
    """Part, benches, lines, toggles and bins in percent."""
    functional = record["functional"]
    bins = f"{functional['hit']} of {functional['bins']}" if functional else ""
    numbers = [f"{record[kind]['percent']} % of {record[kind]['points']:,}" for kind in KINDS]
    missed = record["line"]["points"] - record["line"]["covered"]
    if missed:
        numbers[0] += f"; {missed - len(open_lines(record))} of {missed} excused"
    benches = ", ".join(f"{each['name']} ({each['compared']:,} {each['unit']})" for each in record["benches"])
    return [record["part"], benches, *numbers, bins]


HEADER = ["part", "benches, compared", "lines", "toggles", "bins of sessions"]


def markdown(records: Sequence[Mapping[str, Any]], command: str) -> str:
    """The percentages, and by instance what is not covered, with the command that found it; records may be compact."""
    table = [f"| {' | '.join(cells)} |" for cells in (HEADER, ["---"] * len(HEADER), *map(row, records))]
    lines = ["# What the benches cover", "", f"Made by `{command}`, counted by Verilator on the generated Verilog.", ""]
    lines += [*table, "", "## What they do not", ""]
    for record in records:
        lines += [f"### {record['part']}", ""]
        for instance, missed in record["line"]["missed"].items():
            for told in missed:
                why = excuse(record["part"], instance, told) or "NOT EXCUSED"
                lines.append(f"- `{instance}`, {told}: {why}.")
        for instance, missed in record["toggle"]["missed"].items():
            named = _signals(missed)
            count = sum(int(each.rpartition("(")[2].rstrip(")")) for each in named)
            listed = ", ".join(f"`{name}`" for name in named[:NAMED])
            lines.append(f"- toggles of `{instance}`: {count}: {listed}{_more(len(named))}")
        if record["functional"] and record["functional"]["missing"]:
            lines.append(f"- bins: {', '.join(record['functional']['missing'])}")
        lines.append("")
    return "\n".join(lines)


def _more(count: int) -> str:
    return f", and {count - NAMED} more" if count > NAMED else ""
