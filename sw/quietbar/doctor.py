"""Examine an installation: every program and package that quietbar needs, and what mends it where one is missing."""

from __future__ import annotations

import importlib.metadata
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from . import toolchain
from .toolchain import Tool

PURPOSES = {"hardware": "Verilog", "cosim": "simulation", "report": "the report"}
"""Extra of this distribution -> what its packages are needed for. Packages of other extras are not examined: synthesis
brings programs, which the toolchain finds, and test is for those who change quietbar."""

_REQUIREMENT = re.compile(
    r"(?P<name>[\w.-]+)(\[.*?\])?[^;]*>=(?P<floor>[\d.]+)[^;]*(;.*extra == ['\"](?P<extra>.+?)['\"])?"
)


def examine() -> tuple[Tool, ...]:
    """Every program and package, as found now; nothing is installed, imported or changed."""
    return *toolchain.tools(), *packages()


def packages() -> tuple[Tool, ...]:
    """The Python packages that this distribution declares, with the floors it declares.

    Raises:
        MissingToolError: quietbar itself is not installed, so that nothing is declared.
    """
    try:
        requirements = importlib.metadata.requires("quietbar") or []
    except importlib.metadata.PackageNotFoundError:
        remedy = toolchain.pip_command("quietbar[all]")
        raise toolchain.MissingToolError(f"quietbar is not installed in this Python. To mend it: {remedy}") from None
    return tuple(_package(name, floor, extra) for name, floor, extra in _declared(requirements))


def is_well(examined: Iterable[Tool]) -> bool:
    """Whether nothing is missing."""
    return all(tool.found for tool in examined)


def format_examination(examined: Iterable[Tool]) -> str:
    """The table of tools as text, then each thing that is missing with its remedy."""
    tools = tuple(examined)
    rows = [("tool", "version", "at least", "needed for", "path")]
    rows += [(t.name, t.version or "MISSING", t.floor, t.needed_for, _shorten(t.path) if t.path else "") for t in tools]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    for tool in tools:
        if tool.found and tool.passed_over:
            lines += ["", f"{tool.name}: passed over {', '.join(map(str, tool.passed_over))}: older than {tool.floor}"]
        elif not tool.found:
            lines += ["", tool.problem, f"    to mend it: {tool.remedy}"]
    missing = sum(not tool.found for tool in tools)
    lines += ["", f"{missing} of {len(tools)} missing." if missing else f"All {len(tools)} are there."]
    return "\n".join(lines)


def _declared(requirements: Iterable[str]) -> Iterator[tuple[str, str, str | None]]:
    """(name, floor, extra) of each requirement, once per package; the first extra that has a purpose counts."""
    seen: set[str] = set()
    matches = [match for match in map(_REQUIREMENT.match, requirements) if match]
    for extra in (None, *PURPOSES):
        for match in matches:
            if match["extra"] == extra and match["name"] not in seen:
                seen.add(match["name"])
                yield match["name"], match["floor"], extra


def _package(name: str, floor: str, extra: str | None) -> Tool:
    remedy = toolchain.pip_command(f"'quietbar[{extra}]'" if extra else f"'{name}>={floor}'")
    try:
        distribution = importlib.metadata.distribution(name)
        found = [(Path(str(distribution.locate_file(""))), distribution.version)]
    except importlib.metadata.PackageNotFoundError:
        found = []
    return toolchain.select(name, floor, PURPOSES[extra] if extra else "everything", remedy, found)


def _shorten(path: Path) -> str:
    relative = os.path.relpath(path)
    return str(path) if relative.startswith(os.pardir) else relative
