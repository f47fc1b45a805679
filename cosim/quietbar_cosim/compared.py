"""The RTL and the reference side by side: the RTL's outputs go on, every one of them compared."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor, nn

from quietbar.integer import Bundle

from .blocks import BlockSubject, block_vectors
from .denoiser import RTLDenoiser
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
        predicted: cycles by the model of :mod:`quietbar_hw.denoiser.timing`.
        outputs, bits: compared.
        differing: bits.
    """

    frames: int = 0
    cycles: int = 0
    predicted: int = 0
    outputs: int = 0
    bits: int = 0
    differing: int = 0

    def take(self) -> Tally:
        """The counts so far; they begin anew."""
        taken = replace(self)
        for field in fields(self):
            setattr(self, field.name, 0)
        return taken


class ComparedDenoiser(nn.Module):
    """An engine of ``bundle.attach``: like :class:`RTLDenoiser`, and every output is held to the reference's.

    Outputs that differ are counted; the first frame that holds one is saved for replay and reported.

    Attributes:
        tally: the counts.
    """

    def __init__(
        self, bundle: Bundle, tap: str, folding: Folding, threads: int, tally: Tally, replay_folder: Path
    ) -> None:
        super().__init__()
        self.bundle, self.tap, self.tally, self.replay_folder = bundle, tap, tally, replay_folder
        self.rtl = RTLDenoiser(bundle, tap, folding, threads)
        self._reported = False

    def forward(self, activations: Tensor, seed: int = 0, start_frame: int = 0) -> Tensor:
        """Denoised integers (N, C, H, W), as the RTL gives them."""
        before, predicted = self.rtl.cycles, self.rtl.predicted_cycles
        got: Tensor = self.rtl(activations, seed=seed, start_frame=start_frame)
        expected = self.bundle.run(self.tap, activations, seed=seed, start_frame=start_frame)
        names = ("frame", "channel", "row", "column")
        axes = tuple(zip(names, got.shape, strict=True))
        compared = compare(self.tap, expected.numpy(), got.numpy(), 8, axes)
        self.tally.frames += len(got)
        self.tally.cycles += self.rtl.cycles - before
        self.tally.predicted += self.rtl.predicted_cycles - predicted
        self.tally.outputs += compared.outputs
        self.tally.bits += compared.bits
        self.tally.differing += compared.differing_bits
        if compared.differing and not self._reported:
            self._report(compared, activations, seed, start_frame)
        return got

    def _report(self, compared: Comparison, activations: Tensor, seed: int, start_frame: int) -> None:
        """Print what differs; save the first frame that does as a case of its own, and print how that one fares."""
        self._reported = True
        print(f"tap {compared.report()}")
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
