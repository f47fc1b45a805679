"""From stored pixel values to a network's inputs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from quietbar.contract.errors import require


@dataclass(frozen=True)
class Normalization:
    """``(x / largest - mean) / std`` for each channel.

    Attributes:
        largest: stored value that stands for 1.
        mean: one a channel, of the values in [0, 1].
        std: one a channel, of the values in [0, 1].
    """

    largest: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        require(self.largest > 0, "normalization.largest", self.largest, "positive")
        require(len(self.mean) == len(self.std), "normalization.std", self.std, f"{len(self.mean)} values")
        require(all(std > 0 for std in self.std), "normalization.std", self.std, "positive")

    def __call__(self, images: Tensor) -> Tensor:
        """Float32 inputs, of the shape of ``images`` (N, C, H, W)."""
        channels = len(self.mean)
        require(images.shape[1] == channels, "images.shape[1]", images.shape[1], f"{channels} channels")
        scale = torch.tensor([1.0 / (self.largest * std) for std in self.std]).view(1, -1, 1, 1)
        shift = torch.tensor([-mean / std for mean, std in zip(self.mean, self.std, strict=True)]).view(1, -1, 1, 1)
        return (
            images.to(torch.float32).mul_(scale).add_(shift)
            if images.dtype != torch.float32
            else images * scale + shift
        )
