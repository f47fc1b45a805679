"""The software stages of a run: network, noise level, places, blocks, integers.

Each function returns what the next ones work on together with its :class:`StageResult`. Everything random follows from
the recipe's seeds, so a stage that was done before is read back and gives the very same objects.
"""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from quietbar import analog, denoise, integer, placement
from quietbar.configuration import from_mapping
from quietbar.contract.errors import require
from quietbar.contract.seeds import derive_seed
from quietbar.contract.sources import Kind
from quietbar.data import Augmentation, Batches, Dataset, crop_and_flip
from quietbar.models import accuracy, create, load_pretrained
from quietbar.noise import Chip, Conductance, Variation
from quietbar.sharpness import SharpnessAware
from quietbar.training import Epoch, Optimizer, cosine, cross_entropy, fit, one_cycle

from .compatibility import require_compatible
from .evaluation import accuracy_of, predict
from .folder import RunFolder, StageResult
from .recipe import BlocksRecipe, NoiseRecipe, Recipe, TrainingRecipe
from .results import Column, SweepPoint
from .state import load_state, save_state

LEVEL_STEPS = 9
LEVEL_HIGH = 2.0
"""The noise level, sigma or a factor of the variation, is found between 0 and 2 by halving nine times: to 0.004."""

LEVEL_TOLERANCE = 10
"""Points by which the drop at that level may miss the one asked for; by more where the devices alone cost more."""

CHECKPOINT_BATCHES = 100
"""Batches of block training between two checkpoints: what an interruption may cost."""

CLEAN, NOISY = "clean", "noisy"
FLOAT, INTEGER = "denoised, float", "denoised, integer"
TUNED_FLOAT, TUNED_INTEGER = "tuned, float", "tuned, integer"
"""Columns of the final table, as they are named there."""


@dataclass(frozen=True)
class NoisyNetwork:
    """A network on analog hardware, calibrated.

    Attributes:
        model: from ``quietbar.analog.convert``; ``analog.set_chip`` puts it on another chip.
        variation: of every chip.
        conductance: of every chip; None holds weights exactly.
    """

    model: nn.Module
    variation: Variation
    conductance: Conductance | None = None

    def chip(self, seed: int) -> Chip:
        """The chip instance ``seed`` with this network's variation and conductance."""
        return Chip(seed, self.variation, self.conductance)

    def aged(self, seconds: float) -> NoisyNetwork:
        """The same chips, so many seconds after they were programmed."""
        conductance = None if self.conductance is None else replace(self.conductance, seconds=seconds)
        return replace(self, variation=replace(self.variation, seconds=seconds), conductance=conductance)


def network_stage(run: RunFolder, recipe: Recipe, data: Dataset) -> tuple[nn.Module, StageResult]:
    """The network with published weights, or trained here."""
    settings = {"model": asdict(recipe.model), "data": data.digest, "threads": recipe.threads}

    def compute(folder: Path) -> dict[str, Any]:
        training = recipe.model.training
        if training is None:
            model = load_pretrained(recipe.model.name)
            require_compatible("model.name", recipe.model.name, model, data)
        else:
            model = _train_network(recipe.model.name, training, data, folder)
            save_state(model, folder / "network.pt")
        parameters = sum(parameter.numel() for parameter in model.parameters())
        return {"parameters": parameters, "validation accuracy": accuracy(model, validation_batches(recipe, data))}

    result = run.stage("network", settings, (), compute)
    if recipe.model.pretrained:
        return load_pretrained(recipe.model.name), result
    model = create(recipe.model.name, len(data.classes))
    load_state(model, result.folder / "network.pt")
    return model.eval(), result


def _train_network(name: str, training: TrainingRecipe, data: Dataset, folder: Path) -> nn.Module:
    torch.manual_seed(derive_seed(training.seed, "network"))
    model = create(name, len(data.classes))
    require_compatible("model.name", name, model, data)
    batches = data.batches("train", training.batch, shuffle_seed=training.seed, augment=_augmentation(data))
    optimizer: Optimizer = torch.optim.SGD(
        model.parameters(),
        lr=training.learning_rate,
        momentum=training.momentum,
        weight_decay=training.weight_decay,
        nesterov=True,
    )
    if training.optimizer != "plain":
        assert isinstance(optimizer, torch.optim.Optimizer)
        optimizer = SharpnessAware(optimizer, training.optimizer, rho=training.rho, p=training.p, model=model)
    fit(
        model,
        batches,
        optimizer,
        training.epochs,
        partial(one_cycle, warmup=training.warmup) if training.warmup else cosine,
        loss=cross_entropy if training.precision == "float32" else _bfloat16_cross_entropy,
        checkpoint=folder / "checkpoint.pt",
        description="network",
    )
    return model.eval()


