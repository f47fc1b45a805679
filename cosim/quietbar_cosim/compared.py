"""The RTL and the reference side by side: the RTL's outputs go on, every one of them compared."""

from __future__ import annotations

import time
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from quietbar.contract.sources import Kind
from quietbar.files import atomic_file, write_atomically
from quietbar.integer import Bundle

from .blocks import BlockSubject, block_vectors
from .denoiser import RTLDenoiser
from .engine import RTLEngine
from .mismatch import Comparison, compare
from .replay import Case
from .vectors import Job

if TYPE_CHECKING:
    from quietbar_hw.denoiser import Folding


@dataclass
class Tally:
    """Counts of what went through a denoiser.

    Attributes:
        frames: denoised.
        cycles: of the RTL, over all simulators.
        predicted: cycles by the hardware's cycle model.
        outputs, bits: compared.
        differing: bits.
        rtl_seconds, reference_seconds, comparing_seconds: of processor time, in the calling thread.
    """

    frames: int = 0
    cycles: int = 0
    predicted: int = 0
    outputs: int = 0
    bits: int = 0
    differing: int = 0
    rtl_seconds: float = 0.0
    reference_seconds: float = 0.0
    comparing_seconds: float = 0.0

    def take(self) -> Tally:
        """The counts so far; they begin anew."""
        taken = replace(self)
        for field in fields(self):
            setattr(self, field.name, 0)
        return taken


class Compared(nn.Module):
    """An engine of ``bundle.attach``: the RTL's outputs of a tap, every one of them held to the reference's.

    Outputs that differ are counted; the first frame that holds one is saved and reported.

    Args:
        rtl: called as the reference is, with the sums ``cycles`` and ``predicted_cycles`` of all calls.
        source: its Gaussian source.

    Attributes:
        tally: the counts.
    """

    def __init__(
        self, bundle: Bundle, tap: str, rtl: Any, tally: Tally, replay_folder: Path, source: Kind = "box-muller"
    ) -> None:
        super().__init__()
        self.bundle, self.tap, self.tally, self.replay_folder = bundle, tap, tally, replay_folder
        self.rtl, self.source = rtl, source
        self._reported = False

    def forward(self, activations: Tensor, seed: int = 0, start_frame: int = 0) -> Tensor:
        """Denoised integers (N, C, H, W), as the RTL gives them."""
        before, predicted = self.rtl.cycles, self.rtl.predicted_cycles
        clock = [time.thread_time()]
        got: Tensor = self.rtl(activations, seed=seed, start_frame=start_frame)
        clock.append(time.thread_time())
        expected = self.bundle.run(self.tap, activations, seed, start_frame, self.source)
        clock.append(time.thread_time())
        names = ("frame", "channel", "row", "column")
        axes = tuple(zip(names, got.shape, strict=True))
        compared = compare(self.tap, expected.numpy(), got.numpy(), 8, axes)
        self.tally.frames += len(got)
        self.tally.cycles += self.rtl.cycles - before
        self.tally.predicted += self.rtl.predicted_cycles - predicted
        self.tally.outputs += compared.outputs
        self.tally.bits += compared.bits
        self.tally.differing += compared.differing_bits
        clock.append(time.thread_time())
        self.tally.rtl_seconds += clock[1] - clock[0]
        self.tally.reference_seconds += clock[2] - clock[1]
        self.tally.comparing_seconds += clock[3] - clock[2]
        if compared.differing and not self._reported:
            self._reported = True
            print(f"tap {compared.report()}")
            self._keep(compared, activations, got, expected, seed, start_frame)
        return got

    def _keep(
        self, compared: Comparison, activations: Tensor, got: Tensor, expected: Tensor, seed: int, start_frame: int
    ) -> None:
        """Save the first frame that differs."""
        raise NotImplementedError


class ComparedDenoiser(Compared):
    """A tap on a denoiser of its own; a frame that differs is saved as a case for ``quietbar replay``."""

    def __init__(
        self, bundle: Bundle, tap: str, folding: Folding, threads: int, tally: Tally, replay_folder: Path
    ) -> None:
        super().__init__(bundle, tap, RTLDenoiser(bundle, tap, folding, threads), tally, replay_folder)

    def _keep(
        self, compared: Comparison, activations: Tensor, got: Tensor, expected: Tensor, seed: int, start_frame: int
    ) -> None:
        """Save the frame as a case of its own, and print how that one fares."""
        parameters = self.bundle.tap(self.tap).parameters
        config, frame = parameters.config, compared.first[0].position["frame"]
        # Samples come in pairs: where a frame starts in the middle of one, the case begins a frame earlier.
        earlier = (start_frame + frame) * config.pixels * config.channels % 2
        frames, first = activations[frame : frame + 1].repeat(1 + earlier, 1, 1, 1), start_frame + frame - earlier
        vectors = block_vectors(parameters, frames, self.rtl.folding.lanes, seed, first)
        subject = BlockSubject(parameters, frames, seed, first)
        case = Case(self.rtl.design, Job(f"tap {self.tap}, frame {frame} alone", vectors, subject=subject), "bulk")
        comparison = case.compare(case.run())
        print(case.report(comparison, case.save(self.replay_folder)))


class ComparedTap(Compared):
    """A tap on the engine that holds all of them; a frame that differs is saved with the engine's image."""

    def __init__(self, engine: RTLEngine, tap: str, tally: Tally, replay_folder: Path) -> None:
        rtl = engine.tap(engine.bundle, tap)
        super().__init__(engine.bundle, tap, rtl, tally, replay_folder, engine.engine.source)

    def _keep(
        self, compared: Comparison, activations: Tensor, got: Tensor, expected: Tensor, seed: int, start_frame: int
    ) -> None:
        """Save image and Verilog of the engine, and the frame as it went in, as it came out, and as it should have."""
        frame = compared.first[0].position["frame"]
        folder = self.replay_folder / f"engine-{self.tap}-{start_frame + frame}"
        folder.mkdir(parents=True, exist_ok=True)
        self.rtl.engine.image.save(folder)
        write_atomically(folder / "design.v", self.rtl.engine.design.verilog)
        with atomic_file(folder / "frame.npz") as stream:
            went_in, came_out, wanted = (each[frame].numpy() for each in (activations, got, expected))
            np.savez(stream, seed=seed, frame=start_frame + frame, activations=went_in, got=came_out, expected=wanted)
        print(f"  the engine's image and the frame are in {folder}")
