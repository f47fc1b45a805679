"""The 8x8 handwritten digits that come with scikit-learn: 1,797 images of the UCI set, no download needed."""

from __future__ import annotations

import numpy
import torch

from quietbar.contract.errors import require_integer
from quietbar.contract.seeds import derive_seed

from .batches import permutation
from .dataset import Dataset, Split
from .normalization import Normalization

TEST, VALIDATION = 360, 180
LARGE_TEST = 600
# Inputs from 0 to 1: unsigned, as the converters of a crossbar take them.
NORMALIZATION = Normalization(largest=16, mean=(0.0,), std=(1.0,))


def load(split_seed: int = 0, test: int = TEST) -> Dataset:
    """1,257 training, 180 validation and 360 test images, or as many of them as are asked for.

    Args:
        split_seed: tells validation from training images; the test images are the same for every seed.
        test: number of test images; of the others 180 are for validation, the rest for training.
    """
    require_integer("digits.test", test, 1, 1600)
    from sklearn.datasets import load_digits

    source = load_digits()
    images = torch.from_numpy(source.images.astype(numpy.uint8)).unsqueeze(1)
    digits = Split(images, torch.from_numpy(source.target.astype(numpy.int64)))
    order = permutation(len(digits), derive_seed(0, "digits", "test"))
    chosen, rest = order[:test], order[test:]
    rest = rest[permutation(len(rest), derive_seed(split_seed, "digits", "validation"))]
    return Dataset(
        name="digits",
        classes=tuple("0123456789"),
        normalization=NORMALIZATION,
        train=digits.take(rest[VALIDATION:]),
        validation=digits.take(rest[:VALIDATION]),
        test=digits.take(chosen),
    )


def load_large_test(split_seed: int = 0) -> Dataset:
    """The same images split otherwise: 1,017 for training, 180 for validation, 600 for the test."""
    return load(split_seed, LARGE_TEST)
