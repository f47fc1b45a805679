"""The hardware line of a recipe: what its bundle becomes in Verilog, simulated, compared, counted, and reported."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from quietbar import analog, toolchain
from quietbar.configuration import from_mapping, to_mapping
from quietbar.contract import WEIGHT_LIMIT, BlockConfig, CrossbarConfig, derive_seed
from quietbar.contract.engine import EngineConfig
from quietbar.contract.sources import Kind
from quietbar.denoise import observed, taps
from quietbar.experiment.evaluation import accuracy_of, predict, predictions_of, test_images
from quietbar.experiment.folder import StageResult
from quietbar.experiment.hardware_recipe import TargetRecipe
from quietbar.experiment.line import SoftwareLine
from quietbar.experiment.recipe import Recipe
from quietbar.experiment.report import render
from quietbar.experiment.results import BlockRow, Column, Comparison, Results, TapRow, describe_chip
from quietbar.experiment.stages import CLEAN, FLOAT, INTEGER, NOISY, TUNED_FLOAT, TUNED_INTEGER, source_setting
from quietbar.files import write_atomically
from quietbar.integer import Bundle
from quietbar.integer.crossbar import converter_for_chip
from quietbar.integer.image import engine_image
from quietbar.integer.tiles import Tiles
from quietbar.models import evaluation_mode
from quietbar_hw.crossbar.folding import CrossbarFolding
from quietbar_hw.denoiser import AxiDenoiser, Folding
from quietbar_hw.engine.choosing import Option, choose
from quietbar_hw.synthesis import count_resources
from quietbar_hw.synthesis.devices import device_by_name
from quietbar_hw.verilog import lint, write_verilog

from .blocks import BlockSubject, block_vectors, denoiser_design
from .compared import ComparedDenoiser, Tally
from .crossbars import TileSubject, crossbar_design, crossbar_vectors
from .engine_accuracy import engine_chunks, engine_for
from .replay import verify
from .vectors import jobs, scenarios

RTL, TUNED_RTL = "denoised, RTL", "tuned, RTL"
TILE_IMAGES = 8
"""Test images whose patches go through the crossbar tile."""


def module_name(tap: str) -> str:
    """Name of the Verilog module of a tap's denoiser."""
    return "quietbar_denoiser_" + "".join(letter if letter.isalnum() else "_" for letter in tap.lower())


def choose_engine(bundle: Bundle, wanted: TargetRecipe, source: Kind = "box-muller") -> Option:
    """The engine for the blocks of a bundle; see :func:`quietbar_hw.engine.choosing.choose`."""
    blocks = [tap.config for tap in bundle.taps.values()]
    device = device_by_name(wanted.device, "hardware.target.device")
    return choose(blocks, wanted.frames_per_second, device, clock=wanted.clock, runners_up=0, source=source).chosen


