"""The residual networks for CIFAR-10 of He et al. (arXiv 1512.03385, section 4.2), with parameter-free shortcuts."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from quietbar.contract.errors import require_choice, require_integer

DEPTHS = (20, 32, 44, 56)
WIDTHS = (16, 32, 64)


class Subsample(nn.Module):
    """Every second row and column, and zero channels in front and behind until there are ``channels`` (option A)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, C, H, W) to (N, channels, ceil(H / 2), ceil(W / 2))."""
        missing = self.channels - inputs.shape[1]
        return functional.pad(inputs[:, :, ::2, ::2], (0, 0, 0, 0, missing // 2, missing - missing // 2))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch normalization, added to their own input; ends with a ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu2 = nn.ReLU()
        self.shortcut = nn.Identity() if stride == 1 and inputs == outputs else Subsample(outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        hidden = self.relu1(self.bn1(self.conv1(inputs)))
        outputs: Tensor = self.relu2(self.bn2(self.conv2(hidden)) + self.shortcut(inputs))
        return outputs


class ResNet(nn.Module):
    """6n + 2 layers: a convolution, three layers of n blocks with 16, 32 and 64 channels, and a linear layer.

    The blocks ``layer1.0``, ``layer1.1``, ... are its taps. The names of parameters are those of the published weights.
    Inputs (N, 3, H, W), class scores (N, classes).
    """

    def __init__(self, depth: int, classes: int = 10) -> None:
        require_integer("resnet.classes", classes, 2, 1 << 16)
        super().__init__()
        blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.relu = nn.ReLU()
        self.layer1 = _layer(WIDTHS[0], WIDTHS[0], 1, blocks)
        self.layer2 = _layer(WIDTHS[0], WIDTHS[1], 2, blocks)
        self.layer3 = _layer(WIDTHS[1], WIDTHS[2], 2, blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.linear = nn.Linear(WIDTHS[2], classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, inputs: Tensor) -> Tensor:
        """Class scores."""
        features = self.relu(self.bn1(self.conv1(inputs)))
        features = self.layer3(self.layer2(self.layer1(features)))
        scores: Tensor = self.linear(self.flatten(self.pool(features)))
        return scores


def resnet(depth: int, classes: int = 10) -> ResNet:
    """A new residual network of 20, 32, 44 or 56 layers: 0.27, 0.46, 0.66 or 0.85 million parameters.

    Raises:
        ConfigurationError: another depth.
    """
    require_choice("resnet.depth", depth, DEPTHS)
    return ResNet(depth, classes)


def _layer(inputs: int, outputs: int, stride: int, blocks: int) -> nn.Sequential:
    first = BasicBlock(inputs, outputs, stride)
    return nn.Sequential(first, *(BasicBlock(outputs, outputs) for _ in range(blocks - 1)))
