"""A recipe's network on crossbar tiles, and denoising blocks trained on what those tiles do.

The blocks are the same for all chips, ages and levels of read noise. Training draws all three for every batch; its
chips are none that an evaluation uses, and nothing here ever looks at a test image.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from quietbar import denoise, integer
from quietbar.contract.drift import FIRST_READ_SECONDS, time_of
from quietbar.contract.errors import require
from quietbar.contract.number import UINT8
from quietbar.contract.seeds import derive_seed
from quietbar.data import Dataset
from quietbar.denoise.freezing import block_parameters, frozen_backbone
from quietbar.denoise.levels import FIRST_IMAGE
from quietbar.files import atomic_file
from quietbar.integer.tile_export import TileChip, export_tile_network, export_with_steps
from quietbar.integer.tile_model import place, tile_model
from quietbar.integer.tile_network import TileNetwork
from quietbar.noise import Chip, Variation
from quietbar.training import fit, one_cycle

from .folder import RunFolder, StageResult
from .recipe import Recipe
from .tiles_recipe import TilesRecipe

STEP = 1 / UINT8.high
"""What a code of an image's element stands for: its largest value is 1."""
CALIBRATION_BATCH = 50


def codes_of(images: Tensor, largest: float) -> Tensor:
    """Raw images as codes of eight bits, rounded half upward."""
    return (images.double() * UINT8.high / largest + 0.5).floor().long()


def tiles_of(recipe: Recipe) -> TilesRecipe:
    """What the recipe says of tiles, refused where it says nothing."""
    require(recipe.tiles is not None, "recipe.tiles", None, "given: a table of its own for a network on tiles")
    assert recipe.tiles is not None
    return recipe.tiles


def calibration_images(recipe: Recipe, data: Dataset) -> Tensor:
    """The training images that ranges are calibrated on, as codes."""
    require(data.normalization.mean == (0.0,), "data.normalization", data.normalization.mean, "(0.0,): unsigned inputs")
    return codes_of(data.train.images[: recipe.noise.calibration], data.normalization.largest)


def tile_chip(tiles: TilesRecipe, sigma: float, seconds: float, seed: int) -> TileChip:
    """Chip ``seed`` at an age and a level of read noise."""
    variation = Variation(sigma=sigma, gain_mismatch=tiles.gain_mismatch, offset_mismatch=tiles.offset_mismatch)
    return TileChip(Chip(seed, variation), tiles.rows, time_of(seconds), tiles.stuck_at_zero, tiles.stuck_at_full)


def network_on_chip(
    recipe: Recipe,
    data: Dataset,
    network: nn.Module,
    sigma: float,
    seconds: float,
    seed: int,
    bundle: integer.Bundle | None = None,
) -> TileNetwork:
    """The recipe's network on tiles of a chip, its converters calibrated on training images."""
    on = tile_chip(tiles_of(recipe), sigma, seconds, seed)
    return export_tile_network(network, calibration_images(recipe, data), STEP, on, bundle)


class Population:
    """Chips at ages and noise levels, of which training draws one for every batch; a random source of its own.

    Args:
        networks: on their chips.
        seed: of the draws.
    """

    def __init__(self, networks: list[TileNetwork], seed: int) -> None:
        self.networks = networks
        self.generator = torch.Generator().manual_seed(seed)
        self.image = FIRST_IMAGE

    def settle(self, model: nn.Module, images: int) -> None:
        """Put the model on one of them, for so many images with read noise that no other batch has."""
        place(model, self.networks[int(torch.randint(len(self.networks), (), generator=self.generator))], self.image)
        self.image += images

    def get_state(self) -> dict[str, Any]:
        """Where the draws are."""
        return {"generator": self.generator.get_state(), "image": self.image}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.generator.set_state(state["generator"])
        self.image = state["image"]


