"""Run one mismatch again, from the folder that its report names.

The folder holds everything: the Verilog as it was, the vectors, stall patterns and seeds. Exit status 1 if it still
differs, 0 if not.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("folder", type=Path, help="e.g. build/replay/0123456789ab")
    parser.add_argument("--tier", choices=("cocotb", "bulk"), help="simulate in this tier, not in that of the report")
    parser.add_argument("--verilog", type=Path, help="simulate this file, e.g. a mended one, not that of the report")


def execute(arguments: argparse.Namespace) -> int:
    """Run the case and print the comparison."""
    from dataclasses import replace

    from quietbar.contract.errors import require
    from quietbar_cosim.build import Design
    from quietbar_cosim.replay import load

    case = load(arguments.folder)
    if arguments.tier:
        case = replace(case, tier=arguments.tier)
    if arguments.verilog:
        require(arguments.verilog.is_file(), "--verilog", str(arguments.verilog), "a file that exists")
        case = replace(case, design=Design(case.design.top, arguments.verilog.read_text()))
    comparison = case.compare(case.run())
    print(case.report(comparison, arguments.folder))
    return 0 if comparison.equal else 1
