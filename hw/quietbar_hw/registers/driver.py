"""Software's view of a register map: registers and fields by name, over any bus that reads and writes words.

This file needs nothing but Python's standard library: ``quietbar registers`` writes its text, with a map's tables below
it, as the driver of that map. ::

    device = Engine(bus)
    device.control.enable = 1               # reads the word, writes it with the field changed
    device.control.write(enable=1, irq=0)   # one write; fields not named are 0
    device.status.busy                      # one read
    device.parameters[3:5] = [7, 8]         # a window, word by word
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple, Protocol


class Bus(Protocol):
    """What a driver works over: 32-bit words at byte addresses from the start of the map."""

    def read(self, address: int) -> int:
        """The word at ``address``; raises BusError where the device refuses."""

    def write(self, address: int, value: int) -> None:
        """Write the word at ``address``; raises BusError where the device refuses."""

    # A bus that a write at a time would be slow on has this too, and it is used where words are consecutive:
    # def write_words(self, address: int, words: Sequence[int]) -> None


class BusError(Exception):
    """The device answered an access with an error.

    Attributes:
        written: words before it that were taken, of those written together.
    """

    def __init__(self, message: str, written: int = 0) -> None:
        super().__init__(message)
        self.written = written


class MappedBus:
    """A device that is mapped into memory: ``/dev/mem``, ``/dev/uio0``, or the file of a PCIe region.

    Args:
        path: of the device's file.
        offset: where the map starts in it, a multiple of the page size.
        size: bytes of the map.
    """

    def __init__(self, path: str, offset: int = 0, size: int = 1 << 16) -> None:
        handle = os.open(path, os.O_RDWR | os.O_SYNC)
        try:
            self._memory = mmap.mmap(handle, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=offset)
        finally:
            os.close(handle)
        # Through this view each word is one access of 32 bits.
        self._words = memoryview(self._memory).cast("I")

    def read(self, address: int) -> int:
        """The word at ``address``."""
        return self._words[address >> 2]

    def write(self, address: int, value: int) -> None:
        """Write the word at ``address``."""
        self._words[address >> 2] = value

    def close(self) -> None:
        """Let go of the device."""
        self._words.release()
        self._memory.close()


class Port(Protocol):
    """A serial line: pyserial's ``Serial``, or anything with these two."""

    def write(self, data: bytes) -> Any:
        """Send all of it."""

    def read(self, size: int) -> bytes:
        """The next bytes; fewer than ``size`` where no more come in time."""


class SerialBus:
    """A device behind a bridge from a serial line to its bus, such as LiteX' UARTBone, whose messages these are.

    A message is a command, 1 to write and 2 to read; the number of words, here always 1; the address of the word, 32
    bits, the high byte first; and the word, likewise, which a read gets as its answer. Writes are not answered, so a
    refused one is not told: a device that refuses words must say so in a register.

    Args:
        port: the line.
        base: byte address of the map on the bridge's bus.
    """

    def __init__(self, port: Port, base: int = 0) -> None:
        self._port, self._base = port, base

    def read(self, address: int) -> int:
        """The word at ``address``; raises BusError where no answer comes."""
        self._port.write(bytes([2, 1]) + self._place(address))
        answer = b""
        while len(answer) < 4:
            more = self._port.read(4 - len(answer))
            if not more:
                raise BusError(f"read of {address:#x}: {len(answer)} of 4 bytes came")
            answer += more
        return int.from_bytes(answer, "big")

    def write(self, address: int, value: int) -> None:
        """Write the word at ``address``."""
        self._port.write(bytes([1, 1]) + self._place(address) + value.to_bytes(4, "big"))

    def _place(self, address: int) -> bytes:
        return ((self._base + address) >> 2).to_bytes(4, "big")


class FieldTable(NamedTuple):
    """A field: its lowest bit, how many bits, and its value after a reset (None where hardware drives it)."""

    low: int
    width: int
    reset: int | None
    access: str
    on_write: str


class RegisterTable(NamedTuple):
    """A register: its byte address, its width in bits, and its fields by name."""

    address: int
    width: int
    fields: Mapping[str, FieldTable]


class WindowTable(NamedTuple):
    """A memory: its byte address, and how many words it has."""

    address: int
    entries: int


