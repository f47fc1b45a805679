"""The sweep over noise and time: its points, what is averaged, what is refused by name."""

import json
from pathlib import Path

import pytest
import torch

from quietbar.cli import main
from quietbar.contract import ConfigurationError
from quietbar.experiment.line import SoftwareLine
from quietbar.experiment.recipe import read_recipe
from quietbar_cosim.mixed_sweep import Sweep, curves, run, validate, write

RECIPE = Path(__file__).parents[2] / "recipes/digits-tiles.toml"
SMALL = ["model.training.epochs=1", "noise.calibration=20", "tiles.chips=2", "tiles.epochs=1", "tiles.reduction=8"]


def test_every_combination_is_a_point_with_and_without_denoisers():
    points = list(Sweep(sigmas=(0.0, 0.1), seconds=(20.0,), chips=(1, 2)).points)
    assert len(points) == len(set(points)) == 8


def test_chips_are_averaged_and_what_differs_is_counted(tmp_path):
    same = {"sigma": 0.1, "seconds": 20.0, "denoised": True, "images": 10}
    points = [
        {**same, "chip": 1, "accuracy": 90.0, "differing": 0},
        {**same, "chip": 2, "accuracy": 80.0, "differing": 1},
    ]
    (curve,) = curves(points)
    assert (curve["mean"], curve["deviation"]) == (85.0, 5.0)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Where runs are kept, so that blocks are trained once."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def line(runs):
    return SoftwareLine(read_recipe(RECIPE, SMALL), runs / "digits-tiles")


def test_points_that_were_done_are_read_back_and_the_rest_goes_on(line, tmp_path, monkeypatch):
    # The RTL of this very sweep is what `make cosim-mixed` runs; here the reference stands in for it.
    ran = []

    def stand_in(network, images):
        ran.append(len(images))
        if len(ran) == 2:
            raise KeyboardInterrupt
        return network.classes(images), 7

    monkeypatch.setattr("quietbar_cosim.mixed_sweep.classify", stand_in)
    sweep = Sweep(sigmas=(0.2,), seconds=(20.0,), chips=(4,), images=20)
    with pytest.raises(KeyboardInterrupt):
        list(run(line, sweep, tmp_path / "points"))
    points = list(run(line, sweep, tmp_path / "points"))
    assert ran == [20, 20, 20], "the first point was not run again"
    assert [point["denoised"] for point in points] == [False, True]
    assert all(point["accuracy"] == point["reference"] and point["differing"] == 0 for point in points)
    found = json.loads(write(line, sweep, points, tmp_path / "results.json")[0].read_text())
    assert (found["predictions"], found["differing"]) == (40, 0) and found["clean"] > 0


def test_a_class_that_differs_is_counted(line, runs, tmp_path, monkeypatch):
    def wrong(network, images):
        classes = network.classes(images)
        classes[3] = (classes[3] + 1) % 10
        return classes, 7

    monkeypatch.setattr("quietbar_cosim.mixed_sweep.classify", wrong)
    sweep = Sweep(sigmas=(0.2,), seconds=(20.0,), chips=(4,), images=20)
    assert [point["differing"] for point in run(line, sweep, tmp_path / "points")] == [1, 1]
    arguments = ["cosim-mixed", str(RECIPE), "--sigma", "0.2", "--seconds", "20", "--chip", "4", "--images", "20"]
    monkeypatch.setattr("quietbar.experiment.line.RUNS", runs)
    overrides = [word for each in SMALL for word in ("--set", each)]
    files = ["--folder", str(tmp_path / "others"), "--output", str(tmp_path / "results.json")]
    assert main([*arguments, *overrides, *files]) == 1


def test_choices_are_made_on_validation_images(line):
    points = list(validate(line, Sweep(sigmas=(0.2,), seconds=(20.0,), chips=(4,))))
    assert [point["images"] for point in points] == [len(line.data.validation)] * 2
    assert not torch.equal(line.data.validation.images[:20], line.data.test.images[:20])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Sweep(sigmas=()), "sweep.sigmas"),
        (lambda: Sweep(sigmas=(-1.0,)), "sweep.sigmas = -1.0"),
        (lambda: Sweep(seconds=(1.0,)), "sweep.seconds = 1.0"),
        (lambda: Sweep(chips=(-1,)), "sweep.chips = -1"),
        (lambda: Sweep(images=0), "sweep.images = 0"),
        (lambda: Sweep(chips=(1, 1)), r"sweep.chips = \(1, 1\): must be different values"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(make, message):
    with pytest.raises(ConfigurationError, match=message):
        make()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sigma", "-1"], "sweep.sigmas = -1.0"),
        (["--seconds", "5"], "sweep.seconds = 5.0"),
        (["--chip", "-1"], "sweep.chips = -1"),
        (["--images", "0"], "sweep.images = 0"),
        (["--images", "601"], "sweep.images = 601: must be at most the 600 test images"),
        (["--set", "tiles.reduction=0"], "tiles.reduction = 0"),
        (["--set", "tiles.reductions=2"], "tiles.reductions = 2"),
        (["recipes/none.toml"], "recipes/none.toml: No such file"),
        ([str(RECIPE.parent / "digits.toml")], "recipe.tiles = None: must be given"),
    ],
)
def test_the_command_tells_what_is_wrong(arguments, message, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("quietbar.experiment.line.RUNS", tmp_path)
    overrides = [word for each in SMALL[:1] for word in ("--set", each)]
    assert main(["cosim-mixed", *arguments, *overrides]) == 2
    assert message in capsys.readouterr().err
