"""A data set: three splits in memory, and how its images become inputs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from quietbar.contract.errors import require, require_choice

from .batches import Augmentation, Batches
from .normalization import Normalization

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class Split:
    """Images and their labels.

    Attributes:
        images: uint8 (N, channels, height, width), as published.
        labels: int64 (N).
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        require(self.images.ndim == 4, "split.images", tuple(self.images.shape), "of shape (N, C, H, W)")
        require(self.images.dtype == torch.uint8, "split.images", self.images.dtype, "torch.uint8")
        allowed = f"({len(self.images)},): one label an image"
        require(tuple(self.labels.shape) == (len(self.images),), "split.labels", tuple(self.labels.shape), allowed)
        require(self.labels.dtype == torch.int64, "split.labels", self.labels.dtype, "torch.int64")

    def __len__(self) -> int:
        return len(self.images)

    def take(self, indices: Tensor) -> Split:
        """The images and labels at ``indices`` (int64), in that order."""
        return Split(self.images[indices], self.labels[indices])


@dataclass(frozen=True, eq=False)
class Dataset:
    """Three splits without a common image.

    Attributes:
        name: as given to :func:`quietbar.data.load`.
        classes: the names of the labels 0, 1, ...
        normalization: from the stored images to a network's inputs.
        train: to learn from.
        validation: to choose by; taken from the published training part.
        test: to report on; chooses nothing.
    """

    name: str
    classes: tuple[str, ...]
    normalization: Normalization
    train: Split
    validation: Split
    test: Split

    def __post_init__(self) -> None:
        for name in SPLITS:
            labels = self.split(name).labels
            require(len(labels) > 0, f"{self.name}.{name}", len(labels), "at least one image")
            low, high = int(labels.min()), int(labels.max())
            require(low >= 0 and high < len(self.classes), f"{self.name}.{name}.labels", (low, high), "class numbers")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    @cached_property
    def digest(self) -> str:
        """SHA-256 over all images and labels of the splits, in their order."""
        state = hashlib.sha256()
        for name in SPLITS:
            split = self.split(name)
            state.update(repr((name, tuple(split.images.shape))).encode())
            state.update(split.images.contiguous().numpy().data)
            state.update(split.labels.contiguous().numpy().astype("<i8").data)
        return state.hexdigest()

    def split(self, name: str) -> Split:
        """One of ``train``, ``validation`` and ``test``."""
        require_choice("split", name, SPLITS)
        split: Split = getattr(self, name)
        return split

    def batches(
        self,
        split: str,
        size: int,
        *,
        shuffle_seed: int | None = None,
        augment: Augmentation | None = None,
        limit: int | None = None,
    ) -> Batches:
        """Batches of normalized inputs (float32, N x C x H x W) and labels of one split.

        Args:
            split: ``train``, ``validation`` or ``test``.
            size: images a batch.
            shuffle_seed: fixes the order; None keeps that of the split.
            augment: see :class:`quietbar.data.Batches`.
            limit: only the first so many images of the split; None for all.
        """
        chosen = self.split(split)
        if limit is not None:
            require(1 <= limit <= len(chosen), "limit", limit, f"from 1 to {len(chosen)}, the images of {split}")
        images, labels = chosen.images[:limit], chosen.labels[:limit]
        return Batches(images, labels, size, shuffle_seed, augment, self.normalization)
