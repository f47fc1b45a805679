"""A small convolutional network that trains in about a minute on one core."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from quietbar.contract.errors import require_integer

WIDTHS = (16, 32, 64)


class SmallNetwork(nn.Module):
    """Three stages of 3x3 convolution, batch normalization and ReLU; then the mean of each channel and a linear layer.

    The second and third stage halve the image. ``stage1`` to ``stage3`` are its taps. Inputs (N, channels, H, W), class
    scores (N, classes).
    """

    def __init__(self, classes: int = 10, channels: int = 3) -> None:
        require_integer("small_network.classes", classes, 2, 1 << 16)
        require_integer("small_network.channels", channels, 1, 1 << 16)
        super().__init__()
        self.stage1 = _stage(channels, WIDTHS[0], 1)
        self.stage2 = _stage(WIDTHS[0], WIDTHS[1], 2)
        self.stage3 = _stage(WIDTHS[1], WIDTHS[2], 2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.linear = nn.Linear(WIDTHS[2], classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Class scores."""
        features = self.stage3(self.stage2(self.stage1(inputs)))
        scores: Tensor = self.linear(self.flatten(self.pool(features)))
        return scores


def small_network(classes: int = 10, channels: int = 3) -> SmallNetwork:
    """A new :class:`SmallNetwork`: 24,346 parameters for color images and ten classes."""
    return SmallNetwork(classes, channels)


def _stage(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            bn=nn.BatchNorm2d(outputs),
            relu=nn.ReLU(),
        )
    )
