"""Count the ECP5 resources of a recipe's denoisers, or of a Verilog file, with Yosys."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "verilog", type=Path, nargs="*", help="files NAME.v with a top module NAME (default: build/verilog/*.v)"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Count and print."""
    from quietbar.contract.errors import QuietbarError
    from quietbar.experiment.results import text_table
    from quietbar.toolchain import yosys
    from quietbar_hw.synthesis import COUNTED, count_resources

    files = arguments.verilog or sorted(Path("build/verilog").glob("*.v"))
    if not files:
        raise QuietbarError("there is no build/verilog/*.v: run 'quietbar verilog' first, or name files")
    rows = []
    for file in files:
        if not file.is_file():
            raise QuietbarError(f"{file}: no such file")
        resources = count_resources(file, file.stem)
        rows.append([file.stem, *(str(resources[name]) for name in COUNTED)])
    print(text_table(["ECP5", *COUNTED], rows))
    print(f"counted by Yosys {yosys().version}")
    return 0
