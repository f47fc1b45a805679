"""The engine's driver over cocotb: an image loaded and frames denoised by the driver alone, through the RTL.

The driver is the one that serves a real engine. Its bus is cocotbext-axi's AXI4-Lite master, its streams are
cocotbext-axi's AXI4-Stream source and sink.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from quietbar.contract.errors import QuietbarError
from quietbar.integer.image import EngineImage

from .build import Design
from .regression import run_bench

BENCH = "quietbar_cosim.benches.driver"


@dataclass(frozen=True)
class Driven:
    """What came of frames that the driver sent.

    Attributes:
        frames: denoised, for each of the jobs, 8-bit integers [N, C, H, W].
        counters: the engine's, by name, read at the end.
        errors: the engine's, read at the end.
    """

    frames: tuple[np.ndarray[Any, Any], ...]
    counters: dict[str, int]
    errors: int


def drive(design: Design, image: EngineImage, jobs: Sequence[tuple[str, Tensor]], noise_seed: int = 0) -> Driven:
    """Load ``image``, write a seed where there is a source, and denoise the frames of each job, all by the driver.

    Args:
        design: the engine's Verilog.
        image: what is loaded.
        jobs: a tap of the image and its frames, 8-bit integers [N, C, H, W].
        noise_seed: of the Gaussian source, whose samples run on from job to job.

    Raises:
        BenchFailure: the driver could not do it; the message is its own.
    """
    with tempfile.TemporaryDirectory(prefix="quietbar-driven-") as name:
        folder = Path(name)
        image.save(folder / "image")
        for number, (_, frames) in enumerate(jobs):
            np.save(folder / f"frames{number}.npy", frames.numpy())
        (folder / "jobs.json").write_text(json.dumps({"taps": [tap for tap, _ in jobs], "seed": noise_seed}))
        run_bench(design, BENCH, folder, settings={"QUIETBAR_DRIVEN": name})
        told = json.loads((folder / "told.json").read_text())
        denoised = tuple(np.load(folder / f"denoised{number}.npy") for number in range(len(jobs)))
        return Driven(denoised, told["counters"], told["errors"])


class CocotbStreams:
    """The streams of a driver inside a cocotb bench; see :class:`quietbar_cosim.registers.CocotbBus`.

    Args:
        source, sink: of cocotbext-axi, at the engine's data streams.
    """

    def __init__(self, source: Any, sink: Any) -> None:
        from cocotb.task import resume

        self._source, self._sink = source, sink
        self._exchange = resume(self._send_and_receive)

    def exchange(self, frames: bytes, frame_bytes: int, block: int) -> bytes:
        """See :class:`quietbar_hw.engine.driver.Streams`."""
        return self._exchange(frames, frame_bytes, block)

    async def _send_and_receive(self, frames: bytes, frame_bytes: int, block: int) -> bytes:
        from cocotbext.axi import AxiStreamFrame

        starts = range(0, len(frames), frame_bytes)
        for start in starts:
            await self._source.send(AxiStreamFrame(frames[start : start + frame_bytes], tid=block))
        came = bytearray()
        for number, _ in enumerate(starts):
            frame = await self._sink.recv(compact=False)
            bad = frame.tuser if isinstance(frame.tuser, int) else frame.tuser[-1]
            if bad or len(frame.tdata) != frame_bytes:
                raise QuietbarError(f"frame {number} of block {block}: {len(frame.tdata)} bytes, tuser {bad}")
            came += frame.tdata
        return bytes(came)