class HardwareLine:
    """Verilog, RTL accuracy, co-simulation, resources and report of what a :class:`SoftwareLine` made."""

    def __init__(self, software: SoftwareLine) -> None:
        self.software, self.recipe, self.run = software, software.recipe, software.run
        target = self.recipe.hardware.target
        if target is not None:
            device_by_name(target.device, "hardware.target.device")

    @cached_property
    def foldings(self) -> dict[str, Folding]:
        """Parallelism of each tap's denoiser: at most the recipe's lanes, as many as divide its channels."""

        def choose(config: BlockConfig) -> Folding:
            fitting = (lanes for lanes in range(self.recipe.hardware.lanes, 0, -1) if config.channels % lanes == 0)
            return Folding.choose(config, next(lanes for lanes in fitting if lanes == 1 or lanes % 2 == 0))

        return {name: choose(tap.config) for name, tap in self.software.bundle.taps.items()}

    @cached_property
    def verilog(self) -> StageResult:
        """One linted file a tap, in the stage's folder."""

        def compute(folder: Path) -> dict[str, Any]:
            for name, folding in self.foldings.items():
                component = AxiDenoiser(self.software.bundle.tap(name).config, folding)
                lint(write_verilog(component, folder, module_name(name), extra={"tap": name}))
            return {"files": {name: f"{module_name(name)}.v" for name in self.foldings}}

        settings = {"lanes": self.recipe.hardware.lanes}
        return self.run.stage("verilog", settings, (self.software.bundle_result,), compute)

    @cached_property
    def engine(self) -> EngineConfig | None:
        """The engine on which the RTL's accuracy is measured; None for a denoiser a tap."""
        recipe = self.recipe.hardware.engine
        return None if recipe is None else engine_for(self.software.bundle, recipe, self.recipe.hardware.source)

    @cached_property
    def target(self) -> str:
        """The engine chosen for the recipe's target, in words, and where its image is; empty without a target."""
        wanted, source = self.recipe.hardware.target, self.recipe.hardware.source
        if wanted is None:
            return ""

        def compute(folder: Path) -> dict[str, Any]:
            chosen = choose_engine(self.software.bundle, wanted, source)
            engine_image(self.software.bundle, chosen.engine).save(folder / "image")
            return {"engine": chosen.engine.to_dict(), "summary": chosen.summary()}

        settings = {**asdict(wanted), **source_setting(source)}
        result = self.run.stage("engine-image", settings, (self.software.bundle_result,), compute)
        return f"{result.values['summary']}; image in {result.folder / 'image'}"

    @cached_property
    def _accuracy(self) -> StageResult:
        return self._accuracy_of_denoisers() if self.engine is None else self._accuracy_of_engine(self.engine)

    def _accuracy_of_engine(self, engine: EngineConfig) -> StageResult:
        line, evaluation = self.software, self.recipe.evaluation

        def compute(folder: Path) -> dict[str, Any]:
            chunks = engine_chunks(line, engine, self.recipe.hardware.threads, folder)
            return {
                "accuracies": [accuracy_of(chunks[seed]) for seed in evaluation.chips],
                "taps": {str(seed): _summed(chunk["taps"] for chunk in chunks[seed]) for seed in evaluation.chips},
                "seconds": sum(chunk["seconds"] for seed in evaluation.chips for chunk in chunks[seed]),
            }

        settings = {"evaluation": _evaluated(self.recipe), "engine": engine.to_dict()}
        return self.run.stage("rtl-engine", settings, line.blocks_results, compute)

    def _accuracy_of_denoisers(self) -> StageResult:
        line, recipe = self.software, self.recipe

        def compute(folder: Path) -> dict[str, Any]:
            found: dict[str, Any] = {"accuracies": [], "taps": {}}
            for seed in recipe.evaluation.chips:
                compared: dict[str, ComparedDenoiser] = {}

                def backend(bundle: Bundle, tap: str, compared: dict[str, ComparedDenoiser] = compared) -> Any:
                    threads, replay = recipe.hardware.threads, line.run.root / "replay"
                    compared[tap] = ComparedDenoiser(bundle, tap, self.foldings[tap], threads, Tally(), replay)
                    return compared[tap]

                def collect(compared: dict[str, ComparedDenoiser] = compared) -> dict[str, Any]:
                    return {"taps": {tap: asdict(each.tally.take()) for tap, each in compared.items()}}

                network, bundle = line.on(seed)
                with bundle.attach(network, backend=backend) as model:
                    chunks = predict(model, line.data, recipe.evaluation, folder, f"rtl-{seed}", collect)
                for each in compared.values():
                    each.rtl.close()
                found["accuracies"].append(accuracy_of(chunks))
                found["taps"][str(seed)] = _summed(chunk["taps"] for chunk in chunks)
            return found

        settings = {"evaluation": _evaluated(recipe), "lanes": recipe.hardware.lanes}
        return self.run.stage("rtl", settings, (line.accuracy_result, self.verilog), compute)

    def _predictions(self, result: StageResult, label: str) -> list[int]:
        """Those that a finished stage left behind."""
        line = self.software
        return predictions_of(predict(line.denoised, line.data, self.recipe.evaluation, result.folder, label))

    @property
    def column(self) -> Column:
        """Test accuracy with every bit of the denoised activations from the RTL, each chip with its own blocks or all
        with the same, as the recipe has it.
        """
        name = RTL if self.software.tuned is None else TUNED_RTL
        return Column(name, tuple(self._accuracy.values["accuracies"]))

    @property
    def reference(self) -> str:
        """The column of the software with the same blocks in integers."""
        return INTEGER if self.software.tuned is None else TUNED_INTEGER

    @property
    def same_predictions(self) -> bool:
        """Whether RTL and integer reference classify every image alike."""
        integer, rtl = self.software.accuracy_result, self._accuracy
        label = self.reference.replace(", ", "-")
        return all(
            self._predictions(rtl, f"rtl-{seed}") == self._predictions(integer, f"{label}-{seed}")
            for seed in self.recipe.evaluation.chips
        )

    @property
    def compared(self) -> tuple[int, int]:
        """Outputs of the RTL compared with the reference's, and bits that differed."""
        tally = self.tally
        return tally.outputs, tally.differing

    @property
    def tally(self) -> Tally:
        """Counts of the RTL's accuracy, over all chips and taps."""
        taps = _summed(self._accuracy.values["taps"].values())
        return Tally(**_summed([{"all": tally} for tally in taps.values()])["all"])

    @property
    def milliseconds(self) -> dict[str, float]:
        """Processor time of an image on the engine, by part; ``network`` is everything else, noise and quantizing too.

        Without an engine it was not measured, and there is none.
        """
        if self.engine is None:
            return {}
        tally, whole = self.tally, self._accuracy.values["seconds"]
        seconds = {
            "RTL": tally.rtl_seconds,
            "reference": tally.reference_seconds,
            "comparing": tally.comparing_seconds,
        }
        seconds["network"] = whole - sum(seconds.values())
        images = test_images(self.recipe.evaluation, self.software.data) * len(self.recipe.evaluation.chips)
        return {part: 1000 * value / images for part, value in seconds.items()}

    @cached_property
    def cosim(self) -> tuple[Comparison, ...]:
        """The first tap's denoiser under cocotb, on real activations, and the first layer's convolution on a tile."""
        frames = self.recipe.hardware.cosim_frames

        def compute(folder: Path) -> dict[str, Any]:
            compared = [*self._compare_block(frames, folder), *self._compare_tile(folder)]
            return {"comparisons": [to_mapping(comparison) for comparison in compared]}

        result = self.run.stage("cosim", {"frames": frames}, (self.verilog, *self.software.blocks_results[1:]), compute)
        return tuple(from_mapping(Comparison, values) for values in result.values["comparisons"])

    def _compare_block(self, frames: int, folder: Path) -> list[Comparison]:
        network, bundle = self.software.on(self.recipe.evaluation.chips[0])
        name, tap = next(iter(bundle.taps.items()))
        folding = self.foldings[name]
        activations = tap.quantize(self._activations(network, name, frames))
        vectors = block_vectors(tap.parameters, activations, folding.lanes)
        chosen = scenarios(derive_seed(0, "cosim", name), vectors.output_frame_beats)
        listed = jobs(f"cocotb {name}", vectors, chosen, BlockSubject(tap.parameters, activations))
        return _rows(verify("block", denoiser_design(tap.config, folding), listed, folder=folder))

    def _activations(self, model: nn.Module, name: str, frames: int) -> Tensor:
        """What arrives at a tap, of the first test images: real (frames, C, H, W)."""
        inputs, _ = next(iter(self.software.data.batches("test", frames)))
        with evaluation_mode(model), torch.inference_mode(), observed({name: taps(model)[name].host}) as seen:
            model(inputs)
        found: Tensor = seen[name][0]
        return found.clone()

    def _compare_tile(self, folder: Path) -> list[Comparison]:
        line = self.software
        layer = next(layer for layer in line.noisy.model.modules() if isinstance(layer, analog.AnalogConv2d))
        chip = line.noisy.chip(self.recipe.evaluation.chips[0])
        weights = _tile_weights(layer)
        config = CrossbarConfig(*weights.shape)
        inputs, _ = next(iter(line.data.batches("test", TILE_IMAGES)))
        codes = _patches(layer, inputs)
        # Sixteenths of a level times the largest code: the unit of the column current.
        ideal = codes.double() @ (16 * weights).double()
        full_scale = 4 * float(ideal.std())
        converter = converter_for_chip(config, chip, layer.name, full_scale, reference=float(ideal.std()))
        programming, reading = (derive_seed(chip.seed, layer.name, purpose) for purpose in ("programming", "reading"))
        tile = Tiles(config, weights, converter, programming, reading)
        folding = CrossbarFolding(rows=next(rows for rows in (9, 8, 4, 3, 2, 1) if config.rows % rows == 0))
        folding.check(config)
        vectors = crossbar_vectors(tile, codes, folding)
        listed = jobs(
            f"crossbar {layer.name}", vectors, scenarios(derive_seed(0, "tile"), 1)[:4], TileSubject(tile, codes)
        )
        return _rows(verify("tile", crossbar_design(config, folding), listed, tier="bulk", folder=folder))

    @cached_property
    def resources(self) -> dict[str, dict[str, int]]:
        """ECP5 cells of each tap's denoiser; equal designs are counted once."""
        if not self.recipe.hardware.synthesis:
            return {}

        def compute(folder: Path) -> dict[str, Any]:
            counted: dict[BlockConfig, dict[str, int]] = {}
            for name, file in self.verilog.values["files"].items():
                config = self.software.bundle.tap(name).config
                if config not in counted:
                    counted[config] = count_resources(self.verilog.folder / file, module_name(name))
            taps = self.software.bundle.taps
            return {"resources": {name: counted[tap.config] for name, tap in taps.items()}}

        found: dict[str, dict[str, int]] = self.run.stage("synthesis", {}, (self.verilog,), compute).values["resources"]
        return found

    def results(self, command: Sequence[str]) -> Results:
        """Everything, gathered; runs what was not run before."""
        line, recipe = self.software, self.recipe
        order = (CLEAN, NOISY, FLOAT, INTEGER, RTL, TUNED_FLOAT, TUNED_INTEGER, TUNED_RTL)
        found = {**line.columns, self.column.name: self.column}
        columns = [found[name] for name in order if name in found]
        columns += line.aged.values()
        by_chip = self._accuracy.values["taps"]
        comparisons = [
            Comparison(f"{tap}, chip {chip}", tally["outputs"], tally["bits"], tally["differing"], tally["cycles"])
            for chip, tallies in by_chip.items()
            for tap, tally in tallies.items()
        ]
        # Those of the denoisers, which say nothing of the engine.
        resources = self.resources if self.engine is None else {}
        whole = _summed(by_chip.values())
        return Results(
            name=recipe.name,
            command=shlex.join(command),
            network=recipe.model.name,
            sigma=line.noisy.variation.sigma,
            reference=line.noisy.variation.reference,
            chips=recipe.evaluation.chips,
            test_images=test_images(recipe.evaluation, line.data),
            network_parameters=line.network_result.values["parameters"],
            block_parameters=line.plan.parameters,
            columns=tuple(columns),
            sweep=line.sweep,
            placement=tuple(TapRow(tap.name, tap.score, tap.cost, tap.hidden, tap.verdict) for tap in line.plan),
            blocks=tuple(self._block_row(name, whole[name], resources.get(name, {})) for name in line.bundle.taps),
            comparisons=(*comparisons, *self.cosim),
            versions={tool.name: tool.version for tool in toolchain.tools() if tool.version},
            recipe=to_mapping(recipe),
            variation=describe_chip(line.noisy.chip(0), recipe.noise.conductance),
            target=self.target,
        )

    def _block_row(self, name: str, tally: dict[str, int], resources: dict[str, int]) -> BlockRow:
        config, folding = self.software.bundle.tap(name).config, self.foldings[name]
        multipliers = folding.multipliers(config) if self.engine is None else self.engine.multipliers
        useful = config.multiplications * tally["frames"] / (multipliers * tally["cycles"])
        shape = f"{config.channels} x {config.height} x {config.width}, hidden {config.hidden}"
        return BlockRow(
            name,
            shape,
            tally["frames"],
            tally["cycles"] / tally["frames"],
            tally["predicted"] / tally["frames"],
            multipliers,
            useful,
            resources,
        )