class RegisterView:
    """One register of a device; its fields are attributes."""

    __slots__ = ("_bus", "_name", "_table")
    _bus: Bus
    _name: str
    _table: RegisterTable

    def __init__(self, bus: Bus, name: str, table: RegisterTable) -> None:
        object.__setattr__(self, "_bus", bus)
        object.__setattr__(self, "_name", name)
        object.__setattr__(self, "_table", table)

    def read(self) -> int:
        """The whole register. Of two words the low one is read first, which keeps the high one."""
        address = self._table.address
        value = self._bus.read(address)
        if self._table.width > 32:
            value |= self._bus.read(address + 4) << 32
        return value

    def fields(self) -> dict[str, int]:
        """All fields, of one read."""
        value = self.read()
        return {name: self._extract(field, value) for name, field in self._table.fields.items()}

    def write_value(self, value: int) -> None:
        """Write the whole register, the low word first."""
        limit = 1 << self._table.width
        if not 0 <= value < limit:
            raise ValueError(f"{self._name} = {value}: must be from 0 to {limit - 1}")
        self._bus.write(self._table.address, value & 0xFFFFFFFF)
        if self._table.width > 32:
            self._bus.write(self._table.address + 4, value >> 32)

    def write(self, **values: int) -> None:
        """Write the register with these fields; those not named are 0, which leaves alone what ones set or clear."""
        self.write_value(sum(self._insert(name, value) for name, value in values.items()))

    def modify(self, **values: int) -> None:
        """Read the register and write it back with these fields changed, all other plain ones as they were."""
        kept = 0
        current = self.read()
        for name, field in self._table.fields.items():
            if name not in values and field.access == "rw" and field.on_write == "store":
                kept |= self._extract(field, current) << field.low
        self.write_value(kept | sum(self._insert(name, value) for name, value in values.items()))

    def _field(self, name: str) -> FieldTable:
        try:
            return self._table.fields[name]
        except KeyError:
            known = ", ".join(self._table.fields)
            raise AttributeError(f"{self._name} has no field {name!r}: its fields are {known}") from None

    def _insert(self, name: str, value: int) -> int:
        field = self._field(name)
        if not 0 <= value < 1 << field.width:
            raise ValueError(f"{self._name}.{name} = {value}: must be from 0 to {(1 << field.width) - 1}")
        if "w" not in field.access:
            raise AttributeError(f"{self._name}.{name} can only be read")
        return value << field.low

    @staticmethod
    def _extract(field: FieldTable, value: int) -> int:
        return value >> field.low & ((1 << field.width) - 1)

    def __getattr__(self, name: str) -> int:
        return self._extract(self._field(name), self.read())

    def __setattr__(self, name: str, value: int) -> None:
        self.modify(**{name: value})

    def __dir__(self) -> Iterable[str]:
        return [*super().__dir__(), *self._table.fields]

    def __repr__(self) -> str:
        return f"<register {self._name} at {self._table.address:#x}>"


class WindowView:
    """One memory of a device, as a sequence of words."""

    def __init__(self, bus: Bus, name: str, table: WindowTable) -> None:
        self._bus, self._name, self._table = bus, name, table

    def __len__(self) -> int:
        return self._table.entries

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self._bus.read(self._table.address + 4 * word) for word in range(*place.indices(len(self)))]
        return self._bus.read(self._address(place))

    def __setitem__(self, place: Any, value: Any) -> None:
        if not isinstance(place, slice):
            self._bus.write(self._address(place), value)
            return
        words, values = range(*place.indices(len(self))), list(value)
        if len(words) != len(values):
            raise ValueError(f"{self._name}: {len(values)} values for {len(words)} words")
        write_words = getattr(self._bus, "write_words", None)
        if words and words.step == 1 and write_words is not None:
            write_words(self._address(words[0]), values)
            return
        for count, (word, each) in enumerate(zip(words, values, strict=True)):
            try:
                self._bus.write(self._address(word), each)
            except BusError as error:
                error.written = count
                raise

    def __iter__(self) -> Iterator[int]:
        return iter(self[:])

    def _address(self, word: int) -> int:
        if not 0 <= word < self._table.entries:
            raise IndexError(f"{self._name}[{word}]: must be from 0 to {self._table.entries - 1}")
        return self._table.address + 4 * word


class Device:
    """A register map over a bus; registers and windows are attributes."""

    REGISTERS: ClassVar[Mapping[str, RegisterTable]] = {}
    WINDOWS: ClassVar[Mapping[str, WindowTable]] = {}

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        for name, register in self.REGISTERS.items():
            setattr(self, name, RegisterView(bus, name, register))
        for name, window in self.WINDOWS.items():
            setattr(self, name, WindowView(bus, name, window))

    def __getattr__(self, name: str) -> Any:
        known = ", ".join([*self.REGISTERS, *self.WINDOWS])
        raise AttributeError(f"{type(self).__name__} has no register {name!r}: there are {known}")

    def dump(self) -> dict[str, dict[str, int]]:
        """The fields of every register that software may read, by register; reading may have effects."""
        return {
            name: getattr(self, name).fields()
            for name, table in self.REGISTERS.items()
            if any("r" in field.access for field in table.fields.values())
        }
