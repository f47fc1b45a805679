"""``quietbar placements``: every search's plan at every budget, trained alike, with what it costs."""

import json
import math
import runpy
from pathlib import Path

import pytest

from quietbar import cli
from quietbar.experiment.placements import spread

QUICK = [
    "model.training.epochs=6",
    "noise.sigma=0.5",
    "noise.images=60",
    "noise.calibration=60",
    "placement.images=60",
    "blocks.epochs=2",
    "blocks.images=300",
    "evaluation.chips=[1, 2]",
]
PLOT = Path(__file__).parents[2] / "tools/plot_placements.py"


EVERYTHING = "noise,gradient,joint,greedy,random,exhaustive"
BUDGETS = (0.001, 0.02)


def run(folder, *options: str) -> int:
    overrides = [word for override in QUICK for word in ("--set", override)]
    return cli.main(["placements", "recipes/digits.toml", "--folder", str(folder / "run"), *overrides, *options])


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("placements")
    budgets = ",".join(map(str, BUDGETS))
    options = ["--budgets", budgets, "--searches", EVERYTHING, "--seeds", "3,4", "--output", str(folder / "table.json")]
    assert run(folder, *options) == 0
    return folder / "table.json"


def rows_of(found):
    return {(row["search"], row["budget"]): row for row in json.loads(found.read_text())["rows"]}


def test_each_search_has_a_plan_for_each_seed_with_an_accuracy_for_each_chip(found):
    table = json.loads(found.read_text())
    assert table["seeds"] == [3, 4] and [len(accuracies) for accuracies in table["noisy"]] == [2, 2]
    rows = rows_of(found)
    assert list(rows) == [(search, budget) for budget in BUDGETS for search in EVERYTHING.split(",")]
    for (search, budget), row in rows.items():
        if budget == 0.001:
            assert "the cheapest" in row["refused"] or "enough for" in row["refused"]
            continue
        assert [plan["seed"] for plan in row["plans"]] == ([3] * 3 + [4] * 3 if search == "random" else [3, 4])
        for plan in row["plans"]:
            assert 0 < plan["overhead"] <= budget and len(plan["accuracies"]) == 2


def test_what_a_seed_found_does_not_depend_on_the_others(found, tmp_path):
    options = ["--budgets", "0.02", "--searches", "noise,random", "--seeds", "4"]
    assert run(tmp_path, *options, "--output", str(tmp_path / "one.json")) == 0
    for key, row in rows_of(tmp_path / "one.json").items():
        expected = [plan for plan in rows_of(found)[key]["plans"] if plan["seed"] == 4]
        assert [{**plan, "seconds": 0} for plan in row["plans"]] == [{**plan, "seconds": 0} for plan in expected]


def test_a_comparison_that_is_run_again_computes_nothing(found, capsys):
    options = ["--budgets", "0.02", "--searches", "greedy,exhaustive", "--seeds", "3,4"]
    assert run(found.parent, *options) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("search", "compared"))]
    assert len(lines) == 10 and all("done before" in line for line in lines)


def test_cycles_and_multiplications_are_those_of_the_planned_blocks(found):
    """All taps of this network have 8 x 8 or 4 x 4 pixels; a block multiplies C x H + 9 x H + H x C times a pixel."""
    shapes = {"stage1": (16, 64), "stage2": (16, 64), "stage3": (32, 16), "stage4": (32, 16)}
    for row in rows_of(found).values():
        for planned in row.get("plans", ()):
            taps = planned["taps"].items()
            assert planned["multiplications"] == sum(
                pixels * hidden * (2 * channels + 9) for name, hidden in taps for channels, pixels in [shapes[name]]
            )
            # No stage of the reference engine takes less than a cycle a pixel.
            assert planned["cycles"] >= sum(shapes[name][1] for name, _ in taps)


def test_the_spread_is_that_of_the_seeds_means():
    plans = [(1, [80.0, 82.0]), (1, [84.0, 86.0]), (2, [90.0, 92.0])]
    mean, deviation = spread([{"seed": seed, "accuracies": accuracies} for seed, accuracies in plans])
    assert mean == 87.0 and deviation == pytest.approx(math.sqrt(32))
    assert spread([{"seed": 1, "accuracies": [80.0, 90.0]}]) == (85.0, 0.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seeds", "1,x"], "--seeds = '1,x': must be integers separated by commas"),
        (["--seeds", "-1"], "placements.seeds = -1"),
        (["--widths", "0"], "placements.widths = 0.0: must be a share above 0"),
        (["--widths", "wide"], "--widths = 'wide': must be numbers separated by commas"),
        (["--search-epochs", "0"], "placements.search_epochs = 0"),
        (["--searches", "guess"], "placements.searches = 'guess'"),
        (["--budgets", "2"], "placements.budgets = 2.0"),
    ],
)
def test_bad_options_are_refused_by_name(options, message, tmp_path, capsys):
    words = [f"{options[0]}={options[1]}"]
    assert cli.main(["placements", "recipes/digits.toml", "--folder", str(tmp_path), *words]) != 0
    assert message in capsys.readouterr().err


def test_the_plot_joins_the_plans_that_no_cheaper_one_equals(found):
    front = runpy.run_path(str(PLOT))["front"]
    points = [(3.0, 80.0), (1.0, 70.0), (2.0, 60.0), (3.0, 90.0), (4.0, 90.0), (5.0, 95.0)]
    assert front(points) == [(1.0, 70.0), (3.0, 90.0), (5.0, 95.0)]
    runpy.run_path(str(PLOT))["main"](found)
    first = found.with_suffix(".svg").read_bytes()
    runpy.run_path(str(PLOT))["main"](found)
    assert found.with_suffix(".svg").read_bytes() == first and b"engine cycles" in first
