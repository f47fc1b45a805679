"""Crossbar tiles in co-simulation, alone and with a denoising block behind: Verilog, vectors, explanations."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from quietbar.contract.errors import require
from quietbar.files import write_atomically
from quietbar.integer import BlockParameters
from quietbar.integer.tiles import Tiles

from .blocks import block_vectors
from .build import Design, design_of
from .vectors import Vectors, pack

if TYPE_CHECKING:
    from quietbar.contract.block import BlockConfig
    from quietbar.contract.crossbar import CrossbarConfig
    from quietbar_hw.crossbar.folding import CrossbarFolding
    from quietbar_hw.denoiser import Folding


@functools.lru_cache(maxsize=16)
def crossbar_design(config: CrossbarConfig, folding: CrossbarFolding) -> Design:
    """The Verilog of a tile."""
    from quietbar_hw.crossbar.top import AxiCrossbar

    return design_of(AxiCrossbar(config, folding), "crossbar")


@functools.lru_cache(maxsize=16)
def mixed_signal_design(
    crossbar: CrossbarConfig, block: BlockConfig, crossbar_folding: CrossbarFolding, block_folding: Folding
) -> Design:
    """The Verilog of a tile with a denoising block behind it."""
    from quietbar_hw.crossbar.mixed import MixedSignalLayer

    return design_of(MixedSignalLayer(crossbar, block, crossbar_folding, block_folding), "mixed_signal_layer")


def crossbar_vectors(
    tile: Tiles, x: Tensor, folding: CrossbarFolding, frame_vectors: int = 1, prefix: str = ""
) -> Vectors:
    """Vectors of tiles: configuration, input codes, the reference's outputs.

    Args:
        tile: what to configure.
        x: input codes (N, inputs).
        folding: of the hardware.
        frame_vectors: input vectors to a frame, which ends with ``tlast``.
        prefix: of the streams' names.
    """
    config = tile.config
    codes = tile.outputs(x)
    return Vectors(
        configuration=tuple(map(tuple, tile.frames)),
        inputs=pack(x.reshape(-1, folding.input_lanes).numpy(), config.source.bits),
        frame_beats=frame_vectors * config.inputs // folding.input_lanes,
        expected=pack(codes.reshape(-1, folding.output_lanes).numpy(), config.target.bits),
        output_frame_beats=frame_vectors * config.outputs // folding.output_lanes,
        lanes=folding.output_lanes,
        element=config.target,
        axes=(("vector", len(x)), ("column", config.outputs)),
        prefix=prefix,
    )


def mixed_signal_vectors(
    tile: Tiles,
    parameters: BlockParameters,
    x: Tensor,
    folding: CrossbarFolding,
    block_seed: int = 0,
    prefix: str = "",
) -> Vectors:
    """Vectors of a mixed-signal layer: input codes through the integer tile, its codes through the integer block.

    Args:
        tile: what to configure.
        parameters: of the block; its channels are the tile's columns.
        x: DAC codes (frames, height, width, rows), e.g. the patches of images.
        folding: of the tile; its output lanes are the block's lanes.
        block_seed: of the block's Gaussian source (sampling mode).
        prefix: of the streams' names.
    """
    from quietbar_hw.crossbar.mixed import to_block

    block = parameters.config
    shape = (len(x), block.height, block.width, tile.config.inputs)
    require(tuple(x.shape) == shape, "mixed_signal.x", tuple(x.shape), f"of shape {shape}")
    activations = tile.outputs(x).permute(0, 3, 1, 2)
    behind = block_vectors(parameters, activations, folding.output_lanes, block_seed)
    frames = [*tile.frames, *(to_block(list(frame)) for frame in behind.configuration)]
    return Vectors(
        configuration=tuple(map(tuple, frames)),
        inputs=pack(x.reshape(-1, folding.input_lanes).numpy(), tile.config.source.bits),
        frame_beats=block.pixels * tile.config.inputs // folding.input_lanes,
        expected=behind.expected,
        output_frame_beats=behind.output_frame_beats,
        lanes=behind.lanes,
        element=behind.element,
        axes=behind.axes,
        prefix=prefix,
    )


@dataclass(frozen=True, eq=False)
class TileSubject:
    """A tile and the input it was given, for telling how the reference arrives at a code."""

    tile: Tiles
    x: Tensor

    def explain(self, position: Mapping[str, int]) -> str:
        """Current, read noise, offset, gain and shift of each conversion of a column for a vector."""
        tile, column, config = self.tile, position["column"], self.tile.config
        plus, minus = tile.conductances
        difference, vector, converter = (plus - minus)[:, column], self.x[position["vector"]], tile.converter
        lines = []
        for part, row_tile in itertools.product(range(config.slices), range(config.row_tiles)):
            rows = slice(row_tile * config.rows, (row_tile + 1) * config.rows)
            applied = (vector[rows] >> (part * config.dac_bits)) & config.dac.high
            entry = row_tile * config.outputs + column
            conversion = (position["vector"] * config.slices + part) * config.row_tiles * config.outputs + entry
            where = f"slice {part}, tile {row_tile}: " if config.conversions > config.outputs else ""
            lines.append(
                f"{where}current {int((applied * difference[rows]).sum())}, sample {conversion} of seed "
                f"{tile.reading_seed} times read sigma {converter.read_sigma}, offset {converter.offset[entry]}, "
                f"gain {converter.gain[entry]}, shift {converter.shift[entry]}"
            )
        if tile.scale is not None:
            bias, multiplier, shift = (
                each[column] for each in (tile.scale.bias, tile.scale.multiplier, tile.scale.shift)
            )
            lines.append(f"scale: bias {bias}, multiplier {multiplier}, shift {shift}")
        return "\n".join(lines)

    def save(self, folder: Path) -> None:
        """Store the integers as ``tile.pt``, which holds tensors and plain values only."""
        buffer = BytesIO()
        torch.save({"tiles": self.tile.to_dict(), "x": self.x}, buffer)
        write_atomically(folder / "tile.pt", buffer.getvalue())

    @classmethod
    def load(cls, folder: Path) -> TileSubject:
        """The inverse of :meth:`save`."""
        stored = torch.load(folder / "tile.pt", weights_only=True)
        return cls(Tiles.from_dict(stored["tiles"]), stored["x"])