def _bfloat16_cross_entropy(model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return cross_entropy(model, inputs, labels)


def noise_stage(
    run: RunFolder, recipe: Recipe, data: Dataset, network: nn.Module, after: StageResult
) -> tuple[NoisyNetwork, StageResult]:
    """The network on analog hardware: layers calibrated on training images, the level found on validation images."""
    noise = recipe.noise
    model = analog.convert(network, Chip(0))

    def compute(folder: Path) -> dict[str, Any]:
        calibrations = analog.calibrate(model, _calibration_batches(recipe, data))
        values: dict[str, Any] = {
            "calibrations": {layer: asdict(calibration) for layer, calibration in calibrations.items()}
        }
        if noise.drop is not None:
            values["search"] = _find_level(model, noise, validation_batches(recipe, data))
        return values

    settings = {"noise": {k: v for k, v in asdict(noise).items() if k != "sweep"}}
    result = run.stage("noise", settings, (after,), compute)
    calibrations = {
        layer: analog.Calibration(**calibration) for layer, calibration in result.values["calibrations"].items()
    }
    analog.set_calibration(model, calibrations)
    chip = noise.chip(0, result.values["search"]["level"] if noise.drop is not None else 1.0)
    noisy = NoisyNetwork(model, chip.variation, chip.conductance)
    analog.set_chip(model, noisy.chip(0))
    return noisy, result


def _find_level(model: nn.Module, noise: NoiseRecipe, validation: Batches) -> dict[str, Any]:
    """The level at which the accuracy drop is nearest ``noise.drop``, by bisection on a chip of its own."""
    assert noise.drop is not None
    wanted, chip = noise.drop, derive_seed(0, "noise level")

    def measure(level: float) -> float:
        analog.set_chip(model, noise.chip(chip, level))
        return accuracy(model, validation)

    with analog.quiet(model):
        clean = measure(0.0)
    low, high = 0.0, LEVEL_HIGH
    tried = []
    for _ in range(LEVEL_STEPS):
        middle = (low + high) / 2
        drop = clean - measure(middle)
        tried.append({"level": middle, "drop": drop})
        low, high = (middle, high) if drop < wanted else (low, middle)
    nearest = min(tried, key=lambda point: abs(point["drop"] - wanted))
    least, most = (choose(tried, key=lambda point: point["level"]) for choose in (min, max))
    allowed = (
        f"within {LEVEL_TOLERANCE} points of what some level costs: {least['level']:.3g} of columns and temporal noise "
        f"costs {least['drop']:.1f}, {most['level']:.3g} costs {most['drop']:.1f}, of {clean:.1f} % without noise"
    )
    require(abs(nearest["drop"] - wanted) <= LEVEL_TOLERANCE, "noise.drop", wanted, allowed)
    return {"clean": clean, "tried": tried, **nearest}


def placement_stage(
    run: RunFolder, recipe: Recipe, data: Dataset, noisy: NoisyNetwork, after: StageResult
) -> tuple[placement.Plan, StageResult]:
    """Which taps get a block."""
    settings = {"placement": asdict(recipe.placement), "kernel": recipe.blocks.kernel, "mode": recipe.blocks.mode}

    def compute(folder: Path) -> dict[str, Any]:
        batches = _training_batches(data, 50, "placement.images", recipe.placement.images)
        analog.set_chip(noisy.model, noisy.chip(derive_seed(0, "placement")))
        plan = placement.search(
            noisy.model,
            batches,
            budget=recipe.placement.budget,
            candidates=recipe.placement.candidates,
            rule=recipe.placement.rule,
            multiplications=recipe.placement.multiplications,
            cycles=recipe.placement.cycles,
            kernel=recipe.blocks.kernel,
            mode=recipe.blocks.mode,
        )
        return {"plan": plan.to_dict()}

    result = run.stage("placement", settings, (after,), compute)
    return placement.Plan.from_dict(result.values["plan"]), result


def blocks_stage(
    run: RunFolder, recipe: Recipe, data: Dataset, noisy: NoisyNetwork, plan: placement.Plan, after: StageResult
) -> tuple[nn.Module, StageResult]:
    """The noisy network with trained blocks at the planned taps; the network itself is frozen."""
    blocks = recipe.blocks
    model = denoise.insert(noisy.model, plan, kernel=blocks.kernel, mode=blocks.mode, seed=blocks.seed)

    def compute(folder: Path) -> dict[str, Any]:
        history = train_blocks(model, recipe, data, noisy, folder)
        save_state(model, folder / "blocks.pt")
        return {"epochs": [{"loss": epoch.loss, **epoch.metrics} for epoch in history]}

    settings = block_settings(blocks)
    del settings["tuning"]
    result = run.stage("blocks", {"blocks": settings}, (after,), compute)
    load_state(model, result.folder / "blocks.pt")
    return model.eval(), result


def train_blocks(model: nn.Module, recipe: Recipe, data: Dataset, noisy: NoisyNetwork, folder: Path) -> list[Epoch]:
    """Train the blocks of ``model`` in place as the recipe says, with a checkpoint in ``folder``."""
    blocks = recipe.blocks
    # A chip that no evaluation uses: what is learned must carry over to others.
    analog.set_chip(model, noisy.chip(derive_seed(blocks.seed, "block training")))
    limit = None if blocks.images is None else min(blocks.images, len(data.train))
    return denoise.train(
        model,
        data.batches("train", blocks.batch, shuffle_seed=blocks.seed, augment=_augmentation(data), limit=limit),
        blocks.epochs,
        learning_rate=blocks.learning_rate,
        objective=blocks.objective,
        levels=denoise.NoiseLevels(*blocks.factors),
        population=denoise.Population(blocks.chips, blocks.seed),
        precision=blocks.precision,
        seed=blocks.seed,
        checkpoint=folder / "checkpoint.pt",
        checkpoint_every=CHECKPOINT_BATCHES,
        on_epoch=lambda number, loss: {"validation accuracy": accuracy(model, validation_batches(recipe, data))},
    )


@dataclass(frozen=True)
class TunedNetworks:
    """For each chip of the evaluation a copy of the denoised network, its blocks trained on for that chip."""

    denoised: nn.Module
    noisy: NoisyNetwork
    folder: Path

    def on(self, chip: int, noisy: NoisyNetwork | None = None) -> tuple[nn.Module, integer.Bundle]:
        """The network of chip ``chip``, placed on it as it was or as it is in ``noisy``, and its blocks in integers."""
        model = copy.deepcopy(self.denoised)
        load_state(model, self.folder / f"blocks-{chip}.pt")
        analog.set_chip(model, (noisy or self.noisy).chip(chip))
        return model.eval(), integer.load(self.folder / f"bundle-{chip}")


def tuning_stage(
    run: RunFolder, recipe: Recipe, data: Dataset, noisy: NoisyNetwork, denoised: nn.Module, after: StageResult
) -> tuple[TunedNetworks, StageResult] | None:
    """The blocks of each chip, in float and in integers; None where the recipe has all chips share theirs."""
    tuning = recipe.blocks.tuning
    if tuning is None:
        return None

    # All chips' blocks are trained on the same batches.
    teacher = denoise.Teacher(denoised)

    def tune(chip: int, folder: Path) -> None:
        model = copy.deepcopy(denoised)
        analog.set_chip(model, noisy.chip(chip))
        limit = min(tuning.images, len(data.train))
        denoise.train(
            model,
            data.batches(
                "train", tuning.batch, shuffle_seed=recipe.blocks.seed, augment=_augmentation(data), limit=limit
            ),
            tuning.epochs,
            learning_rate=tuning.learning_rate,
            objective=recipe.blocks.objective,
            levels=denoise.NoiseLevels(1, 1, 0),
            precision=recipe.blocks.precision,
            teacher=teacher,
            seed=recipe.blocks.seed,
            checkpoint=folder / f"checkpoint-{chip}.pt",
            checkpoint_every=CHECKPOINT_BATCHES,
        )
        analog.restart(model)
        calibration = _calibration_batches(recipe, data)
        integer.export(model, calibration).save(folder / f"bundle-{chip}")
        save_state(model, folder / f"blocks-{chip}.pt")

    def compute(folder: Path) -> dict[str, Any]:
        for chip in recipe.evaluation.chips:
            if not (folder / f"blocks-{chip}.pt").exists():
                tune(chip, folder)
        return {"chips": recipe.evaluation.chips}

    settings = {"tuning": asdict(tuning), "chips": recipe.evaluation.chips}
    result = run.stage("tuning", settings, (after,), compute)
    return TunedNetworks(denoised, noisy, result.folder), result


def _augmentation(data: Dataset) -> Augmentation | None:
    return crop_and_flip if data.name == "cifar10" else None


def bundle_stage(
    run: RunFolder, recipe: Recipe, data: Dataset, denoised: nn.Module, after: StageResult
) -> tuple[integer.Bundle, StageResult]:
    """The blocks in integers, calibrated on training images under noise."""

    def compute(folder: Path) -> dict[str, Any]:
        analog.restart(denoised)
        bundle = integer.export(denoised, _calibration_batches(recipe, data))
        bundle.save(folder / "bundle")
        return {"taps": {name: tap.config.to_dict() for name, tap in bundle.taps.items()}}

    result = run.stage("bundle", {}, (after,), compute)
    return integer.load(result.folder / "bundle"), result


def sweep_stage(
    run: RunFolder, recipe: Recipe, data: Dataset, noisy: NoisyNetwork, denoised: nn.Module, after: StageResult
) -> tuple[tuple[SweepPoint, ...], StageResult]:
    """Validation accuracy over noise levels, with and without blocks (in float), the same for all chips."""
    settings = {"sweep": recipe.noise.sweep, "chips": recipe.evaluation.chips, "images": recipe.noise.images}

    def measure(model: nn.Module, factor: float, seed: int) -> float:
        analog.set_chip(model, noisy.chip(seed))
        analog.scale_noise(model, factor)
        try:
            return accuracy(model, validation_batches(recipe, data))
        finally:
            analog.scale_noise(model, 1.0)

    def compute(folder: Path) -> dict[str, Any]:
        points = []
        for factor in recipe.noise.sweep:
            seeds = recipe.evaluation.chips
            points.append(
                {
                    "sigma": factor * noisy.variation.sigma,
                    "factor": factor,
                    "noisy": [measure(noisy.model, factor, seed) for seed in seeds],
                    "denoised": [measure(denoised, factor, seed) for seed in seeds],
                }
            )
        return {"points": points}

    result = run.stage("sweep", settings, (after,), compute)
    return tuple(from_mapping(SweepPoint, point) for point in result.values["points"]), result


def accuracy_stage(
    run: RunFolder,
    recipe: Recipe,
    data: Dataset,
    network: nn.Module,
    noisy: NoisyNetwork,
    denoised: nn.Module,
    bundle: integer.Bundle,
    tuned: tuple[TunedNetworks, StageResult] | None,
    after: StageResult,
) -> tuple[dict[str, Column], StageResult]:
    """Test accuracy: clean, noisy, with blocks in float and with blocks in integers; by the columns' names."""
    source = recipe.hardware.source

    def compute(folder: Path) -> dict[str, Any]:
        def measure(name: str, model: nn.Module, seed: int) -> float:
            label = f"{name.replace(', ', '-')}-{seed}"
            return accuracy_of(predict(model, data, recipe.evaluation, folder, label))

        def column(name: str, model: nn.Module, seeds: tuple[int, ...]) -> list[float]:
            accuracies = []
            for seed in seeds:
                if model is not network:
                    analog.set_chip(model, noisy.chip(seed))
                accuracies.append(measure(name, model, seed))
            return accuracies

        chips = recipe.evaluation.chips
        found = {CLEAN: column(CLEAN, network, (0,)), NOISY: column(NOISY, noisy.model, chips)}
        if tuned is None or recipe.evaluation.shared:
            found[FLOAT] = column(FLOAT, denoised, chips)
            with bundle.attach(denoised, source=source):
                found[INTEGER] = column(INTEGER, denoised, chips)
        if tuned is not None:
            found |= {TUNED_FLOAT: [], TUNED_INTEGER: []}
            for seed in chips:
                model, own = tuned[0].on(seed)
                found[TUNED_FLOAT].append(measure(TUNED_FLOAT, model, seed))
                with own.attach(model, source=source):
                    found[TUNED_INTEGER].append(measure(TUNED_INTEGER, model, seed))
        return found

    stages_before = (after,) if tuned is None else (after, tuned[1])
    settings = {name: value for name, value in asdict(recipe.evaluation).items() if name != "seconds"}
    if tuned is None or settings["shared"]:
        del settings["shared"]  # the table is the whole one
    result = run.stage("accuracy", {"evaluation": settings, **source_setting(source)}, stages_before, compute)
    return {name: Column(name, tuple(values)) for name, values in result.values.items()}, result


def source_setting(source: Kind) -> dict[str, Kind]:
    """What a stage whose results depend on the Gaussian source is told of it: the default need not be said."""
    return {} if source == "box-muller" else {"source": source}


def block_settings(blocks: BlocksRecipe) -> dict[str, Any]:
    """What a stage whose results depend on the blocks is told of them: the default precision need not be said."""
    settings = asdict(blocks)
    if blocks.precision == "float32":
        del settings["precision"]
    return settings


def _calibration_batches(recipe: Recipe, data: Dataset) -> Batches:
    """The training images on which layers, taps and hidden activations are calibrated."""
    return _training_batches(data, 100, "noise.calibration", recipe.noise.calibration)


def _training_batches(data: Dataset, size: int, name: str, images: int) -> Batches:
    """The first training images, as many as the recipe's key ``name`` says."""
    there = len(data.train)
    require(images <= there, name, images, f"at most {there}, the training images of {data.name}")
    return data.batches("train", size, limit=images)


def validation_batches(recipe: Recipe, data: Dataset) -> Batches:
    """The first validation images, as many as the recipe's noise level is found on."""
    limit = min(recipe.noise.images, len(data.validation))
    return data.batches("validation", recipe.evaluation.batch, limit=limit)
