"""The table of the watched designs: ``python tools/synthesis_table.py hw/synth/baseline.json``.

Prints Markdown: of each design on each target what it takes, and the clocks of its placements.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from quietbar_hw.synthesis.suite import Results, table

HEAD = ("design", "target", "takes", "MHz")


def rows_of(results: Results) -> Iterator[tuple[str, ...]]:
    """A row for each design and target; the name of a design once."""
    last = ""
    for name, target, takes, speed in table(results):
        yield ("" if name == last else f"`{name}`", target, takes, speed)
        last = name


def table_of(baseline: dict[str, Any]) -> str:
    """The table of a baseline as `quietbar synth --write-baseline` writes it."""
    rows = (HEAD, ("---",) * len(HEAD), *rows_of(baseline["results"]))
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


if __name__ == "__main__":
    print(table_of(json.loads(Path(sys.argv[1]).read_text())))
