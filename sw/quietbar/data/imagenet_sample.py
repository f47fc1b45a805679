"""A sample of ImageNet's images, found on this machine: enough to train and to test denoising blocks, not networks.

Nothing is downloaded: the images are for research use only. The layout is that of two published samples, each a folder
of images with a table ``labels.csv`` (file, label):

- ``imagenet_sample1000``: one training image of each class (github.com/EliSchwartz/imagenet-sample-images), their
  shorter side 256 pixels;
- ``imagenet_val1300``: 1,300 validation images of 725 classes, 227x227 (VeriSilicon's acuity-dataset), an easy subset:
  good for differences, not for absolute accuracy.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy
import torch

from quietbar.contract.errors import QuietbarError, require_integer
from quietbar.contract.seeds import derive_seed

from .batches import permutation
from .dataset import Dataset, Split
from .folders import VARIABLE, search_folders
from .normalization import Normalization

SIZE = 224
TRAINING, TEST = "imagenet_sample1000", "imagenet_val1300"
CLASSES = tuple(f"class {number}" for number in range(1000))
"""Numbered by the rank of the class's WordNet number, as is usual."""

NORMALIZATION = Normalization(255.0, (127 / 255,) * 3, (128 / 255,) * 3)
"""``(x - 127) / 128``, as EfficientNet-Lite was trained."""


def load(split_seed: int = 0, validation: int = 200, folders: Sequence[Path] | None = None) -> Dataset:
    """800 training, 200 validation and 1,300 test images, the 224x224 pixels in their middle.

    An image with a side of less than 224 is enlarged until it has as many (66 of the training images).

    Args:
        split_seed: tells validation from training images.
        validation: number of validation images.
        folders: to search; by default the one that ``QUIETBAR_DATA`` names and the user's cache.

    Raises:
        QuietbarError: a folder, an image or a line of its table is missing or damaged, or Pillow is not installed.
        ConfigurationError: an argument is outside what is allowed.
    """
    places = search_folders() if folders is None else tuple(folders)
    training, test = (_read(_find(part, places)) for part in (TRAINING, TEST))
    require_integer("imagenet-sample.validation", validation, 1, len(training) - 1)
    order = permutation(len(training), derive_seed(split_seed, "imagenet-sample", "validation"))
    return Dataset(
        name="imagenet-sample",
        classes=CLASSES,
        normalization=NORMALIZATION,
        train=training.take(order[validation:]),
        validation=training.take(order[:validation]),
        test=test,
    )


def at_hand(folders: Sequence[Path] | None = None) -> bool:
    """Whether both folders are on this machine; says nothing about their content."""
    places = search_folders() if folders is None else folders
    return all(any((place / part / "labels.csv").is_file() for place in places) for part in (TRAINING, TEST))


def _find(part: str, places: Sequence[Path]) -> Path:
    for place in places:
        if (place / part / "labels.csv").is_file():
            return place / part
    searched = " or ".join(str(place) for place in places)
    raise QuietbarError(f"{part}/labels.csv is not in {searched}; get the images and set {VARIABLE} to their folder")


def _read(folder: Path) -> Split:
    try:
        from PIL import Image
    except ImportError as error:
        raise QuietbarError("the imagenet-sample images need Pillow: pip install Pillow") from error

    def large_enough(image: Image.Image) -> Image.Image:
        factor = max(1.0, SIZE / min(image.size))
        return image if factor == 1.0 else image.resize((round(factor * image.width), round(factor * image.height)))

    table = folder / "labels.csv"
    with table.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    images = numpy.empty((len(rows), 3, SIZE, SIZE), dtype=numpy.uint8)
    labels = []
    for number, row in enumerate(rows):
        try:
            labels.append(int(row["label"]))
            with Image.open(folder / row["file"]) as image:
                pixels = numpy.asarray(large_enough(image.convert("RGB")))
        except (KeyError, TypeError, ValueError) as error:
            raise QuietbarError(f"{table}, line {number + 2}: {row} is not a file and a label") from error
        except OSError as error:
            raise QuietbarError(f"{table}, line {number + 2}: {folder / row['file']} is no readable image") from error
        top, left = ((side - SIZE) // 2 for side in pixels.shape[:2])
        if top < 0 or left < 0:
            raise QuietbarError(
                f"{folder / row['file']} has {pixels.shape[:2]} pixels, must have at least {SIZE} a side"
            )
        images[number] = pixels[top : top + SIZE, left : left + SIZE].transpose(2, 0, 1)
    return Split(torch.from_numpy(images), torch.tensor(labels, dtype=torch.int64))
