"""A small convolutional network for the 8x8 digits."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from quietbar.contract.errors import require_integer


class DigitsNetwork(nn.Module):
    """Four stages of 3x3 convolution, batch normalization and ReLU; then the mean of each channel and a linear layer.

    ``stage1`` to ``stage4`` are its taps. Inputs (N, 1, 8, 8), outputs of the stages (N, 16, 8, 8), (N, 16, 8, 8),
    (N, 32, 4, 4), (N, 32, 4, 4), class scores (N, classes).
    """

    def __init__(self, classes: int = 10) -> None:
        require_integer("digits_network.classes", classes, 2, 1 << 16)
        super().__init__()
        self.stage1 = _stage(1, 16)
        self.stage2 = _stage(16, 16)
        self.stage3 = _stage(16, 32, stride=2)
        self.stage4 = _stage(32, 32)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.linear = nn.Linear(32, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Class scores."""
        features = self.stage4(self.stage3(self.stage2(self.stage1(inputs))))
        scores: Tensor = self.linear(self.flatten(self.pool(features)))
        return scores


def digits_network(classes: int = 10) -> DigitsNetwork:
    """A new :class:`DigitsNetwork`: 16,794 parameters for ten classes."""
    return DigitsNetwork(classes)


def _stage(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            bn=nn.BatchNorm2d(outputs),
            relu=nn.ReLU(),
        )
    )
