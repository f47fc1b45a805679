"""A small convolutional network on crossbar tiles, behaviourally, in integers: whole images in, a class out.

Each layer is a 3x3 convolution with zero padding on tiles of its own, which end in eight unsigned bits (a ReLU), maybe
with a denoising block behind. Row ``9 * channel + position`` of the tiles sees that channel at that position of the
window, positions in raster order. A stride of 2 keeps the windows of even rows and columns. Behind the last layer::

    mean_c  = (sum_p activation_pc + pixels / 2) >> log2(pixels)
    score_j = output j of the head's tiles for the vector of means
    class   = the first j with the highest score

Configuration frames carry the number of their part in the upper half of their first word: twice the layer's number
(the head's comes last) for tiles, one more for the layer's denoising block.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from .block import WINDOW, BlockConfig
from .crossbar import CrossbarConfig
from .errors import require, require_choice, require_integer
from .number import UINT8

PART_SHIFT = 16
"""Where the number of the part begins in the first word of a configuration frame."""


def to_part(frame: list[int], part: int) -> list[int]:
    """A configuration frame addressed to a part of a network."""
    return [frame[0] | part << PART_SHIFT, *frame[1:]]


@dataclass(frozen=True)
class LayerConfig:
    """A convolution layer.

    Attributes:
        height, width, channels: of its input.
        crossbar: its tiles; inputs are nine times the channels, the output is unsigned.
        stride: of the windows, 1 or 2.
        block: the denoising block behind it, or None.
    """

    height: int
    width: int
    channels: int
    crossbar: CrossbarConfig
    stride: int = 1
    block: BlockConfig | None = None

    def __post_init__(self) -> None:
        for field in ("height", "width", "channels"):
            require_integer(f"layer.{field}", getattr(self, field), 1, 1024)
        require_choice("layer.stride", self.stride, (1, 2))
        inputs = WINDOW * self.channels
        require(self.crossbar.inputs == inputs, "layer.crossbar.inputs", self.crossbar.inputs, f"{inputs}, windows")
        require(self.crossbar.source == UINT8, "layer.crossbar.source", self.crossbar.source, "eight bits in all")
        require(self.crossbar.output == "unsigned", "layer.crossbar.output", self.crossbar.output, "'unsigned'")
        if self.block is not None:
            shape = (self.crossbar.outputs, *self.size)
            found = (self.block.channels, self.block.height, self.block.width)
            require(found == shape, "layer.block", found, f"of channels, height and width {shape}")
            require(not self.block.signed, "layer.block.signed", self.block.signed, "False, as the tiles' outputs are")

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of its output."""
        return -(-self.height // self.stride), -(-self.width // self.stride)

    @property
    def pixels(self) -> int:
        """Pixels of its output: vectors of an image."""
        return self.size[0] * self.size[1]


@dataclass(frozen=True)
class TileNetworkConfig:
    """Layers one after the other, and the head.

    Attributes:
        layers: each takes what the one before gives.
        head: tiles of the linear layer, of signed outputs or plain sums.
    """

    layers: tuple[LayerConfig, ...]
    head: CrossbarConfig

    def __post_init__(self) -> None:
        require(len(self.layers) > 0, "network.layers", self.layers, "at least one")
        for number, (before, layer) in enumerate(zip(self.layers, self.layers[1:], strict=False), 1):
            shape = (*before.size, before.crossbar.outputs)
            found = (layer.height, layer.width, layer.channels)
            require(found == shape, f"network.layers[{number}]", found, f"{shape}, as the layer before gives")
        last = self.layers[-1]
        power = last.pixels & (last.pixels - 1) == 0
        require(power, "network.layers[-1].pixels", last.pixels, "a power of two, whose mean is a shift")
        inputs = last.crossbar.outputs
        require(self.head.inputs == inputs, "network.head.inputs", self.head.inputs, f"{inputs}, the last's outputs")
        require(self.head.source == UINT8, "network.head.source", self.head.source, "eight bits in all")
        require(self.head.output != "unsigned", "network.head.output", self.head.output, "'sums' or 'signed'")
        require(self.head.outputs <= 256, "network.head.outputs", self.head.outputs, "at most 256 classes")

    @property
    def mean_shift(self) -> int:
        """Places by which a channel's sum is shifted to be its mean."""
        return self.layers[-1].pixels.bit_length() - 1

    @property
    def image_elements(self) -> int:
        """Elements of an image, channel-last raster order."""
        first = self.layers[0]
        return first.height * first.width * first.channels

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, for manifests."""
        return asdict(self)
