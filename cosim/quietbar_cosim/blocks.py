"""Denoising blocks in co-simulation: their Verilog, what goes over their streams, how the reference explains it."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from quietbar.contract.block import SIGMA, BlockConfig
from quietbar.contract.stream import seed_frame
from quietbar.files import write_atomically
from quietbar.integer import BlockParameters, StageParameters, parameter_frame, run_block

from .build import Design, design_of
from .vectors import Beats, Vectors

if TYPE_CHECKING:
    from quietbar_hw.denoiser import Folding

LANES = (4, 2, 1)
"""Channels to a beat: the first of these that divides the number of channels, unless a folding is given."""


def choose_folding(config: BlockConfig) -> Folding:
    """The folding of a block where the user names none: balanced, at the widest stream that fits."""
    from quietbar_hw.denoiser import Folding

    return Folding.choose(config, next(lanes for lanes in LANES if config.channels % lanes == 0))


@functools.lru_cache(maxsize=64)
def denoiser_design(config: BlockConfig, folding: Folding) -> Design:
    """The Verilog of a denoiser, as ``quietbar verilog`` writes it."""
    from quietbar_hw.denoiser import AxiDenoiser

    return design_of(AxiDenoiser(config, folding), "quietbar_denoiser")


def to_beats(frames: Tensor, lanes: int) -> Beats:
    """8-bit frames [N, C, H, W] as beats of ``lanes`` channels, in channel-last raster order."""
    return np.ascontiguousarray(frames.permute(0, 2, 3, 1).numpy()).view(np.uint8).reshape(-1, lanes)


def from_beats(beats: Beats, config: BlockConfig) -> Tensor:
    """The inverse of :func:`to_beats`: int8 or uint8 [N, C, H, W]."""
    elements = beats.view(np.int8 if config.signed else np.uint8)
    frames = torch.from_numpy(elements).reshape(-1, config.height, config.width, config.channels)
    return frames.permute(0, 3, 1, 2).contiguous()


def as_bytes(frames: Tensor, config: BlockConfig) -> Tensor:
    """Frames of any integer type in the type of the tap: int8 or uint8."""
    return frames.to(torch.int8 if config.signed else torch.uint8)


def noise_lanes(lanes: int) -> int:
    """Pairs of Gaussian samples that a denoiser draws at a time."""
    return max(1, lanes // 2)


def seed_words(config: BlockConfig, lanes: int, seed: int, start_frame: int) -> list[int]:
    """The SEED frame after which the denoiser draws what frame ``start_frame`` of ``seed`` needs.

    Samples come in pairs, so the number of samples before that frame must be even.
    """
    samples = start_frame * config.pixels * config.channels
    assert samples % 2 == 0, "frames of an odd number of outputs start in the middle of a pair: begin one frame earlier"
    return seed_frame(seed, noise_lanes(lanes), samples // 2)


def block_vectors(
    parameters: BlockParameters, frames: Tensor, lanes: int, seed: int = 0, start_frame: int = 0, prefix: str = ""
) -> Vectors:
    """Vectors of a whole block: parameters, seed in sampling mode, frames in, the reference's frames out.

    Args:
        parameters: of the block, with its configuration.
        frames: integers [N, C, H, W].
        lanes: channels to a beat.
        seed, start_frame: of the Gaussian source.
        prefix: of the streams' names.
    """
    config = parameters.config
    configuration = [parameter_frame(config, parameters)]
    if config.mode == "sampling":
        configuration.append(seed_words(config, lanes, seed, start_frame))
    frame_beats = config.pixels * config.channels // lanes
    expected = run_block(config, parameters, frames, seed, start_frame)
    axes = ("frame", len(frames)), ("row", config.height), ("column", config.width), ("channel", config.channels)
    return Vectors(
        configuration=tuple(map(tuple, configuration)),
        inputs=to_beats(as_bytes(frames, config), lanes),
        frame_beats=frame_beats,
        expected=to_beats(as_bytes(expected, config), lanes),
        output_frame_beats=frame_beats,
        lanes=lanes,
        element=config.activation,
        axes=axes,
        prefix=prefix,
    )


@dataclass(frozen=True, eq=False)
class BlockSubject:
    """A block and the frames it was given, for telling how the reference arrives at an output.

    Attributes:
        parameters: of the block; their ``name`` is the tap's.
        frames: integers [N, C, H, W].
        seed, start_frame: of the Gaussian source.
    """

    parameters: BlockParameters
    frames: Tensor
    seed: int = 0
    start_frame: int = 0

    def explain(self, position: Mapping[str, int]) -> str:
        """Accumulator, multiplier and shift of the heads, the draw and the noise at a position of the output."""
        config, number = self.parameters.config, position["frame"]
        frame = self.frames[number : number + 1]
        denoised, trace = run_block(config, self.parameters, frame, self.seed, self.start_frame + number, trace=True)
        channel = position["channel"]
        place = 0, channel, position["row"], position["column"]
        lines = [f"tap {self.parameters.name}, input {int(frame[place])}, seed {self.seed}"]
        for name in ("mean", "log_sigma") if config.mode == "sampling" else ("mean",):
            stage = self.parameters.stages[name]
            lines.append(
                f"{name}: accumulator {int(trace.accumulators[name][place])}, "
                f"multiplier {int(stage.multiplier[channel])}, shift {int(stage.shift[channel])}, "
                f"result {int(trace.outputs[name][place])}"
            )
        if trace.samples is not None:
            ell = int(trace.outputs["log_sigma"][place])
            lines.append(f"sigma[{ell}] {SIGMA[ell]}, sample {int(trace.samples[place])}")
        lines.append(f"noise {int(trace.noise[place])} / {1 << config.fraction_bits}, output {int(denoised[place])}")
        return "\n".join(lines)

    def save(self, folder: Path) -> None:
        """Store the integers as ``block.pt``, which holds tensors and plain values only."""
        buffer = BytesIO()
        stages = {name: stage.to_dict() for name, stage in self.parameters.stages.items()}
        facts = {"config": self.parameters.config.to_dict(), "name": self.parameters.name, "stages": stages}
        torch.save({**facts, "frames": self.frames, "seed": self.seed, "start_frame": self.start_frame}, buffer)
        write_atomically(folder / "block.pt", buffer.getvalue())

    @classmethod
    def load(cls, folder: Path) -> BlockSubject:
        """The inverse of :meth:`save`."""
        stored = torch.load(folder / "block.pt", weights_only=True)
        stages = {name: StageParameters(**tensors) for name, tensors in stored["stages"].items()}
        parameters = BlockParameters(BlockConfig.from_dict(stored["config"]), stages, stored["name"])
        return cls(parameters, stored["frames"], stored["seed"], stored["start_frame"])


def random_frames(config: BlockConfig, count: int, seed: int) -> Tensor:
    """Frames over the closed range of the tap, one pixel in four an extreme: int8 or uint8 [count, C, H, W]."""
    generator = np.random.default_rng(seed)
    shape = count, config.channels, config.height, config.width
    low, high = config.activation.low, config.activation.high
    frames = generator.integers(low, high, shape, endpoint=True)
    chosen = generator.integers(0, 8, shape)
    frames = np.select([chosen == 0, chosen == 1], [low, high], frames)
    return as_bytes(torch.from_numpy(frames), config)
