"""The host's program: an engine on a board loaded with an image, and frames denoised by it.

The board is a real one behind a serial port, or one in simulation (:func:`simulated`): the program is the same.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from quietbar.contract.engine import EngineConfig
from quietbar.contract.errors import QuietbarError, require_choice, require_integer
from quietbar.contract.seeds import check_seed
from quietbar.contract.sources import SAMPLES_PER_DRAW
from quietbar.integer.block import FRAME_HIGH, check_activations
from quietbar.integer.engine import seed_writes
from quietbar.integer.image import EngineImage
from quietbar_hw.board.link import Link, SerialPort
from quietbar_hw.board.protocol import DATA_BYTES
from quietbar_hw.board.top import SerialEngine
from quietbar_hw.board.uart import LEAST_DIVISOR
from quietbar_hw.engine.driver import EngineDriver

from .blocks import as_bytes
from .build import Design, design_of
from .serial_line import SimulatedPort

PATIENCE = 200
"""Requests in a row that move no beat, after which an engine counts as stuck."""


class BoardEngine:
    """An engine behind a serial port, with the blocks of an image in its memory.

    ::

        board = BoardEngine(serial.Serial("/dev/ttyUSB0", 3_000_000, timeout=1), image)
        denoised = board.denoise("stage1", frames, seed=7)

    Args:
        port: opened, with a timeout.
        image: is loaded at once.

    Raises:
        ConfigurationError: what answers is another engine than the image's; the register that differs is named.
        LinkError: nothing answers.

    Attributes:
        link: to the board.
        driver: of the engine's registers.
    """

    def __init__(self, port: SerialPort, image: EngineImage) -> None:
        self.image, self.link = image, Link(port)
        self.driver = EngineDriver(self.link, image.engine, self)
        self.recover()
        self.driver.load(image.writes)

    def recover(self) -> None:
        """Drop whatever is on its way, and start anew; parameters stay."""
        self.link.clear()
        self.driver.recover()
        self.link.clear()
        self.driver.start()

    def denoise(self, tap: str, frames: Tensor, seed: int = 0, start_frame: int = 0) -> Tensor:
        """Denoise 8-bit frames [N, C, H, W] of a tap, the reference's integers bit for bit.

        Args:
            tap: of the image.
            frames: integers in the tap's range.
            seed: of the Gaussian source, where the tap samples.
            start_frame: frames of ``seed`` that came before.

        Returns:
            int8 or uint8, as the tap's activations are.

        Raises:
            ConfigurationError: an argument is not as above; it is named.
            QuietbarError: the engine marked a frame as bad, or gives none; what it tells of errors is in the message.
        """
        require_choice("board.tap", tap, tuple(self.image.taps))
        descriptor, engine = self.image.taps[tap], self.image.engine
        block, surplus = descriptor.block, 0
        check_activations(block, frames, tap)
        check_seed(seed)
        require_integer("start_frame", start_frame, 0, FRAME_HIGH)
        if not len(frames):
            return frames.clone()
        frames = as_bytes(frames, block)
        if block.mode == "sampling":
            # Where a frame starts in the middle of a pair of samples, a frame before it is run and dropped.
            samples = block.pixels * block.channels
            surplus = start_frame * samples % SAMPLES_PER_DRAW[engine.source]
            self.driver.load(seed_writes(engine, seed, (start_frame - surplus) * samples))
            frames = torch.cat([frames[:surplus], frames])
        denoised = self.driver.denoise(descriptor, self.image.block(tap), frames.numpy())
        return torch.from_numpy(denoised[surplus:])

    def exchange(self, frames: bytes, frame_bytes: int, block: int) -> bytes:
        """Frames to the engine and back, each request to send followed by one to receive: the driver's streams.

        Raises:
            QuietbarError: the engine marked a frame as bad, or gives none; the engine has been recovered.
        """
        size = DATA_BYTES // self.image.engine.lanes * self.image.engine.lanes
        parts = [
            (frames[first : min(first + size, start + frame_bytes)], first + size >= start + frame_bytes)
            for start in range(0, len(frames), frame_bytes)
            for first in range(start, start + frame_bytes, size)
        ]
        found, at, idle = bytearray(), 0, 0
        while len(found) < len(frames):
            moved = at < len(parts) and self.link.send(block, *parts[at])
            at += moved
            results = self.link.receive()
            idle = 0 if moved or results.data else idle + 1
            found += results.data
            if results.bad or idle > PATIENCE or (results.data and results.block != block):
                errors = ", ".join(str(each.name) for each in self.driver.errors()) or "no error"
                what = f"gives nothing for {idle} requests" if idle else "marks a frame as bad"
                self.recover()
                raise QuietbarError(f"the engine {what}; it tells of {errors}")
        return bytes(found)


@functools.lru_cache(maxsize=16)
def serial_design(engine: EngineConfig, divisor: int) -> Design:
    """The Verilog of a whole board but its pins and clock."""
    return design_of(SerialEngine(engine, divisor), "quietbar_board")


def simulated(engine: EngineConfig, divisor: int = LEAST_DIVISOR, drift: float = 0.0) -> SimulatedPort:
    """The port of a board in simulation, all of it but the pins and the clock.

    Args:
        engine: on the board.
        divisor: cycles of a bit on its line; a short one saves cycles.
        drift: by which part the host's bits are longer than the board's.

    Raises:
        MissingToolError, BuildError: the simulator could not be built.
    """
    return SimulatedPort(serial_design(engine, divisor), divisor * (1 + drift))
