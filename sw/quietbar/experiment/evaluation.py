"""Accuracy on test images, in chunks that survive an interruption."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from quietbar import analog
from quietbar.data import Dataset
from quietbar.denoise import taps
from quietbar.files import write_atomically
from quietbar.integer.bundle import IntegerBlock
from quietbar.models import evaluation_mode

from .recipe import EvaluationRecipe


def test_images(recipe: EvaluationRecipe, data: Dataset) -> int:
    """How many test images the recipe asks for."""
    return len(data.test) if recipe.images is None else min(recipe.images, len(data.test))


def chunk_starts(recipe: EvaluationRecipe, data: Dataset) -> range:
    """The first image of each chunk."""
    return range(0, test_images(recipe, data), recipe.chunk)


def chunk_path(folder: Path, name: str, first: int) -> Path:
    """Where the predictions ``name`` of the chunk that begins with image ``first`` are kept."""
    return folder / f"{name}-{first}.json"


def predict(
    model: nn.Module,
    data: Dataset,
    recipe: EvaluationRecipe,
    folder: Path,
    name: str,
    collect: Callable[[], dict[str, Any]] = dict,
    firsts: Iterable[int] | None = None,
) -> list[dict[str, Any]]:
    """Classify the first test images, chunk by chunk; a chunk that was done before is read.

    Every chunk starts at its own place in the chip's noise and in the blocks' random sources, so that it does not
    matter which chunks were done before.

    Args:
        model: on a chip, its blocks (if any) on whatever engine.
        data: its test images are used.
        recipe: how many images, in which chunks.
        folder: where chunks are kept.
        name: of these predictions.
        collect: called after each chunk; what it returns is kept with it.
        firsts: the chunks to do, by their first image, each asked for when the one before it is done; by default all.

    Returns:
        For each chunk ``{"first": ..., "predictions": [...], "labels": [...], **collect()}``.
    """
    count = test_images(recipe, data)
    batches = data.batches("test", recipe.batch, limit=count)
    chunks = []
    with evaluation_mode(model), torch.inference_mode():
        for first in tqdm(chunk_starts(recipe, data) if firsts is None else firsts, name, leave=False, disable=None):
            path = chunk_path(folder, name, first)
            if not path.exists():
                _place(model, first)
                predictions, labels = [], []
                for inputs, expected in batches.at_epoch(0, first // recipe.batch):
                    predictions += model(inputs).argmax(dim=1).tolist()
                    labels += expected.tolist()
                    if len(labels) >= recipe.chunk:
                        break
                chunk = {"first": first, "predictions": predictions, "labels": labels, **collect()}
                write_atomically(path, json.dumps(chunk))
            chunks.append(json.loads(path.read_text()))
    return chunks


def _place(model: nn.Module, image: int) -> None:
    """Make ``image`` the next one, for the chip's noise and for the frames of integer blocks."""
    analog.restart(model, image)
    for tap in taps(model).values():
        if isinstance(tap.block, IntegerBlock):
            tap.block.frame = image


def predictions_of(chunks: list[dict[str, Any]]) -> list[int]:
    """All predictions in the order of the images."""
    return [prediction for chunk in chunks for prediction in chunk["predictions"]]


def accuracy_of(chunks: list[dict[str, Any]]) -> float:
    """Percent of the images that are classified right."""
    pairs = [pair for chunk in chunks for pair in zip(chunk["predictions"], chunk["labels"], strict=True)]
    return 100.0 * sum(prediction == label for prediction, label in pairs) / len(pairs)
