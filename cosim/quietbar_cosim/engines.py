"""Traffic for engines: resident blocks, frames of several of them in a row, and what the reference makes of them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from quietbar.contract import BlockConfig, ConfigurationError
from quietbar.contract.descriptor import Descriptor, place
from quietbar.contract.engine import EngineConfig
from quietbar.contract.requantize import SHIFT_HIGH, SHIFT_LOW
from quietbar.contract.sources import KINDS
from quietbar.integer import BlockParameters, random_parameters, run_block
from quietbar.integer.engine import Write, block_writes, seed_writes

from .blocks import as_bytes, random_frames
from .vectors import Beats


@dataclass(frozen=True)
class Beat:
    """A beat of an engine's data streams.

    Attributes:
        data: of all lanes, lane 0 in the low bits.
        last: ``tlast``.
        block: ``tid``.
        bad: ``tuser`` (out only).
    """

    data: int
    last: bool
    block: int
    bad: bool = False


def beats_of_frame(frame: Tensor, block: BlockConfig, engine: EngineConfig, fill: Sequence[int]) -> Beats:
    """A frame [C, H, W] as beats of the engine's lanes; channels that fill up a beat hold ``fill``, one a beat."""
    elements = np.ascontiguousarray(as_bytes(frame, block).permute(1, 2, 0).numpy()).view(np.uint8)
    short = -block.channels % engine.lanes
    beats = np.pad(elements, ((0, 0), (0, 0), (0, short))).reshape(-1, engine.lanes)
    if short:
        pixel_beats = -(-block.channels // engine.lanes)
        beats[pixel_beats - 1 :: pixel_beats, engine.lanes - short :] = np.array(fill, dtype=np.uint8)[:, None]
    return beats


@dataclass(frozen=True, eq=False)
class EngineCase:
    """Resident blocks and frames of theirs.

    Attributes:
        engine: that runs them.
        parameters: of each block, by ``tid``.
        order: the ``tid`` of each frame.
        frames: integers [C, H, W], one a frame.
        seed: of the Gaussian source; its samples run on from one sampling frame to the next.
    """

    engine: EngineConfig
    parameters: tuple[BlockParameters, ...]
    order: tuple[int, ...]
    frames: tuple[Tensor, ...]
    seed: int = 0

    @classmethod
    def random(cls, engine: EngineConfig, blocks: Sequence[BlockConfig], order: Sequence[int], seed: int) -> EngineCase:
        """Random parameters and frames over their closed ranges, the same for the same seed."""
        parameters = tuple(random_parameters(block, seed + number) for number, block in enumerate(blocks))
        frames = tuple(random_frames(blocks[block], 1, seed + 1000 + at)[0] for at, block in enumerate(order))
        return cls(engine, parameters, tuple(order), frames, seed)

    @property
    def blocks(self) -> tuple[BlockConfig, ...]:
        """Shapes and modes of the resident blocks."""
        return tuple(each.config for each in self.parameters)

    @property
    def descriptors(self) -> list[Descriptor]:
        """The blocks one after the other in memory."""
        return place(self.engine, self.blocks)

    @property
    def writes(self) -> list[Write]:
        """What makes the engine ready: parameters, descriptors, and a seed where there is a source."""
        found: list[Write] = []
        for number, (descriptor, parameters) in enumerate(zip(self.descriptors, self.parameters, strict=True)):
            found += block_writes(self.engine, descriptor, parameters, number)
        return [*found, *(seed_writes(self.engine, self.seed) if self.engine.noise else ())]

    def without(self, lost: Sequence[int]) -> EngineCase:
        """The case less some of its frames, by their place; samples run on over what is left."""
        kept = [at for at in range(len(self.order)) if at not in lost]
        return replace(self, order=tuple(self.order[at] for at in kept), frames=tuple(self.frames[at] for at in kept))

    @cached_property
    def expected_frames(self) -> list[Tensor]:
        """What the reference makes of each frame."""
        found, sample = [], 0
        for block, frame in zip(self.order, self.frames, strict=True):
            parameters = self.parameters[block]
            config = parameters.config
            denoised = run_block(
                config, parameters, frame[None], self.seed, start_sample=sample, source=self.engine.source
            )
            found.append(denoised[0])
            if config.mode == "sampling":
                sample += config.pixels * config.channels
        return found

    def _beats(self, frames: Sequence[Tensor]) -> list[list[Beat]]:
        found: list[list[Beat]] = []
        for block, frame, given in zip(self.order, frames, self.frames, strict=True):
            config = self.parameters[block].config
            source = random.Random(given.numpy().tobytes())
            fill = [source.randrange(256) for _ in range(config.pixels)]
            beats = beats_of_frame(frame, config, self.engine, fill)
            data = [int.from_bytes(beat.tobytes(), "little") for beat in beats]
            found.append([Beat(each, at == len(data) - 1, block) for at, each in enumerate(data)])
        return found

    @cached_property
    def inputs(self) -> list[list[Beat]]:
        """Beats in, by frame. Lanes without a channel hold anything."""
        return self._beats(self.frames)

    @cached_property
    def expected(self) -> list[list[Beat]]:
        """Beats out, by frame. Lanes without a channel hold what they held."""
        return self._beats(self.expected_frames)


def random_engine(source: random.Random) -> EngineConfig:
    """A small engine of any shape."""
    lanes, group = source.choice([1, 2, 4]), source.choice([1, 2, 4])
    outputs = source.choice([each for each in (1, 2, 4) if each <= group])
    engine = EngineConfig(
        lanes=lanes,
        group=group,
        outputs=outputs,
        channels=lanes * source.randint(1, 4),
        hidden=group * source.randint(1, 3),
        height=source.randint(1, 6),
        width=source.randint(1, 6),
        blocks=source.randint(1, 5),
        matrix_rows=source.randint(30, 70),
        window_rows=source.randint(80, 200),
        hidden_rows=source.randint(8, 20),
        channel_rows=source.randint(8, 24),
        noise=lanes > 1 and source.random() < 0.6,
        kernels=source.choice(["both", "both", "dense", "depthwise"]),
        fraction_bits=source.choice([4, 4, 1, 7]),
    )
    # Not drawn, so that a seed goes on making the engine that it always made.
    return replace(engine, source=KINDS[engine.matrix_rows % len(KINDS)])


def random_blocks(engine: EngineConfig, source: random.Random) -> list[BlockConfig]:
    """As many blocks as fit one after the other, of any shape that the engine runs."""
    blocks: list[BlockConfig] = []
    for _ in range(3 * engine.blocks):
        block = BlockConfig(
            source.randint(1, engine.channels),
            source.randint(1, engine.hidden),
            source.randint(1, engine.height),
            source.randint(1, engine.width),
            source.choice(["dense", "depthwise"]),
            source.choice(["mean", "sampling"]),
            source.random() < 0.5,
            engine.fraction_bits,
        )
        try:
            place(engine, [*blocks, block])
        except ConfigurationError:
            continue
        blocks.append(block)
    return blocks


def spread_shifts(parameters: BlockParameters, source: random.Random) -> None:
    """Give every output of a block any shift that there is."""
    for stage in parameters.stages.values():
        shifts = [source.randint(SHIFT_LOW, SHIFT_HIGH) for _ in stage.shift]
        stage.shift.copy_(torch.tensor(shifts, dtype=stage.shift.dtype))


def random_case(seed: int, frames: int = 6) -> EngineCase:
    """A random engine with random blocks and frames of them in random order, the same for the same seed."""
    source = random.Random(seed)
    while True:
        engine = random_engine(source)
        blocks = random_blocks(engine, source)
        if blocks:
            order = [source.randrange(len(blocks)) for _ in range(frames)]
            return EngineCase.random(engine, blocks, order, seed)
