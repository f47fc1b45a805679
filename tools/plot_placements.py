"""The Pareto plot of compared searches: ``python tools/plot_placements.py docs/results/digits-placements.json``.

Reads what ``quietbar placements --output`` wrote and writes an SVG beside it: for each search and budget the mean
validation accuracy of its plans against their mean parameters, and against cycles of the reference engine, with the
deviation over the seeds; the line joins the means that no cheaper one equals. A second run writes the same file.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from quietbar.experiment.placements import spread
from quietbar.files import atomic_file

MARKERS = {"noise": "o", "gradient": "s", "joint": "^", "greedy": "v", "random": "x", "exhaustive": "D"}


def front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Of (cost, accuracy) those that no other is as cheap and better, or as good and cheaper; cheapest first."""
    found: list[tuple[float, float]] = []
    for cost, accuracy in sorted(points, key=lambda point: (point[0], -point[1])):
        if not found or accuracy > found[-1][1]:
            found.append((cost, accuracy))
    return found


def draw(axes: Any, rows: Sequence[dict[str, Any]], cost: str, label: str, scale: float = 1.0) -> None:
    """One panel."""
    costs = [scale * statistics.fmean(plan[cost] for plan in row["plans"]) for row in rows]
    means, deviations = zip(*(spread(row["plans"]) for row in rows), strict=True)
    axes.step(*zip(*front(list(zip(costs, means, strict=True))), strict=True), where="post", color="0.6", zorder=1)
    for number, (search, marker) in enumerate(MARKERS.items()):
        chosen = [index for index, row in enumerate(rows) if row["search"] == search]
        if chosen:
            x, y, error = ([column[index] for index in chosen] for column in (costs, means, deviations))
            # Equal plans lie on each other: larger marks behind smaller ones.
            size = 11 - 1.4 * number
            axes.errorbar(x, y, error, fmt=marker, markersize=size, fillstyle="none", elinewidth=0.6, label=search)
    axes.set(xlabel=label, ylabel="validation accuracy, %")


def main(path: Path) -> None:
    """Read, draw, write."""
    rows = [row for row in json.loads(path.read_text(encoding="utf-8"))["rows"] if "refused" not in row]
    settings: Any = {"svg.hashsalt": "quietbar", "svg.fonttype": "none", "font.size": 9}
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(8, 3.2), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        draw(left, rows, "overhead", "parameters of the blocks, % of the network's", 100)
        draw(right, rows, "cycles", "engine cycles a frame")
        left.legend()
        target = path.with_suffix(".svg")
        with atomic_file(target) as stream:
            figure.savefig(stream, format="svg", metadata={"Date": None})
    print(target)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
