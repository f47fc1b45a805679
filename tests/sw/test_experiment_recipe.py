"""A recipe says everything that decides an experiment, and refuses what it does not know."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from quietbar.contract.errors import ConfigurationError, QuietbarError
from quietbar.experiment.recipe import read_recipe
from quietbar.noise import Chip, Variation, presets

MINIMAL = """
name = "small"
[data]
name = "digits"
[model]
name = "digits_network"
[model.training]
epochs = 2
[noise]
sigma = 0.5
"""


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(MINIMAL)
    return path


def test_what_is_left_out_has_its_default(recipe_file: Path) -> None:
    recipe = read_recipe(recipe_file)
    assert recipe.placement.budget == 0.02
    assert recipe.evaluation.chips == (1, 2, 3)
    assert recipe.model.training is not None and recipe.model.training.epochs == 2


def test_flags_override_the_file(recipe_file: Path) -> None:
    recipe = read_recipe(
        recipe_file, ["blocks.epochs=7", 'data.name="cifar10"', "blocks.mode=sampling", "noise.sweep=[0, 1]"]
    )
    assert (recipe.blocks.epochs, recipe.data.name, recipe.blocks.mode) == (7, "cifar10", "sampling")
    assert recipe.noise.sweep == (0.0, 1.0)


@pytest.mark.parametrize("path", sorted(Path("recipes").glob("*.toml")), ids=lambda path: path.name)
def test_every_recipe_of_the_repository_is_valid(path: Path) -> None:
    assert read_recipe(path).name == path.stem


def test_a_recipe_s_chips_have_its_age_and_its_devices(recipe_file: Path) -> None:
    recipe = read_recipe(
        recipe_file, ['noise={sigma = 0.2, nu = 0.01, noise_growth = 0.1, seconds = 1e5, conductance = "pcm"}']
    )
    chip = recipe.noise.chip(3, level=2.0)
    assert chip.variation == Variation(sigma=0.4, nu=0.01, noise_growth=0.1, seconds=1e5)
    assert chip.conductance == replace(presets.pcm, seconds=1e5)
    plain = read_recipe(recipe_file, ["noise={sigma = 0.2}"]).noise.chip(3)
    assert plain == Chip(3, Variation(sigma=0.2))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("blocks.epoch=1", "blocks.epoch = 1: must be absent (did you mean 'epochs'?)"),
        ("model.training.rho=-1", "model.training.rho = -1.0: must be a number from 0 to"),
        ("model.training.p=3", "model.training.p = 3.0: must be one of 2.0, inf"),
        ("noise.sigma=-0.1", "noise.sigma = -0.1: must be a number from 0 to 10"),
        ("noise.seconds=5", "noise.seconds = 5.0: must be a finite number of at least 20"),
        ("noise.nu=-1", "noise.nu = -1.0: must be a finite number of at least 0"),
        ("noise.noise_growth=-1", "noise.noise_growth = -1.0: must be a finite number of at least 0"),
        ('noise.conductance="flash"', "noise.conductance = 'flash': must be one of 'exact', 'pcm'"),
        ('noise={sigma = 0, conductance = "rram_wan", seconds = 1e6}', "noise.seconds = 1000000.0: must be at most"),
        ("noise={}", "noise.sigma = None: must be given, or noise.drop must be, or both"),
        ("noise={sigma = 0, drop = 30}", "noise.sigma = 0.0: must be above 0, or a mismatch must be"),
        ("blocks.chips=-1", "blocks.chips = -1: must be an integer from 0"),
        ("blocks.objective.temperature=0", "blocks.objective.temperature = 0.0: must be above 0"),
        ("blocks.objective={ distillation = 0.0 }", "blocks.objective = (0.0, 0.0, 0.0): must be task, distillation"),
        ("blocks.objective.temprature=2", "blocks.objective.temprature = 2: must be absent (did you mean"),
        ("blocks.tuning.epochs=0", "blocks.tuning.epochs = 0: must be an integer from 1"),
        ("blocks.tuning.batch=0", "blocks.tuning.batch = 0: must be an integer from 1"),
        ("blocks.tuning.images=0", "blocks.tuning.images = 0: must be an integer from 1"),
        ("blocks.tuning.learning_rate=0", "blocks.tuning.learning_rate = 0.0: must be a number from 1e-09"),
        ("placement.budget=0", "placement.budget = 0.0: must be a share above 0 and up to 1"),
        ("placement.cycles=0", "placement.cycles = 0: must be an integer from 1"),
        ("placement.multiplications=0", "placement.multiplications = 0: must be an integer from 1"),
        ("placement.rule=guess", "placement.rule = 'guess'"),
        ("evaluation.chips=[]", "evaluation.chips = (): must be at least one seed"),
        ("evaluation.chips=[1, 1]", "evaluation.chips = (1, 1): must be different seeds"),
        ("evaluation.chips=[-1]", "evaluation.chips[0] = -1: must be an integer from 0"),
        ("evaluation.chunk=150", "evaluation.chunk = 150: must be a multiple of evaluation.batch = 100"),
        (
            "evaluation.seconds=[100]",
            "evaluation.seconds[0] = 100.0: must be absent, or noise.nu, noise.noise_growth or",
        ),
        ("model.pretrained=true", "model.pretrained = True: must be true, or a table model.training"),
        ("blocks.factors=[1.5, 0.0, 0.1]", "blocks.factors = (1.5, 0.0, 0.1): must be three numbers"),
        ("name=../x", "name = '../x': must be made of letters"),
        ("epochs", "--set = 'epochs': must be of the form section.key=value"),
        ("name.x=1", "--set = 'name.x=1': must be a key of a table, but name is a value"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(recipe_file: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_recipe(recipe_file, [override])
    assert message in str(caught.value)


def test_an_age_of_the_evaluation_is_one_that_the_devices_have(recipe_file: Path) -> None:
    wan = 'noise={sigma = 0.1, conductance = "rram_wan"}'
    for ages, message in {
        "[60, 1e6]": "evaluation.seconds[1] = 1000000.0: must be at most",
        "[0.5]": "evaluation.seconds[0] = 0.5: must be a finite number of at least",
        "[60, 60]": "evaluation.seconds = (60.0, 60.0): must be different ages",
    }.items():
        with pytest.raises(ConfigurationError) as caught:
            read_recipe(recipe_file, [wan, f"evaluation.seconds={ages}"])
        assert message in str(caught.value)
    timeless = 'noise={sigma = 0.1, conductance = "rram_milo"}'
    with pytest.raises(
        ConfigurationError, match=r"seconds\[0\] = 60.0: must be absent, or .* that ages given: nothing"
    ):
        read_recipe(recipe_file, [timeless, "evaluation.seconds=[60]"])


def test_a_file_that_is_not_there_or_not_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(QuietbarError, match=r"absent\.toml: No such file"):
        read_recipe(tmp_path / "absent.toml")
    (tmp_path / "broken.toml").write_text("name = ")
    with pytest.raises(QuietbarError, match=r"broken\.toml is not TOML"):
        read_recipe(tmp_path / "broken.toml")


def test_a_gaussian_source_other_than_box_muller_needs_an_engine(recipe_file: Path) -> None:
    assert read_recipe(recipe_file).hardware.source == "box-muller"
    chosen, engine = 'hardware.source="inverse-cdf"', "hardware.engine.lanes=4"
    assert read_recipe(recipe_file, [engine, chosen]).hardware.source == "inverse-cdf"
    with pytest.raises(ConfigurationError, match=r"hardware.source = 'inverse-cdf': must be 'box-muller' without"):
        read_recipe(recipe_file, [chosen])
    with pytest.raises(ConfigurationError, match=r"hardware.source = 'dice': must be one of 'box-muller', 'inverse"):
        read_recipe(recipe_file, [engine, 'hardware.source="dice"'])


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("frames_per_second=0", "hardware.target.frames_per_second = 0"),
        ("clock=0.0", "hardware.target.clock = 0.0"),
        ("speed=1", "hardware.target.speed"),
    ],
)
def test_a_target_is_checked_by_name(recipe_file: Path, target: str, said: str) -> None:
    given = ['hardware.target.device="ecp5-85"', "hardware.target.frames_per_second=10"]
    chosen = read_recipe(recipe_file, given).hardware.target
    assert chosen is not None and (chosen.device, chosen.frames_per_second, chosen.clock) == ("ecp5-85", 10, None)
    with pytest.raises(ConfigurationError, match=said):
        read_recipe(recipe_file, [*given, f"hardware.target.{target}"])
