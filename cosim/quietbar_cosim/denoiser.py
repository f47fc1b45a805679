"""The RTL as a PyTorch module: integers in, the integers that the hardware makes of them out."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from quietbar.contract.errors import require_integer
from quietbar.contract.seeds import check_seed
from quietbar.integer import Bundle, parameter_frame
from quietbar.integer.block import FRAME_HIGH, check_activations

from .blocks import as_bytes, choose_folding, denoiser_design, from_beats, seed_words, to_beats
from .build import shared_library
from .bulk import Run, Simulator
from .rules import StreamError

if TYPE_CHECKING:
    from quietbar_hw.denoiser import Folding

CHUNK_BEATS = 1 << 20
"""Beats of one call of the simulator, after which the interpreter may be interrupted."""


LEAD_CYCLES = 1
"""Cycles of a run before its first beat is offered, which the cycle model does not count."""


class RTLDenoiser(nn.Module):
    """The denoiser of a tap, every bit of its outputs taken from the RTL.

    A drop-in for ``bundle.run(tap, ...)`` and a backend of ``bundle.attach``::

        rtl = RTLDenoiser(bundle, "layer1")
        assert torch.equal(rtl(integers, seed=7), bundle.run("layer1", integers, seed=7))
        with bundle.attach(model, backend=RTLDenoiser): ...

    A batch is cut into as many parts as there are simulators; when sampling, each starts at its own frame of the seed.

    Attributes:
        cycles: simulated so far, over all simulators, configuration not counted.
        predicted_cycles: what the cycle model says of the same work.
        frames: denoised so far.
        design: the Verilog and its ports.
        folding: parallelism of the engine.
    """

    def __init__(self, bundle: Bundle, tap: str, folding: Folding | None = None, threads: int | None = None) -> None:
        """
        Args:
            bundle: with the integers of the tap's block.
            tap: name of the tap.
            folding: parallelism of the engine; outputs do not depend on it. By default the widest that fits.
            threads: simulators that share a batch; by default one for each core.

        Raises:
            ConfigurationError: there is no such tap, or the folding does not fit its block.
            MissingToolError, BuildError: the simulator could not be built.
        """
        from quietbar_hw.denoiser.timing import cycles

        super().__init__()
        found = bundle.tap(tap)
        self.tap, self.config = tap, found.config
        self.folding = choose_folding(self.config) if folding is None else folding
        self.threads = len(os.sched_getaffinity(0)) if threads is None else threads
        require_integer("rtl_denoiser.threads", self.threads, 1, 256)
        self.design = denoiser_design(self.config, self.folding)
        self._model = cycles(self.config, self.folding)
        self.cycles = self.predicted_cycles = self.frames = 0
        self._parameter_frame = parameter_frame(self.config, found.parameters)
        self._idle: list[Simulator] = []
        shared_library(self.design)

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
            StreamError: the RTL hung or broke a rule of its streams.
        """
        check_activations(self.config, activations, self.tap)
        check_seed(seed)
        require_integer("start_frame", start_frame, 0, FRAME_HIGH)
        if not len(activations):
            return activations.clone()
        frames = as_bytes(activations.cpu(), self.config)
        size = -(-len(frames) // self.threads)
        parts = [(frames[first : first + size], start_frame + first) for first in range(0, len(frames), size)]
        with ThreadPoolExecutor(len(parts)) as pool:
            denoised = list(pool.map(lambda part: self._run(part[0], part[1], seed), parts))
        self.cycles += sum(used for _, used, _ in denoised)
        self.predicted_cycles += sum(predicted for _, _, predicted in denoised)
        self.frames += len(frames)
        return torch.cat([part for part, _, _ in denoised]).to(activations)

    def close(self) -> None:
        """Free the simulators; the next call makes new ones."""
        while self._idle:
            self._idle.pop().close()

    def _run(self, frames: Tensor, start_frame: int, seed: int) -> tuple[Tensor, int, int]:
        """One simulator's part of a batch, its cycles, and those that the model predicts."""
        size = max(1, CHUNK_BEATS // self._frame_beats)
        simulator = self._idle.pop() if self._idle else self._open()
        try:
            denoised, used, predicted = [], 0, 0
            for first in range(0, len(frames), size):
                chunk = frames[first : first + size]
                part, run = self._run_chunk(simulator, chunk, start_frame + first, seed)
                denoised.append(part)
                used += run.cycles
                predicted += LEAD_CYCLES + self._model.total(len(run.output) // self._frame_beats)
        except BaseException:
            simulator.close()
            raise
        self._idle.append(simulator)
        return torch.cat(denoised), used, predicted

    def _run_chunk(self, simulator: Simulator, frames: Tensor, start_frame: int, seed: int) -> tuple[Tensor, Run]:
        lanes, configuration, surplus = self.folding.lanes, [], 0
        if self.config.mode == "sampling":
            # Samples come in pairs. Where a frame starts in the middle of one, a frame before it is run and dropped.
            surplus = start_frame * self.config.pixels * self.config.channels % 2
            configuration.append(seed_words(self.config, lanes, seed, start_frame - surplus))
            frames = torch.cat([frames[:surplus], frames])
        beats = to_beats(frames, lanes)
        try:
            run = simulator.run(
                configuration,
                beats,
                frame_beats=self._frame_beats,
                output_beats=len(beats),
                output_frame_beats=self._frame_beats,
            )
        except StreamError as error:
            raise StreamError(f"{self.tap}: {error.signal}", error.cycle, error.what) from None
        return from_beats(run.output, self.config)[surplus:], run

    @property
    def _frame_beats(self) -> int:
        return self.config.pixels * self.config.channels // self.folding.lanes

    def _open(self) -> Simulator:
        simulator = Simulator(self.design)
        simulator.run([self._parameter_frame], frame_beats=self._frame_beats)
        return simulator
