"""The software line runs from data to integers, and goes on to the same numbers after an interruption."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from quietbar import cli
from quietbar.contract.errors import ConfigurationError
from quietbar.experiment import stages
from quietbar.experiment.aging import age_text
from quietbar.experiment.line import SoftwareLine
from quietbar.experiment.recipe import Recipe, read_recipe

QUICK = [
    "model.training.epochs=2",
    "noise.images=60",
    "noise.calibration=60",
    "noise.sweep=[0.0, 1.0]",
    "placement.images=60",
    "blocks.epochs=2",
    "blocks.images=200",
    "evaluation.images=120",
    "evaluation.chips=[1, 2]",
    "evaluation.chunk=60",
]


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return read_recipe("recipes/digits.toml", QUICK)


@pytest.fixture(scope="module")
def finished(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> SoftwareLine:
    line = SoftwareLine(recipe, tmp_path_factory.mktemp("run"))
    assert line.columns and line.sweep
    return line


def numbers(line: SoftwareLine) -> str:
    columns = {name: column.accuracies for name, column in line.columns.items()}
    return json.dumps([columns, line.plan.to_dict(), [str(point) for point in line.sweep]])


def test_the_columns_are_those_of_the_final_table(finished: SoftwareLine) -> None:
    assert list(finished.columns) == [stages.CLEAN, stages.NOISY, stages.FLOAT, stages.INTEGER]
    assert len(finished.columns[stages.CLEAN].accuracies) == 1
    assert all(len(finished.columns[name].accuracies) == 2 for name in (stages.NOISY, stages.FLOAT, stages.INTEGER))
    assert finished.plan.overhead <= 0.05


def test_a_finished_run_is_read_back(finished: SoftwareLine, recipe: Recipe) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.run.root.rglob("*")}
    again = SoftwareLine(recipe, finished.run.root)
    assert numbers(again) == numbers(finished)
    assert {path: path.stat().st_mtime_ns for path in finished.run.root.rglob("*")} == before


def test_an_interrupted_run_ends_with_the_same_numbers(
    finished: SoftwareLine, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(Exception):
        pass

    # Each stage is killed once while it writes: first its partial work, then its result.
    for module, place in ((stages, "save_state"), (stages.integer.Bundle, "save")):
        with monkeypatch.context() as patch:

            def kill(*arguments: object, **options: object) -> None:
                raise Killed

            patch.setattr(module, place, kill)
            with pytest.raises(Killed):
                _ = SoftwareLine(recipe, tmp_path).bundle
    chunks = 0

    def kill_at_third_chunk() -> dict[str, object]:
        nonlocal chunks
        chunks += 1
        if chunks == 3:
            raise Killed
        return {}

    with monkeypatch.context() as patch:
        original = stages.predict
        patch.setattr(stages, "predict", lambda *arguments: original(*arguments, kill_at_third_chunk))
        with pytest.raises(Killed):
            _ = SoftwareLine(recipe, tmp_path).columns
    assert numbers(SoftwareLine(recipe, tmp_path)) == numbers(finished)


def test_every_chip_gets_blocks_of_its_own_where_the_recipe_asks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    static = ["noise.sigma=0.0", "noise.drop=30.0", "noise.gain_mismatch=0.2", "noise.offset_mismatch=0.4"]
    tuning = [
        "blocks.chips=4",
        "blocks.tuning.epochs=2",
        "blocks.tuning.images=300",
        "blocks.tuning.learning_rate=0.01",
    ]
    recipe = read_recipe("recipes/digits.toml", [*QUICK, "model.training.epochs=6", *static, *tuning])

    class Killed(Exception):
        pass

    def kill_at_the_second_chip(folder: Path | str) -> None:
        if str(folder).endswith("bundle-2"):
            raise Killed

    original = stages.integer.Bundle.save
    with monkeypatch.context() as patch:
        patch.setattr(
            stages.integer.Bundle,
            "save",
            lambda bundle, path: (kill_at_the_second_chip(path), original(bundle, path))[1],
        )
        with pytest.raises(Killed):
            _ = SoftwareLine(recipe, tmp_path).columns
    (first,) = tmp_path.glob("tuning-*/blocks-1.pt")
    written = first.stat().st_mtime_ns

    line = SoftwareLine(recipe, tmp_path)
    columns = line.columns
    assert first.stat().st_mtime_ns == written
    assert list(columns)[4:] == [stages.TUNED_FLOAT, stages.TUNED_INTEGER]
    assert line.noisy.variation.sigma == 0
    assert line.noisy.variation.offset_mismatch == pytest.approx(2 * line.noisy.variation.gain_mismatch)
    assert columns[stages.TUNED_FLOAT].mean > columns[stages.FLOAT].mean
    assert line.tuned is not None
    (of_one, bundle), (of_two, _) = line.tuned.on(1), line.tuned.on(2)
    pairs = zip(of_one.state_dict().values(), of_two.state_dict().values(), strict=True)
    assert not all(torch.equal(*pair) for pair in pairs)
    assert bundle.taps.keys() == line.bundle.taps.keys()

    options = ["recipes/digits.toml", "--folder", str(tmp_path)]
    given = [*QUICK, "model.training.epochs=6", *static, *tuning]
    output = tmp_path / "table.json"
    assert (
        cli.main(["evaluate", *options, "--output", str(output), *(word for each in given for word in ("--set", each))])
        == 0
    )
    printed = capsys.readouterr().out
    assert json.loads(output.read_text())["accuracies"] == {name: list(c.accuracies) for name, c in columns.items()}
    assert "offset mismatch of" in printed and f"tuned, integer     {columns[stages.TUNED_INTEGER].text()}" in printed

    alone = read_recipe("recipes/digits.toml", [*given, "evaluation.shared=false"])
    assert SoftwareLine(alone, tmp_path).columns == {
        name: column for name, column in columns.items() if name not in (stages.FLOAT, stages.INTEGER)
    }


def test_chips_age_under_the_blocks_of_their_youth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    aging = ["noise.sigma=0.1", "noise.drop=30.0", "noise.nu=0.05", "noise.noise_growth=0.5"]
    given = [*QUICK, "model.training.epochs=6", *aging, "evaluation.seconds=[20, 2592000]"]
    line = SoftwareLine(read_recipe("recipes/digits.toml", given), tmp_path)
    young, old, tuned_young, tuned_old = (
        line.aged[f"{name}, {age}"].accuracies
        for name in (stages.NOISY, stages.INTEGER)
        for age in ("20 seconds", "30 days")
    )
    assert young == line.columns[stages.NOISY].accuracies
    assert tuned_young == line.columns[stages.INTEGER].accuracies
    assert sum(old) < sum(young) and sum(tuned_old) < sum(tuned_young)

    options = ["recipes/digits.toml", "--folder", str(tmp_path), *(word for each in given for word in ("--set", each))]
    assert cli.main(["evaluate", *options]) == 0
    assert "denoised, integer, 30 days" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("seconds", "text"), [(1, "1 second"), (20, "20 seconds"), (60, "1 minute"), (3600, "1 hour"), (2592000, "30 days")]
)
def test_ages_read_as_people_say_them(seconds: float, text: str) -> None:
    assert age_text(seconds) == text


def test_commands_work_on_a_recipe(finished: SoftwareLine, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["recipes/digits.toml", "--folder", str(finished.run.root)]
    options += [word for override in QUICK for word in ("--set", override)]
    for command, expected in {
        "train": "% on validation images",
        "place": "budget 5.00%",
        "denoise": "epoch 2: loss",
        "quantize": "bundle: ",
    }.items():
        assert cli.main([command, *options]) == 0
        assert expected in capsys.readouterr().out


def test_denoise_shows_accuracy_level_by_level_on_request(
    finished: SoftwareLine, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--folder", str(finished.run.root), "--sweep"]
    options += [word for override in [*QUICK, "noise.sweep=[0.0, 1.0]"] for word in ("--set", override)]
    assert cli.main(["denoise", "recipes/digits.toml", *options]) == 0
    header, _, quiet, noisy = capsys.readouterr().out.splitlines()[-4:]
    assert header.split() == ["noise", "level", "validation,", "without", "blocks", "with", "blocks"]
    clean = finished.network_result.values["validation accuracy"]
    assert quiet.split()[:2] == ["0", f"{clean:.2f}"]
    assert noisy.split()[0] == "1"
    assert float(noisy.split()[1]) < clean


def test_a_network_for_other_images_is_refused_before_it_is_trained(tmp_path: Path) -> None:
    recipe = read_recipe("recipes/digits.toml", [*QUICK, "model.name=small"])
    with pytest.raises(ConfigurationError, match=r"model\.name = 'small': must be a network for images of 1 x 8 x 8"):
        _ = SoftwareLine(recipe, tmp_path).network


@pytest.mark.parametrize("key", ["noise.calibration", "placement.images"])
def test_more_training_images_than_there_are_are_refused_by_the_recipe_s_name(finished: SoftwareLine, key: str) -> None:
    recipe = read_recipe("recipes/digits.toml", [*QUICK, f"{key}=100000"])
    with pytest.raises(ConfigurationError, match=rf"{key} = 100000: must be at most 1257, the training images of dig"):
        _ = SoftwareLine(recipe, finished.run.root).plan


def test_a_drop_that_no_level_comes_to_is_refused(finished: SoftwareLine) -> None:
    columns = ["noise.sigma=0.0", "noise.gain_mismatch=1e-4", "noise.drop=31.7"]
    recipe = read_recipe("recipes/digits.toml", [*QUICK, *columns])
    with pytest.raises(ConfigurationError, match=r"noise\.drop = 31\.7: must be within 10 points of what some level"):
        _ = SoftwareLine(recipe, finished.run.root).noisy


def test_a_budget_too_small_for_any_block_is_refused(
    finished: SoftwareLine, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--folder", str(finished.run.root)]
    options += [word for override in [*QUICK, "placement.budget=0.0001"] for word in ("--set", override)]
    assert cli.main(["place", "recipes/digits.toml", *options]) == 2
    assert "placement.budget = 0.0001: must be at least" in capsys.readouterr().err
