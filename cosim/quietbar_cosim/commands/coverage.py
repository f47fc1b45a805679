"""Run the benches of each part of the hardware and count what they cover: lines and toggles of the Verilog, and bins.

The benches are those that mutants have to get past. What is found is kept in build/coverage and taken from there while
hardware and benches are the same.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("part", nargs="*", metavar="PART", help="only these parts (all)")
    parser.add_argument("--tier", action="append", metavar="TIER", help="only bulk or cocotb (both)")
    parser.add_argument("--folder", type=Path, default=Path("build/coverage"), help="what was found (%(default)s)")
    parser.add_argument("--write", type=Path, metavar="FOLDER", help="renew these parts in the record there")


def execute(arguments: argparse.Namespace) -> int:
    """Run, merge, and print."""
    from quietbar.contract.errors import require_choice
    from quietbar.experiment.results import text_table
    from quietbar.files import write_atomically
    from quietbar_cosim.mutants.covering import HEADER, TIERS, compact, cover, markdown, row
    from quietbar_cosim.mutants.renewing import renewed
    from quietbar_cosim.mutants.subjects import SUBJECTS

    for name in arguments.part:
        require_choice("PART", name, tuple(SUBJECTS))
    for tier in arguments.tier or ():
        require_choice("--tier", tier, TIERS)
    records = []
    for name in arguments.part or SUBJECTS:
        records.append(cover(name, SUBJECTS[name](), arguments.folder, arguments.tier or TIERS))
        print(", ".join(row(records[-1])), flush=True)
    print(text_table(HEADER, [row(record) for record in records]))
    if arguments.write:
        command = " --tier ".join(["quietbar coverage", *(arguments.tier or ())])
        file = arguments.write / "coverage.json"
        parts = renewed(file, "part", command, [compact(record) for record in records])
        write_atomically(file, json.dumps({"command": command, "parts": parts}, indent=1) + "\n")
        write_atomically(arguments.write / "coverage.md", markdown(parts, command))
    return 0
