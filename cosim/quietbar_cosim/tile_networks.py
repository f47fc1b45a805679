"""Networks of tiles in co-simulation: their Verilog, and whole images with the classes that must come out."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from quietbar.contract.number import UINT8
from quietbar.integer.tile_network import TileNetwork

from .build import Design, design_of
from .bulk import Simulator
from .vectors import Vectors, pack, unpack

if TYPE_CHECKING:
    from quietbar.contract.tile_network import TileNetworkConfig


@functools.lru_cache(maxsize=4)
def tile_network_design(config: TileNetworkConfig) -> Design:
    """The Verilog of a network."""
    from quietbar_hw.crossbar import network

    return design_of(network.TileNetwork(config, network.NetworkFolding.choose(config)), "tile_network")


def image_beats(images: Tensor) -> np.ndarray:
    """Images (N, channels, height, width) as beats of one element, channel-last raster order."""
    return pack(images.permute(0, 2, 3, 1).reshape(-1, 1).numpy(), UINT8.bits)


def tile_network_vectors(network: TileNetwork, images: Tensor, prefix: str = "") -> Vectors:
    """Vectors of a network: its configuration, whole images, the reference's classes.

    Args:
        network: on its chip.
        images: codes (N, channels, height, width), 0 to 255.
        prefix: of the streams' names.
    """
    classes = network.classes(images)
    return Vectors(
        configuration=tuple(map(tuple, network.frames)),
        inputs=image_beats(images),
        frame_beats=network.config.image_elements,
        expected=pack(classes.reshape(-1, 1).numpy(), UINT8.bits),
        output_frame_beats=1,
        lanes=1,
        element=UINT8,
        axes=(("image", len(images)),),
        prefix=prefix,
    )


def classify(network: TileNetwork, images: Tensor) -> tuple[Tensor, int]:
    """The classes (N) that the RTL gives, in the bulk runner, and the cycles it took.

    Args:
        network: configured first, from reset.
        images: codes (N, channels, height, width), 0 to 255.

    Raises:
        StreamError: a stream rule was broken, or the hardware raised ``error``.
    """
    with Simulator(tile_network_design(network.config)) as simulator:
        run = simulator.run(
            network.frames,
            image_beats(images),
            frame_beats=network.config.image_elements,
            output_beats=len(images),
            output_frame_beats=1,
            reset=True,
        )
    return torch.from_numpy(unpack(run.output, 1, UINT8).reshape(-1)), run.cycles
