"""Crossbar tiles in co-simulation, alone and with a denoising block behind: Verilog, vectors, explanations."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from quietbar.contract.crossbar import CrossbarConfig
from quietbar.contract.errors import require
from quietbar.contract.stream import seed_frame
from quietbar.files import write_atomically
from quietbar.integer import BlockParameters
from quietbar.integer.crossbar import Converter, convert, converter_frame, program, program_frame

from .blocks import block_vectors
from .build import Design, design_of
from .vectors import Vectors, pack

if TYPE_CHECKING:
    from quietbar.contract.block import BlockConfig
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


@dataclass(frozen=True, eq=False)
class Tile:
    """All that makes a tile what it is.

    Attributes:
        config: its shape.
        weights: int64 (rows, columns).
        converter: offsets, gains, shifts and read noise.
        programming_seed, reading_seed: of its noise.
    """

    config: CrossbarConfig
    weights: Tensor
    converter: Converter
    programming_seed: int
    reading_seed: int

    @functools.cached_property
    def conductances(self) -> tuple[Tensor, Tensor]:
        """G+ and G-, int64 (rows, columns)."""
        return program(self.config, self.weights, self.programming_seed)

    @property
    def frames(self) -> list[list[int]]:
        """The configuration frames that make the hardware this tile, ready to read."""
        return [
            *([seed_frame(self.programming_seed)] if self.config.noisy_programming else []),
            program_frame(self.config, self.weights),
            converter_frame(self.config, self.converter),
            seed_frame(self.reading_seed),
        ]

    def codes(self, x: Tensor, seed: int | None = None) -> Tensor:
        """The reference's ADC codes (N, columns) of input codes (N, rows), from sample 0 of the reading seed on."""
        return convert(self.config, *self.conductances, self.converter, x, self.reading_seed if seed is None else seed)


def crossbar_vectors(
    tile: Tile, x: Tensor, folding: CrossbarFolding, frame_vectors: int = 1, prefix: str = ""
) -> Vectors:
    """Vectors of a tile: configuration, input codes, the reference's ADC codes.

    Args:
        tile: what to configure.
        x: DAC codes (N, rows).
        folding: of the hardware.
        frame_vectors: input vectors to a frame, which ends with ``tlast``.
        prefix: of the streams' names.
    """
    config = tile.config
    codes = tile.codes(x)
    return Vectors(
        configuration=tuple(map(tuple, tile.frames)),
        inputs=pack(x.reshape(-1, folding.input_lanes).numpy(), config.dac_bits),
        frame_beats=frame_vectors * config.rows // folding.input_lanes,
        expected=pack(codes.reshape(-1, folding.output_lanes).numpy(), config.adc_bits),
        output_frame_beats=frame_vectors * config.columns // folding.output_lanes,
        lanes=folding.output_lanes,
        element=config.target,
        axes=(("vector", len(x)), ("column", config.columns)),
        prefix=prefix,
    )


def mixed_signal_vectors(
    tile: Tile,
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
    shape = (len(x), block.height, block.width, tile.config.rows)
    require(tuple(x.shape) == shape, "mixed_signal.x", tuple(x.shape), f"of shape {shape}")
    activations = tile.codes(x).permute(0, 3, 1, 2)
    behind = block_vectors(parameters, activations, folding.output_lanes, block_seed)
    frames = [*tile.frames, *(to_block(list(frame)) for frame in behind.configuration)]
    return Vectors(
        configuration=tuple(map(tuple, frames)),
        inputs=pack(x.reshape(-1, folding.input_lanes).numpy(), tile.config.dac_bits),
        frame_beats=block.pixels * tile.config.rows // folding.input_lanes,
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

    tile: Tile
    x: Tensor

    def explain(self, position: Mapping[str, int]) -> str:
        """Current, read noise, offset, gain and shift of a column for a vector."""
        tile, column = self.tile, position["column"]
        plus, minus = tile.conductances
        vector = self.x[position["vector"]]
        current = int((vector * (plus - minus)[:, column]).sum())
        index = position["vector"] * tile.config.columns + column
        converter = tile.converter
        return (
            f"current {current}, sample {index} of seed {tile.reading_seed} times read sigma {converter.read_sigma}, "
            f"offset {converter.offset[column]}, gain {converter.gain[column]}, shift {converter.shift[column]}"
        )

    def save(self, folder: Path) -> None:
        """Store the integers as ``tile.pt``, which holds tensors and plain values only."""
        buffer = BytesIO()
        tile = self.tile
        facts = {"config": tile.config.to_dict(), "converter": asdict(tile.converter)}
        seeds = {"programming_seed": tile.programming_seed, "reading_seed": tile.reading_seed}
        torch.save({**facts, **seeds, "weights": tile.weights, "x": self.x}, buffer)
        write_atomically(folder / "tile.pt", buffer.getvalue())

    @classmethod
    def load(cls, folder: Path) -> TileSubject:
        """The inverse of :meth:`save`."""
        stored = torch.load(folder / "tile.pt", weights_only=True)
        config, converter = CrossbarConfig(**stored["config"]), Converter(**stored["converter"])
        tile = Tile(config, stored["weights"], converter, stored["programming_seed"], stored["reading_seed"])
        return cls(tile, stored["x"])
