"""Run a recipe from data to report: network, noise, places, blocks, integers, Verilog, RTL, co-simulation, resources.

Every finished stage is kept; called again, the run goes on where it stopped and ends with the same numbers. Exit status
1 if any bit of the RTL differed from the reference.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from quietbar.commands.recipes import add_recipe_arguments, software_line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_recipe_arguments(parser)
    parser.add_argument("--report", type=Path, default=Path("build/report"), help="folder of the report (%(default)s)")


def execute(arguments: argparse.Namespace) -> int:
    """Run, print the table, write the report."""
    from quietbar.experiment.results import summary
    from quietbar_cosim.line import HardwareLine, write_report

    line = HardwareLine(software_line(arguments))
    overrides = [word for override in arguments.overrides for word in ("--set", override)]
    results = line.results(["quietbar", "run", str(arguments.recipe), *overrides])
    path = write_report(results, arguments.report)
    print(f"\n{summary(results)}\n\nreport          {path}")
    return 1 if results.differing or not line.same_predictions else 0
