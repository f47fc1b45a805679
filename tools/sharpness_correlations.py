"""How loss sharpness goes with robustness over all trained networks of the studies given, as a Markdown table."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from quietbar.robustness.report import correlations, pooled_correlations


def main() -> None:
    """Print Spearman's coefficient by study and over all of them, and Pearson's by study."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", nargs="+", type=Path, help="results.json of studies")
    parser.add_argument("--without", action="append", default=[], metavar="METHOD", help="leave out a method")
    arguments = parser.parse_args()
    studies = [json.loads(path.read_text()) for path in arguments.results]
    for results in studies:
        results["runs"] = [run for run in results["runs"] if run["method"] not in arguments.without]
    names = [results["study"]["name"] for results in studies]
    single, pooled = [correlations(results) for results in studies], pooled_correlations(studies)
    head = [f"{name} ({each})" for name in names for each in ("Spearman", "Pearson")]
    print("| sharpness in units of | all, ranks within studies | " + " | ".join(head) + " |")
    print("|" + "---|" * (len(head) + 2))
    for unit, over_all in pooled.items():
        cells = [f"{each[unit][kind]:+.2f}" for each in single for kind in ("spearman", "pearson")]
        print("| " + " | ".join([unit, f"{over_all['spearman']:+.2f}", *cells]) + " |")
    counts = [len(results["runs"]) for results in studies]
    print(f"\n{next(iter(pooled.values()))['networks']} networks, of studies with {counts} runs.")


if __name__ == "__main__":
    main()