def population(recipe: Recipe, data: Dataset, network: nn.Module) -> tuple[Population, tuple[float, ...]]:
    """The chips of training, noise even up to the highest, ages even in their logarithm; and the steps of codes."""
    tiles, images = tiles_of(recipe), calibration_images(recipe, data)
    source = torch.Generator().manual_seed(derive_seed(tiles.seed, "tiles", "population"))
    networks, steps = [], tuple[float, ...]()
    for number in range(tiles.chips):
        level, age = torch.rand(2, generator=source, dtype=torch.float64).tolist()
        seconds = FIRST_READ_SECONDS * (tiles.seconds / FIRST_READ_SECONDS) ** age
        on = tile_chip(tiles, level * tiles.sigma, seconds, derive_seed(tiles.seed, "tiles", str(number)))
        made, steps = export_with_steps(network, images, STEP, on)
        networks.append(made)
    return Population(networks, derive_seed(tiles.seed, "tiles", "batches")), steps


def tile_blocks_stage(
    run: RunFolder, recipe: Recipe, data: Dataset, network: nn.Module, after: StageResult
) -> tuple[integer.Bundle, StageResult]:
    """The blocks of a network on tiles, in integers: trained against the clean network's class probabilities."""
    tiles = tiles_of(recipe)
    settings = {"tiles": asdict(tiles), "calibration": recipe.noise.calibration}

    def compute(folder: Path) -> dict[str, Any]:
        chips, steps = population(recipe, data, network)
        probe = next(iter(data.batches("train", CALIBRATION_BATCH)))[0]
        ideal = tile_model(network, STEP, steps)
        widths = {
            name: max(1, config.channels // tiles.reduction)
            for name, config in denoise.measure(ideal, tiles.taps, probe).items()
        }
        model = denoise.insert(ideal, tiles.taps, probe, hidden=widths, kernel=tiles.kernel, seed=tiles.seed)
        history = _train(model, tiles, data, chips, folder)
        with atomic_file(folder / "blocks.pt") as stream:
            torch.save(model.state_dict(), stream)

        def batches() -> Iterator[Tensor]:
            for inputs, _ in data.batches("train", CALIBRATION_BATCH, limit=recipe.noise.calibration):
                chips.settle(model, len(inputs))
                yield inputs

        bundle = integer.export(model, batches())
        bundle.save(folder / "bundle")
        share = 100 * sum(tap.config.parameters for tap in bundle.taps.values()) / parameters_of(network)
        return {"losses": history, "share": share}

    result = run.stage("tile-blocks", settings, (after,), compute)
    return integer.load(result.folder / "bundle"), result


def parameters_of(network: nn.Module) -> int:
    """Trained parameters of a network."""
    return sum(parameter.numel() for parameter in network.parameters())


def _train(model: nn.Module, tiles: TilesRecipe, data: Dataset, chips: Population, folder: Path) -> list[float]:
    """Train the blocks in place; the losses of the epochs. The backbone is frozen."""

    def loss(model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        with torch.no_grad(), denoise.without_blocks(model):
            place(model, None)
            wanted = functional.log_softmax(model(inputs), dim=-1)
        chips.settle(model, len(inputs))
        found = functional.log_softmax(model(inputs), dim=-1)
        return functional.kl_div(found, wanted, reduction="batchmean", log_target=True)

    def prepare(model: nn.Module) -> None:
        model.eval()
        for tap in denoise.taps(model).values():
            tap.block.train()

    with frozen_backbone(model) as hashes:
        history = fit(
            model,
            data.batches("train", tiles.batch, shuffle_seed=tiles.seed),
            torch.optim.Adam(block_parameters(model), lr=tiles.learning_rate),
            tiles.epochs,
            one_cycle,
            loss=loss,
            prepare=prepare,
            checkpoint=folder / "checkpoint.pt",
            generators=(chips,),
            identity=json.dumps([hashes, asdict(tiles)]),
            description="blocks on tiles",
        )
    model.eval()
    return [epoch.loss for epoch in history]
