"""``quietbar run``: one command from data to a report in which every bit of the RTL equals the reference."""

import json

import pytest

from quietbar import cli
from quietbar.experiment.line import SoftwareLine
from quietbar.experiment.results import load_results
from quietbar.experiment.stages import CLEAN, FLOAT, INTEGER, NOISY, TUNED_FLOAT, TUNED_INTEGER
from quietbar.integer.image import load_image
from quietbar_cosim.line import RTL, TUNED_RTL

QUICK = [
    "model.training.epochs=2",
    "noise.images=60",
    "noise.calibration=60",
    "noise.sweep=[0.0, 1.0]",
    "placement.images=60",
    "placement.budget=0.03",
    "blocks.epochs=1",
    "blocks.images=200",
    "evaluation.images=60",
    "evaluation.chips=[1, 2]",
    "evaluation.chunk=60",
    "hardware.cosim_frames=1",
    "hardware.synthesis=false",
    'hardware.target.device="ecp5-85"',
    "hardware.target.frames_per_second=1000",
]


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    overrides = [word for override in QUICK for word in ("--set", override)]
    return ["recipes/digits.toml", "--folder", str(folder), "--report", str(folder / "report"), *overrides], folder


def test_a_run_ends_in_the_table_and_the_report(options, capsys):
    words, folder = options
    assert cli.main(["run", *words]) == 0
    printed = capsys.readouterr().out
    assert "bits differing  0" in printed and RTL in printed
    results = load_results(folder / "report")
    columns = {column.name: column.accuracies for column in results.columns}
    assert columns[RTL] == columns[INTEGER]
    assert results.bits > 0 and results.differing == 0
    assert all(block.cycles_per_frame == block.cycles_predicted for block in results.blocks)
    page = (folder / "report" / "index.html").read_text()
    assert page.startswith("<!doctype html>")
    (image,) = folder.glob("engine-image-*/image")
    assert f"image in {image}" in printed and "An engine for all blocks: lanes = " in page
    assert list(load_image(image).taps) == [block.tap for block in results.blocks]


def test_a_device_that_is_none_is_refused_before_anything_runs(tmp_path, capsys):
    words = ["recipes/digits.toml", "--folder", str(tmp_path), "--set", 'hardware.target.device="ecp5"']
    assert cli.main(["run", *words, "--set", "hardware.target.frames_per_second=1"]) == 2
    assert "hardware.target.device = 'ecp5': must be one of 'ecp5-25'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_finished_run_is_read_back(options, capsys):
    words, _ = options
    assert cli.main(["run", *words]) == 0
    assert " ...\n" not in capsys.readouterr().out


def test_differing_bits_are_in_the_table_and_the_exit_status(options, capsys):
    """A bit that is said to differ in the record of the RTL's stage must not be lost on the way to the user."""
    words, folder = options
    path = min(folder.glob("rtl-*/result.json"), key=lambda path: path.stat().st_mtime_ns)
    whole = path.read_text()
    record = json.loads(whole)
    next(iter(record["values"]["taps"]["1"].values()))["differing"] = 1
    path.write_text(json.dumps(record))
    try:
        assert cli.main(["run", *words]) == 1
        assert "bits differing  1" in capsys.readouterr().out
    finally:
        path.write_text(whole)


TUNED = ["blocks.tuning.epochs=2", "blocks.tuning.images=200", "blocks.tuning.learning_rate=0.02"]


@pytest.fixture(scope="module")
def tuned(options):
    words, folder = options
    return [*words, *(word for override in TUNED for word in ("--set", override))], folder


def test_blocks_of_each_chips_own_go_through_the_rtl(tuned, capsys):
    words, folder = tuned
    assert cli.main(["run", *words]) == 0
    results = load_results(folder / "report")
    columns = {column.name: column.accuracies for column in results.columns}
    assert list(columns) == [CLEAN, NOISY, FLOAT, INTEGER, TUNED_FLOAT, TUNED_INTEGER, TUNED_RTL]
    assert columns[TUNED_RTL] == columns[TUNED_INTEGER]
    assert results.bits > 0 and results.differing == 0


def test_a_chip_with_the_blocks_of_another_is_noticed(tuned, monkeypatch, capsys):
    """RTL and reference then agree in every bit, with the wrong blocks; the classes are not those of the right ones."""
    words, folder = tuned
    original = SoftwareLine.on
    monkeypatch.setattr(SoftwareLine, "on", lambda line, chip: (original(line, chip)[0], original(line, 1)[1]))
    newest = max(folder.glob("rtl-*/result.json"), key=lambda path: path.stat().st_mtime_ns).parent
    for path in newest.glob("*.json"):
        path.unlink()
    words = [word for word in words if word != "--report" and not word.endswith("report")]
    assert cli.main(["accuracy", *words]) == 1
    assert "0 bits differ" in capsys.readouterr().out