def write_report(results: Results, folder: Path) -> Path:
    """``results.json`` and ``index.html`` in ``folder``; the latter's path."""
    results.save(folder)
    path = folder / "index.html"
    write_atomically(path, render(results))
    return path


def _evaluated(recipe: Recipe) -> dict[str, Any]:
    """What of the evaluation the RTL's accuracy depends on."""
    return {name: value for name, value in asdict(recipe.evaluation).items() if name != "shared"}


def _rows(comparisons: Sequence[Any]) -> list[Comparison]:
    return [Comparison(each.name, each.outputs, each.bits, each.differing_bits, each.cycles) for each in comparisons]


def _summed(parts: Any) -> dict[str, dict[str, Any]]:
    """Tallies of several chunks or chips, added tap by tap."""
    total: dict[str, dict[str, Any]] = {}
    for part in parts:
        for tap, tally in part.items():
            into = total.setdefault(tap, dict.fromkeys(tally, 0))
            for name, value in tally.items():
                into[name] = into.get(name, 0) + value
    return total


def _tile_weights(layer: nn.Conv2d) -> Tensor:
    """A convolution's weights as levels, int64 (rows, columns), the largest one at full scale."""
    matrix = layer.weight.detach().flatten(1).t()
    return (matrix / matrix.abs().max() * WEIGHT_LIMIT).round().to(torch.int64)


def _patches(layer: nn.Conv2d, inputs: Tensor) -> Tensor:
    """The 8-bit DAC codes of every patch under the kernel, int64 (patches, rows), inputs shifted to start at 0."""
    low, high = float(inputs.min()), float(inputs.max())
    codes = ((inputs - low) / (high - low) * 255).round()
    padding = layer.padding if isinstance(layer.padding, tuple) else (0, 0)
    size, stride, dilation = layer.kernel_size, layer.stride, layer.dilation
    unfolded = nn.functional.unfold(codes, size, dilation, padding, stride)
    return unfolded.transpose(1, 2).reshape(-1, unfolded.shape[1]).to(torch.int64)
