"""How normal a Gaussian source is, measured on as many samples as asked for.

Moments, Kolmogorov-Smirnov, chi-square in bins of 1/16 sigma and of one unit, tails to 6 sigma, autocorrelation of the
samples and of their squares, and correlation of parallel lanes, against N(0, 1) rounded to the samples' grid. What was
counted is kept in FOLDER, so that a run that was stopped goes on; there will be report.json and report.svg. The
distribution that uniform draws give is computed besides, without sampling. Exit status 1 if a statistic is outside its
limits.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from quietbar.contract.sources import KINDS

from .arguments import whole_number


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare source, seed, count and where results go."""
    parser.add_argument("--kind", default=KINDS[0], help=f"of source: {' or '.join(KINDS)} (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="%(default)s")
    parser.add_argument("--count", default="1e8", help="samples, a multiple of 64 (%(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="processes that count (%(default)s)")
    parser.add_argument(
        "--folder", type=Path, help="for results (build/gaussian/KIND-seedSEED-COUNT under the working folder)"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Count, judge, print and write."""
    from quietbar.contract.errors import require
    from quietbar.experiment.results import text_table
    from quietbar.gaussian_quality.exact import deviation, probabilities_of
    from quietbar.gaussian_quality.report import exact_lines, table, write
    from quietbar.gaussian_quality.run import Plan, run
    from quietbar.gaussian_quality.verdict import judge

    plan = Plan(arguments.kind, arguments.seed, whole_number(arguments.count))  # type: ignore[arg-type]
    folder = arguments.folder or Path("build") / "gaussian" / plan.name
    free = folder.is_dir() or not folder.exists()
    require(free, "--folder", str(folder), "a folder, or a name that is free")

    def progress(counted: int) -> None:
        print(f"\r{counted:,} of {plan.count:,} samples", end="", file=sys.stderr, flush=True)

    tally = run(plan, folder, arguments.jobs, progress if sys.stderr.isatty() else lambda counted: None)
    rows = list(judge(tally))
    print(f"{plan.kind}, seed {plan.seed}, {tally.samples:,} samples")
    print(text_table(["statistic", "value", "limits", ""], table(rows)))
    print("\n".join(exact_lines(deviation(probabilities_of(plan.kind)))))
    for path in write(plan, tally, folder):
        print(path)
    return 0 if all(row.holds for row in rows) else 1
