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

from ..registers.crossbar import crossbar_map
from ..registers.driver import Bus, BusError
from ..registers.generate import device_class
from .configuration import frame_lengths
from .control import COUNTERS, Cause, word_address
from .folding import CrossbarFolding

POLLS = 1_000_000
"""Reads of ``status`` after which tiles count as stuck: their output is not taken, or a vector's rest is missing."""


class CrossbarStuck(QuietbarError):
    """Vectors are inside and do not come out."""


class CrossbarDriver:
    """Drives crossbar tiles over their registers.

    Args:
        bus: reads and writes words at byte addresses of the tiles' AXI4-Lite port.
        config, folding: what is expected there.

    Raises:
        ConfigurationError: what answers are no such tiles; the register that differs is named.
        BusError: nothing answers.

    Attributes:
        device: registers and fields by name, see :class:`quietbar_hw.registers.driver.Device`.
    """

    def __init__(self, bus: Bus, config: CrossbarConfig, folding: CrossbarFolding) -> None:
        self.config, self.map = config, crossbar_map(config, folding)
        self.device = device_class(self.map)(bus)
        for register in self.map.registers:
            if all(field.access == "r" and field.reset is not None for field in register.fields):
                found = getattr(self.device, register.name).fields()
                for field in register.fields:
                    value = found[field.name]
                    require(value == field.reset, f"crossbar.{register.name}.{field.name}", value, f"{field.reset}")

    def stop(self, polls: int = POLLS) -> None:
        """Let no further vector begin and wait until those inside have left.

        Raises:
            CrossbarStuck: they do not; :meth:`recover` drops them.
        """
        self.device.control.write(run=0)
        for _ in range(polls):
            if not self.device.status.busy:
                return
        raise CrossbarStuck(f"the tiles are still busy after {polls} reads: recover() drops what is inside")

    def start(self) -> None:
        """Let vectors begin."""
        self.device.control.write(run=1)

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
                    names = ", ".join(str(each.name) for each in self.take_errors()) or "no cause told"
                    which = f"word {index} of a {FrameKind(kind).name} frame"
                    raise QuietbarError(f"the tiles refused {word:#010x}, {which}: {names}") from error

    def load(self, frames: Iterable[Sequence[int]]) -> None:
        """Stop, write, start."""
        self.stop()
        self.write(frames)
        self.start()

    def recover(self) -> Cause:
        """The way out of everything: stop, drop what is inside, clear the errors; what they were.

        What was configured stays, but for the seed.
        """
        self.device.control.write(run=0)
        self.device.control.write(restart=1)
        return self.take_errors()

    def missing(self) -> tuple[FrameKind, ...]:
        """The kinds of frames without which no vector goes in."""
        loaded = self.device.status.loaded
        return tuple(kind for kind in frame_lengths(self.config) if not loaded >> kind & 1)

    def errors(self) -> Cause:
        """What went wrong since each was last cleared."""
        return Cause(self.device.errors.read())

    def take_errors(self) -> Cause:
        """What went wrong, cleared by this."""
        found = self.errors()
        self.device.errors.write_value(int(found))
        return found

    def counters(self) -> dict[str, int]:
        """All counters by name; they wrap at 32 bits."""
        return {name: getattr(self.device, name).count for name in COUNTERS}

    def clear_counters(self) -> None:
        """All counters begin at 0; whether vectors may begin stays as it is."""
        self.device.control.write(run=self.device.control.run, clear=1)
