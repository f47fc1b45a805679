"""Accuracy of the same chips when they are older, with the blocks that they were given when they were young."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from quietbar import analog, integer
from quietbar.data import Dataset

from .evaluation import accuracy_of, predict
from .folder import RunFolder, StageResult
from .recipe import Recipe
from .results import Column
from .stages import INTEGER, NOISY, TUNED_INTEGER, NoisyNetwork, TunedNetworks, source_setting

UNITS = (("day", 86_400.0), ("hour", 3600.0), ("minute", 60.0), ("second", 1.0))


def age_text(seconds: float) -> str:
    """An age in the largest unit of which it is at least one: ``1 hour``, ``30 days``."""
    unit, length = next((each for each in UNITS if seconds >= each[1]), UNITS[-1])
    return f"{seconds / length:.3g} {unit}{'' if seconds == length else 's'}"


def aged_stage(
    run: RunFolder,
    recipe: Recipe,
    data: Dataset,
    noisy: NoisyNetwork,
    denoised: nn.Module,
    bundle: integer.Bundle,
    tuned: tuple[TunedNetworks, StageResult] | None,
    after: StageResult,
) -> tuple[dict[str, Column], StageResult]:
    """Test accuracy at each age of the recipe: without blocks, and with the last blocks of the table in integers."""
    source = recipe.hardware.source

    def compute(folder: Path) -> dict[str, Any]:
        found: dict[str, list[float]] = {}

        def measure(name: str, age: str, model: nn.Module, seed: int) -> None:
            label = f"{name} {age} {seed}".replace(", ", "-").replace(" ", "-")
            chunks = predict(model, data, recipe.evaluation, folder, label)
            found.setdefault(f"{name}, {age}", []).append(accuracy_of(chunks))

        for seconds in recipe.evaluation.seconds:
            older, age = noisy.aged(seconds), age_text(seconds)
            for seed in recipe.evaluation.chips:
                analog.set_chip(noisy.model, older.chip(seed))
                measure(NOISY, age, noisy.model, seed)
                if tuned is None:
                    model, name, blocks = denoised, INTEGER, bundle
                    analog.set_chip(model, older.chip(seed))
                else:
                    (model, blocks), name = tuned[0].on(seed, older), TUNED_INTEGER
                with blocks.attach(model, source=source):
                    measure(name, age, model, seed)
        return found

    stages_before = (after,) if tuned is None else (after, tuned[1])
    settings = {name: value for name, value in asdict(recipe.evaluation).items() if name != "shared"}
    result = run.stage("aged", {"evaluation": settings, **source_setting(source)}, stages_before, compute)
    return {name: Column(name, tuple(values)) for name, values in result.values.items()}, result
