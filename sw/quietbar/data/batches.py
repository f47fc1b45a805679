"""Batches of images and labels in an order that a seed and an epoch fix."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy
import torch
from torch import Tensor

from quietbar.contract.errors import require, require_integer
from quietbar.contract.seeds import check_seed, derive_seed

from .normalization import Normalization

Augmentation = Callable[[Tensor, torch.Generator], Tensor]


def permutation(count: int, seed: int) -> Tensor:
    """The numbers 0 to count - 1 in an order fixed by ``seed``, on every machine and in every version of the libraries.

    It sorts the raw output of PCG64, which NumPy promises never to change (unlike its shuffles, and torch's).
    """
    return torch.from_numpy(numpy.argsort(numpy.random.PCG64(seed).random_raw(count), kind="stable"))


@dataclass(frozen=True, eq=False)
class Batches:
    """A repeatable iterable of (inputs, labels): each iteration gives the same batches, whatever ran before.

    Attributes:
        images: (N, channels, height, width); uint8 as stored or float32.
        labels: (N) int64.
        size: images a batch; the last batch may be smaller.
        shuffle_seed: fixes the order, another one for each epoch; None keeps the order of ``images``.
        augment: makes other images (N, channels, height, width) of the stored ones, with the random source given; needs
            ``shuffle_seed``. Batch b of epoch e is augmented alike however many batches went before it.
        normalization: from stored values to the network's inputs; None leaves them as they are.
        epoch: whose order and augmentation to give.
        start: number of the first batch to give.
    """

    images: Tensor
    labels: Tensor
    size: int
    shuffle_seed: int | None = None
    augment: Augmentation | None = None
    normalization: Normalization | None = None
    epoch: int = 0
    start: int = 0

    def __post_init__(self) -> None:
        require(self.images.ndim == 4, "batches.images", tuple(self.images.shape), "of shape (N, C, H, W)")
        allowed = f"({len(self.images)},): one label an image"
        require(tuple(self.labels.shape) == (len(self.images),), "batches.labels", tuple(self.labels.shape), allowed)
        require_integer("batches.size", self.size, 1, 1 << 31)
        require_integer("batches.epoch", self.epoch, 0, 1 << 31)
        require_integer("batches.start", self.start, 0, -(-len(self.images) // self.size))
        if self.shuffle_seed is not None:
            check_seed(self.shuffle_seed, "batches.shuffle_seed")
        require(
            self.augment is None or self.shuffle_seed is not None,
            "batches.shuffle_seed",
            self.shuffle_seed,
            "a seed where the images are augmented",
        )

    def __len__(self) -> int:
        return -(-len(self.images) // self.size) - self.start

    def at_epoch(self, epoch: int, start: int = 0) -> Batches:
        """The same images in the order of ``epoch``, from batch ``start`` on."""
        return replace(self, epoch=epoch, start=start)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        count = len(self.images)
        order = None
        if self.shuffle_seed is not None:
            order = permutation(count, derive_seed(self.shuffle_seed, "shuffle", self.epoch))
        for first in range(self.start * self.size, count, self.size):
            chosen: Tensor | slice = slice(first, first + self.size)
            if order is not None:
                chosen = order[chosen]
            images, labels = self.images[chosen], self.labels[chosen]
            if self.augment is not None and self.shuffle_seed is not None:
                generator = torch.Generator()
                generator.manual_seed(derive_seed(self.shuffle_seed, "augment", self.epoch, first))
                images = self.augment(images, generator)
            if self.normalization is not None:
                images = self.normalization(images)
            yield images, labels
