"""The engine's driver: an image loaded, seeds, errors, counters, over any bus that reads and writes words.

The same calls serve an engine in simulation and a real one: only the bus differs, see
:class:`quietbar_hw.registers.driver.Bus`. ::

    driver = EngineDriver(MappedBus("/dev/uio0", size=1 << 20), image.engine)
    driver.load(image.writes)
    ... frames go over the data streams ...
    print(driver.counters(), driver.errors())
"""

from __future__ import annotations

from collections.abc import Iterable

from quietbar.contract.engine import COUNTERS, EngineConfig, EngineError
from quietbar.contract.errors import QuietbarError, require

from ..registers.driver import Bus, BusError
from ..registers.engine import engine_map
from ..registers.generate import device_class

POLLS = 1_000_000
"""Reads of ``status`` after which an engine counts as stuck: its output is not taken, or a frame's rest is missing."""


class EngineStuck(QuietbarError):
    """Frames are inside and do not come out."""


class EngineDriver:
    """Drives an engine over its registers.

    Args:
        bus: reads and writes words at byte addresses of the engine's AXI4-Lite port.
        engine: what is expected there.

    Raises:
        ConfigurationError: what answers is no such engine; the register that differs is named.
        BusError: nothing answers.

    Attributes:
        device: registers and fields by name, see :class:`quietbar_hw.registers.driver.Device`.
    """

    def __init__(self, bus: Bus, engine: EngineConfig) -> None:
        self.engine, self.map = engine, engine_map(engine)
        self.device = device_class(self.map)(bus)
        for register in self.map.registers:
            if all(field.access == "r" and field.reset is not None for field in register.fields):
                found = getattr(self.device, register.name).fields()
                for field in register.fields:
                    value = found[field.name]
                    require(value == field.reset, f"engine.{register.name}.{field.name}", value, f"{field.reset}")

    def stop(self, polls: int = POLLS) -> None:
        """Let no further frame begin and wait until those inside have left.

        Raises:
            EngineStuck: they do not; :meth:`recover` drops them.
        """
        self.device.control.write(run=0)
        for _ in range(polls):
            if not self.device.status.busy:
                return
        raise EngineStuck(f"the engine is still busy after {polls} reads: recover() drops what is inside")

    def start(self) -> None:
        """Let frames begin."""
        self.device.control.write(run=1)

    def write(self, writes: Iterable[tuple[int, int]]) -> None:
        """Write (word address, word) to the memory of an engine that is stopped.

        Raises:
            QuietbarError: the engine refused a word; the message says which and why, and the cause is cleared.
        """
        memory = self.device.memory
        for address, word in writes:
            try:
                memory[address] = word
            except BusError as error:
                causes = self.take_errors()
                names = ", ".join(str(each.name) for each in causes) or "no cause told"
                raise QuietbarError(f"the engine refused {word:#010x} at word {address:#x}: {names}") from error

    def load(self, writes: Iterable[tuple[int, int]]) -> None:
        """Stop, write, start: an image's writes, or those of a seed."""
        self.stop()
        self.write(writes)
        self.start()

    def recover(self) -> EngineError:
        """The documented way out of everything: stop, drop what is inside, clear the errors; what they were.

        The memory stays, a seed has to be written again.
        """
        self.device.control.write(run=0)
        self.device.control.write(restart=1)
        return self.take_errors()

    def errors(self) -> EngineError:
        """What went wrong since each was last cleared."""
        return EngineError(self.device.errors.read())

    def take_errors(self) -> EngineError:
        """What went wrong, cleared by this."""
        found = self.errors()
        self.device.errors.write_value(int(found))
        return found

    def counters(self) -> dict[str, int]:
        """All counters by name; they wrap at 32 bits."""
        return {name: getattr(self.device, name).count for name in COUNTERS}

    def clear_counters(self) -> None:
        """All counters begin at 0; whether frames may begin stays as it is."""
        self.device.control.write(run=self.device.control.run, clear=1)
