"""The engine's RTL as PyTorch modules: one image in its memory, one module a tap."""

from __future__ import annotations

import functools
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from quietbar.contract import BlockConfig
from quietbar.contract.descriptor import Descriptor, beats_of, stage_cycles
from quietbar.contract.engine import EngineConfig
from quietbar.contract.errors import QuietbarError, require_integer
from quietbar.contract.seeds import check_seed
from quietbar.contract.sources import SAMPLES_PER_DRAW
from quietbar.integer import Bundle
from quietbar.integer.block import FRAME_HIGH, check_activations
from quietbar.integer.engine import seed_writes
from quietbar.integer.image import EngineImage, engine_image
from quietbar_hw.engine.driver import EngineDriver, from_beats, to_beats
from quietbar_hw.engine.timing import predict
from quietbar_hw.registers.driver import BusError

from .blocks import as_bytes
from .build import Design, design_of, shared_library
from .bulk import NO_ANSWER, Bytes, Simulator
from .denoiser import LEAD_CYCLES
from .rules import StreamError

CHUNK_BEATS = 1 << 20
"""Beats of one call of the simulator, after which the interpreter may be interrupted."""


SETTLED = 1_000
"""Cycles after which a run of equal frames is in its steady state."""


@functools.lru_cache(maxsize=16)
def engine_design(engine: EngineConfig) -> Design:
    """The Verilog of an engine with all its ports."""
    from quietbar_hw.engine.top import AxiEngine

    return design_of(AxiEngine(engine), "quietbar_engine")


class BulkBus:
    """The bus of a driver whose device is a design in the bulk simulator."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    def read(self, address: int) -> int:
        """The word at a byte address; BusError where the design refuses or does not answer."""
        return self._access(address, 0, False)

    def write(self, address: int, value: int) -> None:
        """Write a word at a byte address; BusError likewise."""
        self._access(address, value, True)

    def _access(self, address: int, value: int, writes: bool) -> int:
        access = np.array([[address, value, writes, 0]], dtype=np.uint32)
        if not self._simulator.access(access):
            response = int(access[0, 3])
            what = "is not answered" if response == NO_ANSWER else f"is refused with response {response}"
            raise BusError(f"the {'write' if writes else 'read'} at {address:#x} {what}")
        return int(access[0, 1])


def to_engine_beats(frames: Tensor, descriptor: Descriptor, engine: EngineConfig) -> Bytes:
    """8-bit frames [N, C, H, W] as beats of the engine's lanes; channels that only fill up the last beat are 0."""
    return to_beats(frames.numpy(), descriptor, engine)


def from_engine_beats(beats: Bytes, descriptor: Descriptor, engine: EngineConfig) -> Tensor:
    """The inverse of :func:`to_engine_beats`: int8 or uint8 [N, C, H, W]."""
    return torch.from_numpy(from_beats(beats, descriptor, engine))


