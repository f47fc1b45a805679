"""``quietbar placements``: every search's plan at every budget, trained alike, with what it costs."""

import json
import runpy
from pathlib import Path

import pytest

from quietbar import cli

QUICK = [
    "model.training.epochs=2",
    "noise.sigma=0.5",
    "noise.images=60",
    "noise.calibration=60",
    "placement.images=60",
    "blocks.epochs=1",
    "blocks.images=100",
    "evaluation.chips=[1, 2]",
]
PLOT = Path(__file__).parents[2] / "tools/plot_placements.py"


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("placements")
    overrides = [word for override in QUICK for word in ("--set", override)]
    options = ["--budgets", "0.005,0.03", "--searches", "noise,random", "--output", str(folder / "table.json")]
    assert cli.main(["placements", "recipes/digits.toml", "--folder", str(folder / "run"), *overrides, *options]) == 0
    return folder / "table.json"


def test_each_row_has_taps_costs_and_an_accuracy_for_each_chip(found):
    rows = json.loads(found.read_text())
    assert [(row["search"], row["budget"]) for row in rows] == [
        ("noise", 0.005), ("random", 0.005), ("noise", 0.03), ("random", 0.03),
    ]  # fmt: skip
    assert all("the cheapest" in row["refused"] or "enough for" in row["refused"] for row in rows[:2])
    planned, drawn = rows[2:]
    assert 0 < planned["overhead"] <= 0.03 and len(planned["accuracies"]) == 2
    assert len(drawn["accuracies"]) == 2 * len(drawn["taps"]) == 6


def test_cycles_and_multiplications_are_those_of_the_planned_blocks(found):
    """All taps of this network have 8 x 8 or 4 x 4 pixels; a block multiplies C x H + 9 x H + H x C times a pixel."""
    planned = json.loads(found.read_text())[2]
    shapes = {"stage1": (16, 64), "stage2": (16, 64), "stage3": (32, 16), "stage4": (32, 16)}
    taps = planned["taps"][0].items()
    assert planned["multiplications"] == sum(
        pixels * hidden * (2 * channels + 9) for name, hidden in taps for channels, pixels in [shapes[name]]
    )
    # No stage of the reference engine takes less than a cycle a pixel.
    assert planned["cycles"] >= sum(shapes[name][1] for name, _ in taps)


def test_the_plot_joins_the_plans_that_no_cheaper_one_equals(found):
    front = runpy.run_path(str(PLOT))["front"]
    points = [(3.0, 80.0), (1.0, 70.0), (2.0, 60.0), (3.0, 90.0), (4.0, 90.0), (5.0, 95.0)]
    assert front(points) == [(1.0, 70.0), (3.0, 90.0), (5.0, 95.0)]
    runpy.run_path(str(PLOT))["main"](found)
    first = found.with_suffix(".svg").read_bytes()
    runpy.run_path(str(PLOT))["main"](found)
    assert found.with_suffix(".svg").read_bytes() == first and b"engine cycles" in first
