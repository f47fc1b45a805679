"""One training run of a study: train, then measure on validation images and, where it was chosen, on test images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from quietbar import analog
from quietbar.contract.seeds import derive_seed
from quietbar.data import Dataset, crop_and_flip
from quietbar.experiment.folder import RunFolder, StageResult
from quietbar.experiment.state import load_state, save_state
from quietbar.models import accuracy, create, load_pretrained
from quietbar.noise import Chip
from quietbar.sharpness import loss_sharpness, method
from quietbar.training import DivergenceError, cosine, fit

from .noisy_weights import noisy_weights
from .processor import OnProcessor, description, processor
from .recipe import StudyMethod, StudyRecipe

REVISION = 1
"""Raised when a change of the code changes the outcome of a run: results of older code are then not taken."""

SHARPNESS: dict[str, dict[str, Any]] = {
    "SAM": {"variant": "sam", "rho": 0.1},
    "ASAM": {"variant": "asam", "rho": 0.5, "eta": 0.0},
    "SAMSON(2)": {"variant": "samson", "rho": 1.0, "p": 2},
    "SAMSON(inf)": {"variant": "samson", "rho": 0.2, "p": float("inf")},
    "layer(inf)": {"variant": "layer", "rho": 0.05, "p": float("inf")},
}
"""Loss sharpness as it is measured on every network, by the units that the radius is in."""

MEASURING_BATCH = 250


@dataclass(frozen=True)
class Run:
    """A method at one strength with one seed."""

    method: StudyMethod
    strength: float | None
    seed: int

    def __str__(self) -> str:
        strength = "" if self.strength is None else f" {self.strength:g}"
        return f"{self.method.name}{strength}, seed {self.seed}"


class Runner:
    """Carries out runs of a study, each stage in a folder named by the hash of all that decides it."""

    def __init__(self, recipe: StudyRecipe, data: Dataset, folder: Path, announce: Callable[[str], None]) -> None:
        self.recipe, self.data = recipe, data
        self.processor = processor(recipe.processor)
        self.folder = RunFolder(folder, announce)

    def training(self, run: Run) -> StageResult:
        """The trained weights (``network.pt``) and what they cost; only ``"diverged"`` where there are none."""
        return self.folder.stage("training", self._training_settings(run), (), lambda folder: self._train(run, folder))

    def validation(self, run: Run) -> StageResult:
        """Accuracy under noise on validation images."""
        return self._measure("validation", run, lambda model: {"accuracy": self._sweep(model, "validation")})

    def sharpness(self, run: Run) -> StageResult:
        """Loss sharpness on training images."""
        return self._measure("sharpness", run, self._sharpness)

    def test(self, run: Run) -> StageResult:
        """Accuracy under noise on test images."""
        return self._measure("test", run, lambda model: {"accuracy": self._sweep(model, "test")})

    def devices(self, run: Run) -> StageResult:
        """Accuracy on test images with the weights held by the recipe's devices; it has some."""
        return self._measure("devices", run, self._aging)

    def found(self, run: Run) -> dict[str, StageResult]:
        """The stages of a run that are finished, by name."""
        training = self.folder.find("training", self._training_settings(run), ())
        if training is None:
            return {}
        measured = {name: settings for name, settings in self._measuring_settings().items() if settings is not None}
        stages = [training, *(self.folder.find(name, settings, (training,)) for name, settings in measured.items())]
        return {stage.name: stage for stage in stages if stage is not None}

    def _measure(self, name: str, run: Run, measure: Callable[[nn.Module], dict[str, Any]]) -> StageResult:
        training, settings = self.training(run), self._measuring_settings()[name]
        assert settings is not None

        def compute(folder: Path) -> dict[str, Any]:
            return training.values if "diverged" in training.values else measure(self._load(training))

        return self.folder.stage(name, settings, (training,), compute)

    # What decides a stage's outcome.

    def _training_settings(self, run: Run) -> dict[str, Any]:
        training = asdict(self.recipe.training)
        del training["checkpoint_every"]
        training["epochs"] = self._epochs(run)
        elsewhere = {} if self.processor.type == "cpu" else {"processor": description(self.processor)}
        return {
            **elsewhere,
            "revision": REVISION,
            "torch": torch.__version__,
            "threads": self.recipe.threads,
            "data": [self.data.digest, self.recipe.data.train, self.recipe.data.augment],
            "network": asdict(self.recipe.network),
            "training": training,
            "method": [run.method.method, run.strength, run.method.options],
            "seed": run.seed,
        }

    def _measuring_settings(self) -> dict[str, dict[str, Any] | None]:
        """By stage; None of the stage that this study has not."""
        noise, data, devices = self.recipe.noise, self.recipe.data, self.recipe.devices
        settings: dict[str, Any] = {
            "validation": [noise.sweep, noise.validation_chips, data.validation],
            "sharpness": [SHARPNESS, self.recipe.sharpness_images],
            "test": [noise.sweep, noise.chips, data.test],
            "devices": None,
        }
        if devices is not None:
            held = [devices.conductance(seconds).to_dict() for seconds in devices.seconds]
            settings["devices"] = [held, noise.chips, data.test]
        return {
            name: None if value is None else {"revision": REVISION, "measured": value}
            for name, value in settings.items()
        }

    # The work.

    def _epochs(self, run: Run) -> int:
        return self.recipe.training.epochs if run.method.epochs is None else run.method.epochs

    def _network(self) -> nn.Module:
        network = self.recipe.network
        if network.pretrained:
            return load_pretrained(network.name)
        return create(network.name, len(self.data.classes))

    def _train(self, run: Run, folder: Path) -> dict[str, Any]:
        settings, wanted = self.recipe.training, self.recipe.data.train
        torch.manual_seed(derive_seed(run.seed, "network"))
        model = self._network().to(self.processor)
        images = self.data.batches(
            "train",
            settings.batch,
            shuffle_seed=run.seed,
            augment=crop_and_flip if self.recipe.data.augment else None,
            limit=None if wanted is None else min(wanted, len(self.data.train)),
        )
        base = torch.optim.SGD(
            model.parameters(),
            lr=settings.learning_rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            nesterov=True,
        )
        optimizer = method(run.method.method, base, run.strength, model=model, **run.method.options)
        try:
            history = fit(
                model,
                OnProcessor(images, self.processor),
                optimizer,
                self._epochs(run),
                cosine,
                checkpoint=folder / "checkpoint.pt",
                checkpoint_every=settings.checkpoint_every,
                identity=folder.name,
                progress=False,
            )
        except DivergenceError as error:
            return {"diverged": str(error)}
        save_state(model, folder / "network.pt")
        return {
            "loss": [epoch.loss for epoch in history],
            "steps": optimizer.steps,
            "skipped steps": optimizer.skipped_steps,
            "gradient evaluations": optimizer.passes,
            "seconds": sum(epoch.seconds for epoch in history),
        }

    def _load(self, training: StageResult) -> nn.Module:
        model = create(self.recipe.network.name, len(self.data.classes))
        load_state(model, training.folder / "network.pt")
        return model.eval().to(self.processor)

    def _sweep(self, model: nn.Module, split: str) -> list[dict[str, Any]]:
        """For every level its accuracy on each chip; without noise all chips are alike."""
        noise = self.recipe.noise
        chips = noise.chips if split == "test" else noise.validation_chips
        images = self._images(split)
        levels = []
        for sigma in noise.sweep:
            accuracies = []
            for chip in chips if sigma > 0 else chips[:1]:
                with noisy_weights(model, sigma, chip):
                    accuracies.append(accuracy(model, images))
            levels.append({"sigma": sigma, "accuracies": accuracies})
        return levels

    def _sharpness(self, model: nn.Module) -> dict[str, Any]:
        count = min(self.recipe.sharpness_images, len(self.data.train))
        images = OnProcessor(self.data.batches("train", MEASURING_BATCH, limit=count), self.processor)
        return {name: loss_sharpness(model, images, **how) for name, how in SHARPNESS.items()}

    def _aging(self, model: nn.Module) -> dict[str, Any]:
        """For every time the accuracy on each chip."""
        devices, images = self.recipe.devices, self._images("test")
        assert devices is not None
        ages = []
        for seconds in devices.seconds:
            accuracies = []
            for seed in self.recipe.noise.chips:
                chip = Chip(seed, conductance=devices.conductance(seconds))
                accuracies.append(accuracy(analog.convert(model, chip), images))
            ages.append({"seconds": seconds, "accuracies": accuracies})
        return {"accuracy": ages}

    def _images(self, split: str) -> OnProcessor:
        wanted: int | None = getattr(self.recipe.data, split)
        limit = None if wanted is None else min(wanted, len(self.data.split(split)))
        return OnProcessor(self.data.batches(split, MEASURING_BATCH, limit=limit), self.processor)
