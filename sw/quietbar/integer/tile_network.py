"""A small convolutional network on crossbar tiles, in integers; equal to :mod:`quietbar.contract.tile_network`.

classes = TileNetwork(layers, head).classes(images)
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from quietbar.contract.errors import require
from quietbar.contract.number import UINT8
from quietbar.contract.tile_network import LayerConfig, TileNetworkConfig, to_part

from .block import run_block
from .conductances import check_integers
from .parameters import BlockParameters, parameter_frame
from .tiles import Tiles


@dataclass(frozen=True, eq=False)
class Layer:
    """A convolution on tiles, and the denoising block behind it.

    Attributes:
        config: their shape.
        tiles: as they stand on a chip.
        block: parameters of the block, where ``config.block`` is one; in mean mode, which needs no seed.
    """

    config: LayerConfig
    tiles: Tiles
    block: BlockParameters | None = None

    def __post_init__(self) -> None:
        require(self.tiles.config == self.config.crossbar, "layer.tiles", self.tiles.config, f"{self.config.crossbar}")
        found = None if self.block is None else self.block.config
        require(found == self.config.block, "layer.block", found, f"{self.config.block}")
        if found is not None:
            require(found.mode == "mean", "layer.block.mode", found.mode, "'mean'")

    def windows(self, activations: Tensor) -> Tensor:
        """The vectors (N, pixels, 9 * channels) of activations (N, channels, height, width)."""
        unfolded = nn.functional.unfold(activations.float(), 3, padding=1, stride=self.config.stride)
        return unfolded.transpose(1, 2).long()

    def behind_tiles(self, activations: Tensor, start_image: int = 0) -> Tensor:
        """Activations (N, outputs, height, width) behind the tiles, int64, 0 to 255; arguments as of calls."""
        found = self.tiles.outputs(self.windows(activations), start_vector=start_image * self.config.pixels)
        return found.transpose(1, 2).reshape(len(activations), -1, *self.config.size)

    def __call__(self, activations: Tensor, start_image: int = 0) -> Tensor:
        """Activations (N, outputs, height, width) behind tiles and block, int64, 0 to 255.

        Args:
            activations: (N, channels, height, width), 0 to 255.
            start_image: images converted since the reading seed was set.
        """
        images = self.behind_tiles(activations, start_image)
        if self.block is None:
            return images
        return run_block(self.block.config, self.block, images.to(torch.uint8)).long()


@dataclass(frozen=True, eq=False)
class TileNetwork:
    """Layers and head.

    Attributes:
        layers: the convolutions.
        head: tiles of the linear layer.
    """

    layers: tuple[Layer, ...]
    head: Tiles

    def __post_init__(self) -> None:
        _ = self.config

    @property
    def config(self) -> TileNetworkConfig:
        """The network's shape."""
        return TileNetworkConfig(tuple(layer.config for layer in self.layers), self.head.config)

    @property
    def parts(self) -> dict[int, Tiles | BlockParameters]:
        """Tiles and blocks by the numbers that configuration frames carry."""
        found: dict[int, Tiles | BlockParameters] = {}
        for number, layer in enumerate(self.layers):
            found[2 * number] = layer.tiles
            if layer.block is not None:
                found[2 * number + 1] = layer.block
        return found | {2 * len(self.layers): self.head}

    @property
    def frames(self) -> list[list[int]]:
        """The configuration frames that make the hardware this network."""
        found = []
        for number, part in self.parts.items():
            own = part.frames if isinstance(part, Tiles) else [parameter_frame(part.config, part)]
            found += [to_part(frame, number) for frame in own]
        return found

    def scores(self, images: Tensor, start_image: int = 0) -> Tensor:
        """Class scores (N, classes), int64.

        Args:
            images: (N, channels, height, width), 0 to 255.
            start_image: images that went through since the reading seeds were set.
        """
        first = self.layers[0].config
        shape = (len(images), first.channels, first.height, first.width)
        activations = check_integers("network.images", images, shape, UINT8.low, UINT8.high)
        for layer in self.layers:
            activations = layer(activations, start_image)
        pixels, places = self.config.layers[-1].pixels, self.config.mean_shift
        means = (activations.sum((2, 3)) + pixels // 2) >> places
        return self.head.outputs(means, start_vector=start_image)

    def classes(self, images: Tensor, start_image: int = 0) -> Tensor:
        """The classes (N), int64: the first of the highest scores."""
        # `argmax` does not say which of several maxima it takes.
        scores = self.scores(images, start_image)
        highest = scores == scores.max(1, keepdim=True).values
        return highest.int().cumsum(1).eq(0).sum(1)

    def at(self, time: int) -> TileNetwork:
        """The same network at another time step."""
        return replace(
            self,
            layers=tuple(replace(layer, tiles=layer.tiles.at(time)) for layer in self.layers),
            head=self.head.at(time),
        )

    def without_denoising(self) -> TileNetwork:
        """The same network with blocks that estimate no noise: in the same hardware, nothing is denoised."""

        def idle(block: BlockParameters | None) -> BlockParameters | None:
            if block is None:
                return None
            mean = block.stages["mean"]
            silent = replace(mean, weights=torch.zeros_like(mean.weights), bias=torch.zeros_like(mean.bias))
            return replace(block, stages={**block.stages, "mean": silent})

        return replace(self, layers=tuple(replace(layer, block=idle(layer.block)) for layer in self.layers))
