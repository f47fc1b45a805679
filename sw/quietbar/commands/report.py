"""Write the report of a finished run again, from the results that the run left."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare where results are read and the report is written."""
    parser.add_argument(
        "folder",
        type=Path,
        nargs="?",
        default=Path("build/report"),
        help="that holds results.json (default: %(default)s)",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Render and write."""
    from quietbar.experiment.report import render
    from quietbar.experiment.results import load_results
    from quietbar.files import write_atomically

    path = arguments.folder / "index.html"
    write_atomically(path, render(load_results(arguments.folder)))
    print(path)
    return 0
