"""Compare methods of noise-tolerant training: train, choose strengths on validation images, measure on test images.

Every run is a process of its own; results lie under the hash of all that decides them, so that a study that was stopped
goes on, and nothing runs twice. Writes results.json, report.md and report.svg into the study's folder.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the recipe, its overrides, the study's folder and how to run."""
    parser.add_argument("recipe", type=Path, help="TOML file, e.g. recipes/robustness/digits.toml")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="put VALUE (TOML) in the recipe's place, e.g. --set training.epochs=1; may be repeated",
    )
    parser.add_argument("--folder", type=Path, help="where the study is kept (default: build/robustness/<its name>)")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time (default: %(default)s)")
    parser.add_argument("--report", action="store_true", help="run nothing; write the report of what is finished")


def execute(arguments: argparse.Namespace) -> int:
    """Run and write."""
    import json

    from quietbar.files import write_atomically
    from quietbar.robustness import Study, read_study
    from quietbar.robustness.report import markdown, plot

    study = Study(read_study(arguments.recipe, arguments.overrides), arguments.folder)
    results = study.results() if arguments.report else study.execute(arguments.jobs)
    write_atomically(study.folder / "results.json", json.dumps(results, indent=1, allow_nan=False) + "\n")
    report = markdown(results)
    write_atomically(study.folder / "report.md", report)
    try:
        plot(results, study.folder / "report.svg")
    except ModuleNotFoundError:
        print("report.svg left out: matplotlib is not installed (pip install 'quietbar[report]')")
    print(report)
    return 0
