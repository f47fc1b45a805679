"""The software line of a recipe: ask for any product, and the stages before it run or are read back."""

from __future__ import annotations

import copy
from functools import cached_property
from pathlib import Path

import torch
from torch import nn

from quietbar import analog
from quietbar.data import Dataset, load
from quietbar.integer import Bundle
from quietbar.placement import Plan

from . import stages, tiles
from .aging import aged_stage
from .folder import RunFolder, StageResult
from .recipe import Recipe
from .results import Column, SweepPoint

RUNS = Path("build/runs")
"""Where runs are kept, one folder a recipe's name, unless told otherwise."""


class SoftwareLine:
    """Network, noise, places, blocks and integers of a recipe, in a folder that remembers what was done."""

    def __init__(self, recipe: Recipe, folder: Path | None = None) -> None:
        self.recipe = recipe
        torch.set_num_threads(recipe.threads)
        self.run = RunFolder(folder if folder is not None else RUNS / recipe.name)

    @cached_property
    def data(self) -> Dataset:
        """The data set."""
        return load(self.recipe.data.name, self.recipe.data.seed)

    @cached_property
    def _network(self) -> tuple[nn.Module, StageResult]:
        return stages.network_stage(self.run, self.recipe, self.data)

    @cached_property
    def _noisy(self) -> tuple[stages.NoisyNetwork, StageResult]:
        return stages.noise_stage(self.run, self.recipe, self.data, *self._network)

    @cached_property
    def _plan(self) -> tuple[Plan, StageResult]:
        return stages.placement_stage(self.run, self.recipe, self.data, *self._noisy)

    @cached_property
    def _denoised(self) -> tuple[nn.Module, StageResult]:
        plan, result = self._plan
        return stages.blocks_stage(self.run, self.recipe, self.data, self.noisy, plan, result)

    @cached_property
    def _tuned(self) -> tuple[stages.TunedNetworks, StageResult] | None:
        return stages.tuning_stage(self.run, self.recipe, self.data, self.noisy, *self._denoised)

    @cached_property
    def _bundle(self) -> tuple[Bundle, StageResult]:
        return stages.bundle_stage(self.run, self.recipe, self.data, *self._denoised)

    @property
    def network(self) -> nn.Module:
        """The clean network."""
        return self._network[0]

    @property
    def network_result(self) -> StageResult:
        """How the network came out."""
        return self._network[1]

    @property
    def noisy(self) -> stages.NoisyNetwork:
        """The network on analog hardware."""
        return self._noisy[0]

    @property
    def noise_result(self) -> StageResult:
        """How the noise level was found."""
        return self._noisy[1]

    @property
    def plan(self) -> Plan:
        """Where blocks go."""
        return self._plan[0]

    @property
    def denoised(self) -> nn.Module:
        """The noisy network with trained blocks."""
        return self._denoised[0]

    @property
    def blocks_result(self) -> StageResult:
        """How the blocks' training went."""
        return self._denoised[1]

    @property
    def tuned(self) -> stages.TunedNetworks | None:
        """The networks with blocks of each chip's own, where the recipe asks for them."""
        return None if self._tuned is None else self._tuned[0]

    def on(self, chip: int) -> tuple[nn.Module, Bundle]:
        """A copy of the denoised network on chip ``chip``, and its blocks in integers: its own where it has some."""
        if self.tuned is not None:
            return self.tuned.on(chip)
        model = copy.deepcopy(self.denoised)
        analog.set_chip(model, self.noisy.chip(chip))
        return model, self.bundle

    @property
    def blocks_results(self) -> tuple[StageResult, ...]:
        """The stages that the integers of :meth:`on` come from."""
        return (self.bundle_result,) if self._tuned is None else (self.bundle_result, self._tuned[1])

    @property
    def bundle(self) -> Bundle:
        """The blocks in integers, the same for all chips."""
        return self._bundle[0]

    @property
    def bundle_result(self) -> StageResult:
        """Where the bundle lies: in ``folder / "bundle"``."""
        return self._bundle[1]

    @cached_property
    def tile_blocks(self) -> tuple[Bundle, StageResult]:
        """The blocks of the network on crossbar tiles, in integers."""
        return tiles.tile_blocks_stage(self.run, self.recipe, self.data, *self._network)

    @cached_property
    def sweep(self) -> tuple[SweepPoint, ...]:
        """Validation accuracy over noise levels."""
        model, result = self._denoised
        return stages.sweep_stage(self.run, self.recipe, self.data, self.noisy, model, result)[0]

    @cached_property
    def _columns(self) -> tuple[dict[str, Column], StageResult]:
        bundle, result = self._bundle
        return stages.accuracy_stage(
            self.run, self.recipe, self.data, self.network, self.noisy, self.denoised, bundle, self._tuned, result
        )

    @property
    def columns(self) -> dict[str, Column]:
        """Test accuracy of everything that runs in software."""
        return self._columns[0]

    @cached_property
    def aged(self) -> dict[str, Column]:
        """Test accuracy at the later ages that the recipe asks for."""
        if not self.recipe.evaluation.seconds:
            return {}
        bundle, result = self._bundle
        return aged_stage(self.run, self.recipe, self.data, self.noisy, self.denoised, bundle, self._tuned, result)[0]

    @property
    def accuracy_result(self) -> StageResult:
        """Where the predictions of the columns lie."""
        return self._columns[1]
