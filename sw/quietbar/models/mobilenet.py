"""MobileNetV2 (Sandler et al., arXiv 1801.04381) with the strides usual for 32 x 32 pixels."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from quietbar.contract.errors import require_choice, require_integer

WIDTHS = (0.35, 0.5, 0.75, 1.0, 1.4)
"""Multipliers of all channels that have published parameter counts."""

STEM, HEAD = 32, 1280
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, output channels, blocks, stride of the first block (table 2; there, 24 channels begin with 2)."""


class InvertedResidual(nn.Module):
    """1x1 expansion, depthwise 3x3, linear 1x1 projection; the input is added where shapes agree.

    Where they do not, all of the network's information passes ``expand`` and ``depthwise``: they are taps.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.expand = _stage(inputs, wide, 1) if expansion > 1 else nn.Identity()
        self.depthwise = _stage(wide, wide, 3, stride, groups=wide)
        self.project = _stage(wide, outputs, 1, activation=False)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        features: Tensor = self.project(self.depthwise(self.expand(inputs)))
        return features + inputs if self.adds else features


class MobileNetV2(nn.Module):
    """Stem, seventeen inverted residuals with ReLU6, head, mean of each channel, linear layer.

    Differs from the paper as is the custom for small images: the stem and the stage of 24 channels keep the frame's
    size, so that the head sees 4 x 4 pixels; parameters are as many. No dropout. Inputs (N, 3, 32, 32), class scores
    (N, classes).
    """

    def __init__(self, width: float = 1.0, classes: int = 10) -> None:
        require_choice("mobilenetv2.width", width, WIDTHS)
        require_integer("mobilenetv2.classes", classes, 2, 1 << 16)
        super().__init__()
        inputs, head = _channels(STEM, width), _channels(HEAD, max(1.0, width))
        self.stem = _stage(3, inputs, 3)
        blocks = []
        for expansion, channels, count, stride in STAGES:
            outputs = _channels(channels, width)
            for number in range(count):
                blocks.append(InvertedResidual(inputs, outputs, stride if number == 0 else 1, expansion))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = _stage(inputs, head, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.linear = nn.Linear(head, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
        # Training takes 0.6 of the time with channels last; the layers' results keep the layout.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, inputs: Tensor) -> Tensor:
        """Class scores."""
        features = self.head(self.blocks(self.stem(inputs)))
        scores: Tensor = self.linear(self.flatten(self.pool(features)))
        return scores


def mobilenetv2(width: float = 1.0, classes: int = 10) -> MobileNetV2:
    """A new MobileNetV2 of a width: 0.41, 0.70, 1.37, 2.24 or 4.33 million parameters for ten classes.

    Raises:
        ConfigurationError: another width.
    """
    return MobileNetV2(width, classes)


def _channels(channels: int, width: float) -> int:
    """``width`` times ``channels``, rounded to a multiple of 8, never below 0.9 times (the published code's rule)."""
    scaled = channels * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded


def _stage(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, activation: bool = True
) -> nn.Sequential:
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        conv=nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        bn=nn.BatchNorm2d(outputs),
    )
    if activation:
        parts["relu"] = nn.ReLU6()
    return nn.Sequential(parts)
