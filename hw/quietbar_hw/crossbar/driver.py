"""The driver of crossbar tiles: frames written, age, errors, counters, over any bus that reads and writes words.

The same calls serve tiles in simulation and real ones: only the bus differs, see
:class:`quietbar_hw.registers.driver.Bus`. ::

    driver = CrossbarDriver(MappedBus("/dev/uio0", size=1 << 19), config, folding)
    driver.load(tiles.frames)                 # of quietbar.integer.tiles.Tiles
    ... vectors go over the data streams ...
    driver.load([time_frame(time), seed_frame(seed)])
    print(driver.counters(), driver.errors())
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from quietbar.contract import CrossbarConfig, QuietbarError, require, require_choice
from quietbar.contract.stream import FrameKind

from ..registers.controlled import ControlledDriver, names
from ..registers.crossbar import crossbar_map
from ..registers.driver import Bus, BusError
from .configuration import frame_lengths
from .control import COUNTERS, Cause, word_address
from .folding import CrossbarFolding


class CrossbarStuck(QuietbarError):
    """Vectors are inside and do not come out."""


class CrossbarDriver(ControlledDriver[Cause]):
    """Drives crossbar tiles over their registers.

    Args:
        bus: reads and writes words at byte addresses of the tiles' AXI4-Lite port.
        config, folding: what is expected there.

    Raises:
        ConfigurationError: what answers are no such tiles; the register that differs is named.
        BusError: nothing answers.
    """

    NAME, CAUSES, COUNTERS, STUCK = "crossbar", Cause, COUNTERS, CrossbarStuck

    def __init__(self, bus: Bus, config: CrossbarConfig, folding: CrossbarFolding) -> None:
        self.config = config
        super().__init__(bus, crossbar_map(config, folding))

    def write(self, frames: Iterable[Sequence[int]]) -> None:
        """Write configuration frames to tiles that are stopped.

        Raises:
            ConfigurationError: a frame of a kind or length that these tiles do not know; nothing of it was written.
            QuietbarError: they refused a word; the message says which and why, and the cause is cleared.
        """
        lengths = frame_lengths(self.config)
        for kind, *words in frames:
            require_choice("frame.kind", kind, tuple(lengths))
            require(len(words) == lengths[FrameKind(kind)], "frame.words", len(words), f"{lengths[FrameKind(kind)]}")
            for index, word in enumerate(words):
                try:
                    self.device.memory[word_address(self.config, kind, index)] = word
                except BusError as error:
                    causes = names(self.take_errors())
                    which = f"word {index} of a {FrameKind(kind).name} frame"
                    raise QuietbarError(f"the tiles refused {word:#010x}, {which}: {causes}") from error

    def load(self, frames: Iterable[Sequence[int]]) -> None:
        """Stop, write, start."""
        self.stop()
        self.write(frames)
        self.start()

    def missing(self) -> tuple[FrameKind, ...]:
        """The kinds of frames without which no vector goes in."""
        loaded = self.device.status.loaded
        return tuple(kind for kind in frame_lengths(self.config) if not loaded >> kind & 1)
