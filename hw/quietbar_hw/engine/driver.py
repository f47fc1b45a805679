"""The engine's driver: an image loaded, frames denoised, seeds, errors, counters.

The same calls serve an engine in simulation and a real one. Only what carries words and frames differs: a
:class:`quietbar_hw.registers.driver.Bus`, and `Streams` where the driver shall send frames. ::

    driver = EngineDriver(MappedBus("/dev/uio0", size=1 << 20), image.engine, streams)
    driver.load(image.writes)
    denoised = driver.denoise(image.taps["layer1.0"], image.block("layer1.0"), frames)
    print(driver.counters(), driver.errors())
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from quietbar.contract.descriptor import Descriptor, beats_of
from quietbar.contract.engine import COUNTERS, EngineConfig, EngineError
from quietbar.contract.errors import QuietbarError, require
from quietbar.contract.memory import segments

from ..registers.controlled import ControlledDriver, names
from ..registers.driver import Bus, BusError
from ..registers.engine import engine_map

REFUSALS = (
    EngineError.WRITE_BUSY
    | EngineError.WRITE_ADDRESS
    | EngineError.PARAMETER_RANGE
    | EngineError.DESCRIPTOR_RANGE
    | EngineError.SEED_RANGE
)
"""What a write of the memory may be refused for."""


class EngineStuck(QuietbarError):
    """Frames are inside and do not come out."""


class Streams(Protocol):
    """What carries frames to an engine and back: a DMA, or masters and slaves in a simulation."""

    def exchange(self, frames: bytes, frame_bytes: int, block: int) -> bytes:
        """Send frames of ``frame_bytes`` each with ``tid = block`` and ``tlast`` at the end of each; what comes back.

        Raises:
            QuietbarError: fewer frames come back, or one of another size or marked bad.
        """


class EngineDriver(ControlledDriver[EngineError]):
    """Drives an engine over its registers, and over its streams where they are given.

    Args:
        bus: reads and writes words at byte addresses of the engine's AXI4-Lite port.
        engine: what is expected there.
        streams: carry frames for :meth:`denoise`.

    Raises:
        ConfigurationError: what answers is no such engine; the register that differs is named.
        BusError: nothing answers.
    """

    NAME, CAUSES, COUNTERS, STUCK = "engine", EngineError, COUNTERS, EngineStuck

    def __init__(self, bus: Bus, engine: EngineConfig, streams: Streams | None = None) -> None:
        self.engine, self.streams = engine, streams
        super().__init__(bus, engine_map(engine))

    def write(self, writes: Iterable[tuple[int, int]]) -> None:
        """Write (word address, word) to the memory of an engine that is stopped.

        A bus that hears of refusals names the word. One that does not, as a serial bridge, leaves them to the register
        of errors, which is read at the end.

        Raises:
            QuietbarError: the engine refused a word; the message says why, and the cause is cleared.
        """
        memory = self.device.memory
        self.device.errors.write_value(int(REFUSALS))
        for first, words in segments(writes):
            try:
                memory[first : first + len(words)] = words
            except BusError as error:
                causes, word, address = names(self.take_errors()), words[error.written], first + error.written
                raise QuietbarError(f"the engine refused {word:#010x} at word {address:#x}: {causes}") from error
        refused = self.errors() & REFUSALS
        if refused:
            self.device.errors.write_value(int(refused))
            raise QuietbarError(f"the engine refused words of its memory: {names(refused)}")

    def load(self, writes: Iterable[tuple[int, int]]) -> None:
        """Stop, write, start: an image's writes, or those of a seed."""
        self.stop()
        self.write(writes)
        self.start()

    def denoise(self, place: Descriptor, block: int, frames: NDArray[Any]) -> NDArray[Any]:
        """Send frames of a loaded block through the engine.

        Args:
            place: the block's descriptor, see :attr:`quietbar.integer.image.EngineImage.taps`.
            block: its ``tid``.
            frames: 8-bit integers [N, C, H, W].

        Raises:
            QuietbarError: there are no streams, or not every frame came back whole.
        """
        if self.streams is None:
            raise QuietbarError("this driver was made without streams: give it some to denoise frames")
        beats = to_beats(frames, place, self.engine)
        if not len(frames):
            return frames.copy()
        came = self.streams.exchange(beats.tobytes(), beats.size // len(frames), block)
        whole = np.frombuffer(came, dtype=np.uint8)
        require(whole.size == beats.size, "engine.streams", f"{whole.size} bytes", f"{beats.size}, all that was sent")
        return from_beats(whole, place, self.engine)


def to_beats(frames: NDArray[Any], place: Descriptor, engine: EngineConfig) -> NDArray[np.uint8]:
    """8-bit frames [N, C, H, W] as beats [beats, lanes]; channels that only fill up the last beat of a pixel are 0."""
    block = place.block
    shape = (block.channels, block.height, block.width)
    require(frames.ndim == 4 and frames.shape[1:] == shape, "engine.frames", frames.shape, f"(N, {shape})")
    require(frames.dtype.itemsize == 1, "engine.frames", str(frames.dtype), "integers of 8 bits")
    elements = np.ascontiguousarray(frames.transpose(0, 2, 3, 1)).view(np.uint8)
    short = beats_of(engine, block) * engine.lanes - block.channels
    if short:
        elements = np.pad(elements, ((0, 0), (0, 0), (0, 0), (0, short)))
    return elements.reshape(-1, engine.lanes)


def from_beats(beats: NDArray[np.uint8], place: Descriptor, engine: EngineConfig) -> NDArray[Any]:
    """The inverse of :func:`to_beats`: int8 or uint8 [N, C, H, W]."""
    block = place.block
    elements = beats.view(np.int8 if block.signed else np.uint8)
    padded = elements.reshape(-1, block.height, block.width, beats_of(engine, block) * engine.lanes)
    return np.ascontiguousarray(padded[..., : block.channels].transpose(0, 3, 1, 2))
