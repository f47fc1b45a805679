"""What the drivers of engine and crossbar tiles have in common: run, stop, recover, errors and counters."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntFlag
from typing import ClassVar, Generic, TypeVar

from quietbar.contract.errors import QuietbarError, require

from .driver import Bus
from .generate import device_class
from .model import RegisterMap

POLLS = 1_000_000
"""Reads of ``status`` after which a device is stuck: its output is not taken, or the rest of an input is missing."""

Causes = TypeVar("Causes", bound=IntFlag)


class ControlledDriver(Generic[Causes]):
    """Drives a device whose map has ``control`` (run, restart, clear), ``status.busy``, ``errors`` and counters.

    Args:
        bus: reads and writes words at byte addresses of the device's AXI4-Lite port.
        registers: the map that is expected there.

    Raises:
        ConfigurationError: what answers is no such device; the register that differs is named.
        BusError: nothing answers.

    Attributes:
        map: the register map.
        device: registers and fields by name, see :class:`quietbar_hw.registers.driver.Device`.
    """

    NAME: ClassVar[str]
    """Of the device, as messages have it."""
    CAUSES: type[Causes]
    """The bits of ``errors``."""
    COUNTERS: ClassVar[Sequence[str]]
    """Registers with a field ``count``."""
    STUCK: ClassVar[type[QuietbarError]]
    """Raised where what is inside does not come out."""

    def __init__(self, bus: Bus, registers: RegisterMap) -> None:
        self.map = registers
        self.device = device_class(registers)(bus)
        for register in registers.registers:
            if all(field.access == "r" and field.reset is not None for field in register.fields):
                found = getattr(self.device, register.name).fields()
                for field in register.fields:
                    value = found[field.name]
                    require(value == field.reset, f"{self.NAME}.{register.name}.{field.name}", value, f"{field.reset}")

    def stop(self, polls: int = POLLS) -> None:
        """Let no further input begin and wait until those inside have left.

        Raises:
            QuietbarError: ``STUCK``: they do not; :meth:`recover` drops them.
        """
        self.device.control.write(run=0)
        for _ in range(polls):
            if not self.device.status.busy:
                return
        raise self.STUCK(f"the {self.NAME} is still busy after {polls} reads: recover() drops what is inside")

    def start(self) -> None:
        """Let inputs begin."""
        self.device.control.write(run=1)

    def recover(self) -> Causes:
        """The way out of everything: stop, drop what is inside, clear the errors; what they were.

        What was configured stays, but for the seed, which has to be written again.
        """
        self.device.control.write(run=0)
        self.device.control.write(restart=1)
        return self.take_errors()

    def errors(self) -> Causes:
        """What went wrong since each was last cleared."""
        return self.CAUSES(self.device.errors.read())

    def take_errors(self) -> Causes:
        """What went wrong, cleared by this."""
        found = self.errors()
        self.device.errors.write_value(int(found))
        return found

    def counters(self) -> dict[str, int]:
        """All counters by name; they wrap at 32 bits."""
        return {name: getattr(self.device, name).count for name in self.COUNTERS}

    def clear_counters(self) -> None:
        """All counters begin at 0; whether inputs may begin stays as it is."""
        self.device.control.write(run=self.device.control.run, clear=1)


def names(causes: IntFlag) -> str:
    """Of all causes that are set, for a message."""
    return ", ".join(str(each.name) for each in causes) or "no cause told"
