"""VGG networks (Simonyan and Zisserman, arXiv 1409.1556, configurations A, B and D), as usual for 32 x 32 pixels."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from quietbar.contract.errors import require_choice, require_integer

WIDTHS = (64, 128, 256, 512, 512)
CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3)}
"""By depth (the paper's count, with its three linear layers): the 3x3 convolutions of each of the five stages."""

VGG_DEPTHS = tuple(CONVOLUTIONS)


class VGG(nn.Module):
    """Five stages of 3x3 convolutions with batch normalization and ReLU, each halved by a maximum; a linear layer.

    Differs from the paper as is the custom for small images: batch normalization, and one linear layer in place of
    three. ``stage1`` to ``stage5`` are its taps. Inputs (N, 3, 32, 32), class scores (N, classes).
    """

    def __init__(self, depth: int, classes: int = 10) -> None:
        require_choice("vgg.depth", depth, VGG_DEPTHS)
        require_integer("vgg.classes", classes, 2, 1 << 16)
        super().__init__()
        inputs = (3, *WIDTHS)
        stages = [_stage(*each) for each in zip(inputs, WIDTHS, CONVOLUTIONS[depth], strict=False)]
        self.stage1, self.stage2, self.stage3, self.stage4, self.stage5 = stages
        self.pool = nn.MaxPool2d(2)
        self.flatten = nn.Flatten()
        self.linear = nn.Linear(WIDTHS[-1], classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, inputs: Tensor) -> Tensor:
        """Class scores."""
        features = inputs
        for stage in (self.stage1, self.stage2, self.stage3, self.stage4, self.stage5):
            features = self.pool(stage(features))
        scores: Tensor = self.linear(self.flatten(features))
        return scores


def vgg(depth: int, classes: int = 10) -> VGG:
    """A new network of 11, 13 or 16 layers in the paper's count: 9.2, 9.4 or 14.7 million parameters.

    Raises:
        ConfigurationError: another depth.
    """
    return VGG(depth, classes)


def _stage(inputs: int, outputs: int, convolutions: int) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number in range(1, convolutions + 1):
        layers[f"conv{number}"] = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        layers[f"bn{number}"] = nn.BatchNorm2d(outputs)
        layers[f"relu{number}"] = nn.ReLU()
        inputs = outputs
    return nn.Sequential(layers)
