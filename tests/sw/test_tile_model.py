"""A network on tiles as a model: forward the tiles' integers, backward the ideal layers; blocks trained on it."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from quietbar.contract import ConfigurationError
from quietbar.experiment import tiles
from quietbar.experiment.folder import RunFolder
from quietbar.experiment.line import SoftwareLine
from quietbar.experiment.recipe import read_recipe
from quietbar.experiment.tiles_recipe import TilesRecipe
from quietbar.integer.tile_export import export_with_steps
from quietbar.integer.tile_model import OnTiles, place, tile_model

RECIPE = Path(__file__).parents[2] / "recipes/digits-tiles.toml"
SMALL = ["model.training.epochs=1", "noise.calibration=20", "tiles.chips=2", "tiles.epochs=1", "tiles.reduction=8"]


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    return SoftwareLine(read_recipe(RECIPE, SMALL), tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def images(line):
    return tiles.codes_of(line.data.train.images[:30], line.data.normalization.largest)


@pytest.fixture(scope="module")
def exported(line, images):
    on = tiles.tile_chip(line.recipe.tiles, 0.2, 86_400.0, 7)
    return export_with_steps(line.network, images, tiles.STEP, on)


def test_forward_is_the_integer_network_from_any_image_on(line, images, exported):
    network, steps = exported
    model = tile_model(line.network, tiles.STEP, steps)
    place(model, network, image=3)
    inputs = (images * tiles.STEP).float()
    with torch.no_grad():
        # Two batches are one: read noise goes on from the one to the other.
        scores = torch.cat([model(inputs[:10]), model(inputs[10:])]) / steps[-1]
    assert torch.equal(scores.round().long(), network.scores(images, start_image=3))


def test_without_tiles_it_is_the_network(line, images, exported):
    model = tile_model(line.network, tiles.STEP, exported[1])
    inputs = (images * tiles.STEP).float()
    assert torch.equal(model(inputs), line.network(inputs))


def test_gradients_pass_where_tiles_do_not_clamp():
    ideal = torch.nn.Sequential(torch.nn.Linear(3, 3, bias=False), torch.nn.ReLU())
    torch.nn.init.eye_(ideal[0].weight)
    layer = OnTiles(ideal, 1.0, 1.0)
    layer.compute = lambda codes, first: torch.tensor([[0, 7, 255]])
    inputs = torch.ones(1, 3, requires_grad=True)
    found = layer(inputs)
    found.sum().backward()
    assert found.tolist() == [[0, 7, 255]] and inputs.grad.tolist() == [[0, 1, 0]]


def test_blocks_are_trained_on_chips_that_no_evaluation_uses_and_read_back(line):
    bundle, result = line.tile_blocks
    assert list(bundle.taps) == ["stage1", "stage2", "stage3", "stage4"]
    assert [tap.config.hidden for tap in bundle.taps.values()] == [2, 2, 4, 4]
    again, found = tiles.tile_blocks_stage(line.run, line.recipe, line.data, *line._network)
    assert found.key == result.key
    assert all(torch.equal(again.taps[name].parameters.stages["mean"].weights, tap.parameters.stages["mean"].weights)
               for name, tap in bundle.taps.items())  # fmt: skip


class Stopped(Exception):
    """The run was killed here."""


def test_a_training_that_was_killed_ends_with_the_same_blocks(line, tmp_path, monkeypatch):
    recipe = replace(line.recipe, tiles=replace(line.recipe.tiles, epochs=2, batch=500))

    def losses(folder):
        run = RunFolder(folder, announce=lambda text: None)
        return tiles.tile_blocks_stage(run, recipe, line.data, *line._network)[1].values["losses"]

    whole = losses(tmp_path / "whole")
    fit, calls = tiles.fit, []

    def killed(*arguments, loss, **options):
        def counted(*values):
            calls.append(1)
            if len(calls) == 4:
                raise Stopped
            return loss(*values)

        return fit(*arguments, loss=counted, **options)

    with monkeypatch.context() as patch:
        patch.setattr(tiles, "fit", killed)
        with pytest.raises(Stopped):
            losses(tmp_path / "killed")
    assert losses(tmp_path / "killed") == whole


def test_a_recipe_without_tiles_is_told(line):
    with pytest.raises(ConfigurationError, match=r"recipe\.tiles = None"):
        tiles.tiles_of(replace(line.recipe, tiles=None))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"taps": ()}, r"tiles\.taps"),
        ({"sigma": -1.0}, r"tiles\.sigma = -1\.0"),
        ({"seconds": 1.0}, r"tiles\.seconds = 1\.0"),
        ({"stuck_at_zero": 2.0}, r"tiles\.stuck_at_zero = 2\.0"),
        ({"reduction": 0}, r"tiles\.reduction = 0"),
        ({"learning_rate": 0.0}, r"tiles\.learning_rate = 0\.0"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(changed, message):
    with pytest.raises(ConfigurationError, match=message):
        TilesRecipe(**{"taps": ("stage1",), **changed})


def test_a_recipe_s_tiles_are_plain_values(line):
    assert json.loads(json.dumps(asdict(line.recipe.tiles)))["taps"] == ["stage1", "stage2", "stage3", "stage4"]


def test_a_model_of_another_shape_is_refused(line, exported):
    with pytest.raises(ConfigurationError, match=r"tile_model\.steps = 2: must be 5"):
        tile_model(line.network, tiles.STEP, (1.0, 1.0))
    model = torch.nn.Sequential(OnTiles(torch.nn.ReLU(), 1.0, 1.0))
    with pytest.raises(ConfigurationError, match=r"place\.tiles"):
        place(model, exported[0])