class RTLEngine:
    """An engine's RTL with the blocks of a bundle in its memory, loaded by the driver; a backend of ``bundle.attach``.

    ::

        engine = RTLEngine(bundle, EngineConfig())
        with bundle.attach(model, backend=engine.tap): ...

    Attributes:
        image: what is in its memory.
        design: the Verilog and its ports.
        threads: simulators that share a batch.
        cycles, frames: simulated so far, over all simulators and taps; writes of the memory not counted.
        predicted_cycles: what the cycle model says of the same work.
    """

    def __init__(self, bundle: Bundle, engine: EngineConfig, threads: int | None = None) -> None:
        """
        Args:
            bundle: with the integers of the taps' blocks.
            engine: that holds them all.
            threads: simulators that share a batch; by default one for each core.

        Raises:
            ConfigurationError: the bundle does not fit the engine; what would is told.
            MissingToolError, BuildError: the simulator could not be built.
        """
        self.bundle, self.engine, self.image = bundle, engine, engine_image(bundle, engine)
        self.threads = len(os.sched_getaffinity(0)) if threads is None else threads
        require_integer("rtl_engine.threads", self.threads, 1, 256)
        self.design = engine_design(engine)
        self.cycles = self.predicted_cycles = self.frames = 0
        self._idle: list[tuple[Simulator, EngineDriver]] = []
        shared_library(self.design)

    def tap(self, bundle: Bundle, name: str) -> RTLEngineTap:
        """The module of a tap; ``bundle`` must be the engine's own."""
        if bundle is not self.bundle:
            raise QuietbarError("this engine holds another bundle")
        return RTLEngineTap(self, name)

    def close(self) -> None:
        """Free the simulators; the next call makes new ones."""
        while self._idle:
            self._idle.pop()[0].close()

    def run(self, name: str, frames: Tensor, seed: int, start_frame: int) -> Tensor:
        """Denoise 8-bit frames [N, C, H, W] of a tap, shared between the simulators."""
        size = -(-len(frames) // self.threads)
        parts = [(frames[first : first + size], start_frame + first) for first in range(0, len(frames), size)]
        while len(self._idle) < len(parts):
            self._idle.append(open_engine(self.design, self.image))
        engines = [self._idle.pop() for _ in parts]

        def work(part: tuple[Tensor, int], opened: tuple[Simulator, EngineDriver]) -> tuple[Tensor, int, int]:
            return self._run(name, part[0], part[1], seed, *opened)

        try:
            if len(parts) == 1:
                done = [work(parts[0], engines[0])]
            else:
                with ThreadPoolExecutor(len(parts)) as pool:
                    done = list(pool.map(work, parts, engines))
        except BaseException:
            for simulator, _ in engines:
                simulator.close()
            raise
        self._idle += engines
        self.cycles += sum(used for _, used, _ in done)
        self.predicted_cycles += sum(predicted for *_, predicted in done)
        self.frames += len(frames)
        return torch.cat([part for part, *_ in done])

    def _run(
        self, name: str, frames: Tensor, start_frame: int, seed: int, simulator: Simulator, driver: EngineDriver
    ) -> tuple[Tensor, int, int]:
        """One simulator's part of a batch, its cycles, and those that the model predicts."""
        descriptor, number = self.image.taps[name], self.image.block(name)
        block = descriptor.block
        frame_beats = block.pixels * beats_of(self.engine, block)
        size, surplus = max(1, CHUNK_BEATS // frame_beats), 0
        if block.mode == "sampling":
            # Where a frame starts in the middle of a pair of samples, a frame before it is run and dropped.
            samples = block.pixels * block.channels
            surplus = start_frame * samples % SAMPLES_PER_DRAW[self.engine.source]
            driver.load(seed_writes(self.engine, seed, (start_frame - surplus) * samples))
            frames = torch.cat([frames[:surplus], frames])
        denoised, cycles, predicted = [], 0, 0
        for first in range(0, len(frames), size):
            beats = to_engine_beats(frames[first : first + size], descriptor, self.engine)
            try:
                run = simulator.run(
                    beats=beats,
                    frame_beats=frame_beats,
                    output_beats=len(beats),
                    output_frame_beats=frame_beats,
                    identifier=number,
                )
            except StreamError as error:
                raise StreamError(f"{name}: {error.signal}", error.cycle, error.what) from None
            denoised.append(from_engine_beats(run.output, descriptor, self.engine))
            cycles += run.cycles
            predicted += run_cycles(self.engine, block, len(denoised[-1]))
        return torch.cat(denoised)[surplus:], cycles, predicted

    def steady_cycles(self, name: str) -> int:
        """Cycles of a frame of a tap in steady state, without fill and drain."""
        block = self.image.taps[name].block
        return block.pixels * max(stage_cycles(self.engine, block).values())


def run_cycles(engine: EngineConfig, block: BlockConfig, frames: int) -> int:
    """Cycles of a run of back-to-back frames of a block in the bulk simulator, as the cycle model predicts them.

    The model is run on the first frames, until they are `SETTLED` cycles long and four at least; from there on every
    frame takes as long as the one before it.
    """
    settled = max(4, 2 + SETTLED // (block.pixels * max(stage_cycles(engine, block).values())))
    if frames <= settled:
        return _modeled_cycles(engine, block, frames)
    last, before = (_modeled_cycles(engine, block, count) for count in (settled, settled - 1))
    return last + (frames - settled) * (last - before)


@functools.cache
def _modeled_cycles(engine: EngineConfig, block: BlockConfig, frames: int) -> int:
    return LEAD_CYCLES + predict(engine, [block], [0] * frames).cycles


def open_engine(design: Design, image: EngineImage) -> tuple[Simulator, EngineDriver]:
    """A simulator of an engine that runs, the image in its memory, and the driver that loaded it."""
    simulator = Simulator(design)
    driver = EngineDriver(BulkBus(simulator), image.engine)
    driver.load(image.writes)
    return simulator, driver


class RTLEngineTap(nn.Module):
    """The block of one tap, every bit of its outputs taken from the engine's RTL; made by :meth:`RTLEngine.tap`.

    Attributes:
        cycles, predicted_cycles: of the engine for this tap, counted from 0.
    """

    def __init__(self, engine: RTLEngine, tap: str) -> None:
        super().__init__()
        self.engine, self.name, self.config = engine, tap, engine.bundle.tap(tap).config
        self.cycles = self.predicted_cycles = 0

    def forward(self, activations: Tensor, seed: int = 0, start_frame: int = 0) -> Tensor:
        """Denoise frames.

        Args:
            activations: integers [N, C, H, W] in the tap's range, of any integer type that holds it.
            seed: of the Gaussian source (sampling mode).
            start_frame: frames of ``seed`` that came before.

        Returns:
            The denoised activations, shape and type as given.

        Raises:
            ConfigurationError: activations, seed or frame are not as above; the field is named.
            StreamError: the RTL hung, marked a frame bad, or broke a rule of its streams.
        """
        check_activations(self.config, activations, self.name)
        check_seed(seed)
        require_integer("start_frame", start_frame, 0, FRAME_HIGH)
        if not len(activations):
            return activations.clone()
        frames = as_bytes(activations.cpu(), self.config)
        engine = self.engine
        before, predicted_before = engine.cycles, engine.predicted_cycles
        found: Any = engine.run(self.name, frames, seed, start_frame)
        self.cycles += engine.cycles - before
        self.predicted_cycles += engine.predicted_cycles - predicted_before
        return torch.as_tensor(found).to(activations)
