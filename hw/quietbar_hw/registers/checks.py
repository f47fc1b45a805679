"""Tests of a register map, made from the map: every reset value, every access kind, every address that is none.

A check is a generator. It yields what is to be done to a bank (`Write`, `Read`, `Drive`, `Sample`, `Pulse`), gets back
what came of it, and raises `RegisterMismatch` where that is not what the map says. Who runs it decides where the bank
is: :mod:`quietbar_hw.registers.simulation` runs it in Amaranth's simulator, ``quietbar_cosim.registers`` under cocotb.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any

from quietbar.contract import QuietbarError

from .axi_lite import Response
from .bank import field_members
from .model import WORD_BITS, WORD_BYTES, Field, Register, RegisterMap, Window

WORD_MASK = (1 << WORD_BITS) - 1
ALL_BYTES = (1 << WORD_BYTES) - 1
WINDOW_WORDS = 4
"""Words at each end of a window that are tried."""


class RegisterMismatch(QuietbarError):
    """A bank is not what its map says."""


@dataclass(frozen=True)
class Write:
    """Write a word; answered with the response."""

    address: int
    data: int
    strobe: int = ALL_BYTES


@dataclass(frozen=True)
class Read:
    """Read a word; answered with (data, response)."""

    address: int


@dataclass(frozen=True)
class Drive:
    """Drive an input of the bank from now on."""

    member: str
    value: int


@dataclass(frozen=True)
class Pulse:
    """Drive an input of the bank for one cycle, and others along with it; afterwards they are 0."""

    values: dict[str, int]


@dataclass(frozen=True)
class Sample:
    """The value of an output of the bank."""

    member: str


@dataclass(frozen=True)
class Watch:
    """Write a word; answered with what ``member`` was in each cycle from then on in which it was not 0."""

    write: Write
    member: str


Check = Generator[Any, Any, None]


class BankModel:
    """What a bank does, access by access: the map's meaning in Python.

    Attributes:
        values: of every field, by (register, field); those that hardware drives included.
        memories: words of every window, by name; what was never written is absent.
        bus_only: whether nothing but the bus can be reached: no output is looked at, no event is made.
    """

    def __init__(self, registers: RegisterMap, *, bus_only: bool = False) -> None:
        self.map, self.bus_only = registers, bus_only
        self.values = {(register.name, field.name): field.reset or 0 for register, field in registers.fields()}
        self.memories: dict[str, dict[int, int]] = {window.name: {} for window in registers.windows}
        self._upper = {register.name: 0 for register in registers.registers}

    def content(self, register: Register) -> int:
        """What the register reads as."""
        return sum(
            self.values[register.name, field.name] << field.low
            for field in register.fields
            if field.readable_by_software
        )

    def read(self, address: int) -> tuple[int | None, Response]:
        """Data and response of a read; None for data that nothing is known of."""
        found = self._find(address)
        if isinstance(found, Window):
            if found.access == "w":
                return None, Response.SLAVE_ERROR
            return self.memories[found.name].get((address - found.address) // WORD_BYTES), Response.OKAY
        if found is None or not found.readable:
            return None, Response.SLAVE_ERROR
        if address != found.address:
            return self._upper[found.name], Response.OKAY
        value = self.content(found)
        self._upper[found.name] = value >> WORD_BITS
        for field in found.fields:
            if field.on_read_clears:
                self.values[found.name, field.name] = 0
        return value & WORD_MASK, Response.OKAY

    def write(self, address: int, data: int, strobe: int = ALL_BYTES) -> Response:
        """The response to a write, and its effects."""
        found = self._find(address)
        mask = sum(0xFF << 8 * byte for byte in range(WORD_BYTES) if strobe >> byte & 1)
        if isinstance(found, Window):
            if found.access == "r":
                return Response.SLAVE_ERROR
            memory, word = self.memories[found.name], (address - found.address) // WORD_BYTES
            if strobe == ALL_BYTES or word in memory:
                memory[word] = memory.get(word, 0) & ~mask | data & mask
            return Response.OKAY
        if found is None or not found.writable:
            return Response.SLAVE_ERROR
        place = 8 * (address - found.address)
        for field in found.fields:
            if field.writable_by_software:
                self._write_field(found, field, data << place, mask << place)
        return Response.OKAY

    def _write_field(self, register: Register, field: Field, data: int, mask: int) -> None:
        key, full = (register.name, field.name), (1 << field.width) - 1
        own, written = mask >> field.low & full, data >> field.low & full
        value = self.values[key]
        self.values[key] = {
            "store": value & ~own | written & own,
            "one_clears": value & ~(written & own),
            "one_sets": value | written & own,
            "clears": 0 if own else value,
        }[field.on_write]
        if field.pulse:
            self.values[key] = 0

    def _find(self, address: int) -> Register | Window | None:
        if address % WORD_BYTES:
            return None
        for register in self.map.registers:
            if 0 <= address - register.address < register.width // 8:
                return register
        for window in self.map.windows:
            if 0 <= address - window.address < window.bytes:
                return window
        return None


def checks(
    registers: RegisterMap, seed: int = 1, *, windows: bool = True, bus_only: bool = False
) -> dict[str, Callable[[], Check]]:
    """Every check of a map by name, each to be run from a reset.

    Args:
        registers: the map.
        seed: of the values that are written and driven.
        windows: whether there is a plain memory behind each window; otherwise they are left alone.
        bus_only: only what can be told by reading and writing, for a bank inside a design that is at rest. All that
            hardware drives is taken to be 0.
    """

    def model() -> BankModel:
        return BankModel(registers, bus_only=bus_only)

    found: dict[str, Callable[[], Check]] = {
        "reset values": lambda: _reset_values(model()),
        "nothing there": lambda: _nothing_there(model(), random.Random(seed)),
    }
    for register in registers.registers:
        if register.writable:
            found[f"writes {register.name}"] = lambda each=register: _writes(model(), each, random.Random(seed))  # type: ignore[misc]
    for register, field in registers.fields() if not bus_only else ():
        if field.pulse:
            found[f"pulse {register.name}.{field.name}"] = lambda r=register, f=field: _pulse(registers, r, f)  # type: ignore[misc]
        if set(field_members(register, field)) - {f"{register.name}_{field.name}"} or field.hardware == "drive":
            found[f"hardware {register.name}.{field.name}"] = lambda r=register, f=field: _hardware(  # type: ignore[misc]
                registers, r, f, random.Random(seed)
            )
    for register in registers.registers if not bus_only else ():
        if register.interrupt:
            found[f"interrupt {register.name}"] = lambda each=register: _interrupt(registers, each)  # type: ignore[misc]
        if register.words == 2 and any(field.hardware == "drive" for field in register.fields):
            found[f"snapshot {register.name}"] = lambda each=register: _snapshot(registers, each, random.Random(seed))  # type: ignore[misc]
    for window in registers.windows if windows else ():
        found[f"window {window.name}"] = lambda each=window: _window(registers, each, random.Random(seed))  # type: ignore[misc]
    return found


def _expect(what: str, found: Any, expected: Any) -> None:
    if found != expected:
        raise RegisterMismatch(f"{what}: is {_shown(found)}, must be {_shown(expected)}")


def _shown(value: Any) -> str:
    return f"{value:#x}" if isinstance(value, int) and not isinstance(value, Response) else str(value)


def _read(model: BankModel, address: int, what: str) -> Check:
    data, response = yield Read(address)
    expected, answer = model.read(address)
    _expect(f"response to a read of {what}", Response(response), answer)
    if expected is not None:
        _expect(what, data, expected)


def _read_register(model: BankModel, register: Register, what: str = "") -> Check:
    for word in range(register.words):
        if register.readable:
            place = f", word {word}" if word else ""
            yield from _read(model, register.address + WORD_BYTES * word, f"{register.name}{place}{what}")


def _outputs(model: BankModel, register: Register, what: str) -> Check:
    """The outputs of a register's fields are its values."""
    for field in register.fields if not model.bus_only else ():
        if field.output and not field.pulse:
            found = yield Sample(f"{register.name}_{field.name}")
            _expect(f"{register.name}_{field.name}{what}", found, model.values[register.name, field.name])


def _reset_values(model: BankModel) -> Check:
    for register in model.map.registers:
        yield from _outputs(model, register, " after reset")
        yield from _read_register(model, register, " after reset")


def _nothing_there(model: BankModel, source: random.Random) -> Check:
    """Holes, misaligned addresses, and accesses of the wrong kind are refused, and change nothing."""
    registers = model.map
    places = {0, *(1 << bit for bit in range(registers.address_bits)), (1 << registers.address_bits) - WORD_BYTES}
    for register in registers.registers:
        first, end = register.address, register.address + register.width // 8
        places |= {first, first + 1, first + 2, first + 3, first - WORD_BYTES, end - WORD_BYTES, end}
    for window in registers.windows:
        places |= {window.address - WORD_BYTES, window.address + 2, window.address + window.bytes}
    for address in sorted(place for place in places if 0 <= place < 1 << registers.address_bits):
        readable, writable = BankModel(registers).read(address)[1], BankModel(registers).write(address, 0)
        if writable == Response.SLAVE_ERROR:
            response = yield Write(address, source.getrandbits(32) | 1)
            _expect(f"response to a write of {address:#x}", Response(response), writable)
        if readable == Response.SLAVE_ERROR:
            _, response = yield Read(address)
            _expect(f"response to a read of {address:#x}", Response(response), readable)
    for register in registers.registers:
        yield from _read_register(model, register, " after refused accesses")


def _writes(model: BankModel, register: Register, source: random.Random) -> Check:
    """Writes of ones, zeros and random words, whole and byte by byte, change just what they may."""
    words = [WORD_MASK, 0, 0xAAAAAAAA, 0x55555555, *(source.getrandbits(WORD_BITS) for _ in range(4))]
    for word in range(register.words):
        address = register.address + WORD_BYTES * word
        steps = [(data, ALL_BYTES) for data in words]
        steps += [(data, 1 << byte) for data in (WORD_MASK, 0) for byte in range(WORD_BYTES)]
        steps += [(source.getrandbits(WORD_BITS), strobe) for strobe in (0, 5, 10, 6, 9)]
        for data, strobe in steps:
            yield from _fill(model, register, source)
            response = yield Write(address, data, strobe)
            what = f" after a write of {data:#010x} with strobe {strobe:#06b}"
            _expect(f"response{what}", Response(response), model.write(address, data, strobe))
            yield from _outputs(model, register, what)
            yield from _read_register(model, register, what)
    for other in model.map.registers:
        yield from _read_register(model, other, f" after writes of {register.name}")


def _fill(model: BankModel, register: Register, source: random.Random) -> Check:
    """Have hardware put something into the fields that it can set, so that there is something to clear."""
    for field in register.fields if not model.bus_only else ():
        name, key = f"{register.name}_{field.name}", (register.name, field.name)
        if field.set_by_hardware:
            value = source.getrandbits(field.width)
            yield Pulse({f"{name}_set": value})
            model.values[key] |= value
        if field.counter:
            value = source.getrandbits(field.increment or 1)
            yield Pulse({f"{name}_step": value})
            model.values[key] = (model.values[key] + value) % (1 << field.width)


def _pulse(registers: RegisterMap, register: Register, field: Field) -> Check:
    """Written ones leave the bank for one cycle, and no more."""
    model, name = BankModel(registers), f"{register.name}_{field.name}"
    for value in sorted({(1 << field.width) - 1, 1}) if field.output else ():
        write = Write(register.address + WORD_BYTES * (field.low // WORD_BITS), value << field.low % WORD_BITS)
        _expect(f"cycles of {name}", (yield Watch(write, name)), [value])
        model.write(write.address, write.data)
    yield from _read_register(model, register, f" after a pulse of {field.name}")


def _hardware(registers: RegisterMap, register: Register, field: Field, source: random.Random) -> Check:
    """What hardware does to a field is what software reads."""
    model = BankModel(registers)
    name, key = f"{register.name}_{field.name}", (register.name, field.name)
    full = (1 << field.width) - 1
    for value in (full, 0, *(source.getrandbits(field.width) for _ in range(4))):
        if field.hardware == "drive":
            yield Drive(name, value)
            model.values[key] = value
        if field.hardware == "load":
            yield Drive(f"{name}_next", value ^ full)
            yield Pulse({f"{name}_load": 1, f"{name}_next": value})
            model.values[key] = value
        if field.set_by_hardware:
            yield Pulse({f"{name}_set": value})
            model.values[key] |= value
        if field.counter:
            for step in (1, (1 << (field.increment or 1)) - 1, 0):
                yield Pulse({f"{name}_step": step})
                model.values[key] = (model.values[key] + step) & full
        yield from _outputs(model, register, " after an event")
        yield from _read_register(model, register, " after an event")
        if field.on_read_clears:
            yield from _read_register(model, register, " after it was read")
        if field.cleared_by_hardware:
            yield Pulse({f"{name}_clear": 1})
            model.values[key] = 0
            yield from _read_register(model, register, " after it was cleared")
    if field.cleared_by:
        other = field.cleared_by.partition(".")[0]
        address, data = registers.register(other).address, 1 << registers.field(field.cleared_by).low
        yield Write(address, data)
        model.write(address, data)
        model.values[key] = 0
        yield from _read_register(model, register, f" after {field.cleared_by}")


def _interrupt(registers: RegisterMap, register: Register) -> Check:
    """Each cause raises the interrupt if it is enabled, for as long as it is there."""
    model = BankModel(registers)
    name = f"{register.name}_interrupt"
    for field in register.fields:
        if not (field.interrupt and field.set_by_hardware):
            continue
        cause = (1 << field.width) - 1
        yield Pulse({f"{register.name}_{field.name}_set": cause})
        model.values[register.name, field.name] = cause
        if field.enabled_by:
            enabler, enable = registers.register(field.enabled_by.partition(".")[0]), registers.field(field.enabled_by)
            _expect(f"{name} with {field.name} not enabled", (yield Sample(name)), 0)
            yield Write(enabler.address, enable.mask)
        _expect(f"{name} with {field.name}", (yield Sample(name)), 1)
        if field.on_write == "one_clears":
            yield Write(register.address, WORD_MASK)
            model.write(register.address, WORD_MASK)
            _expect(f"{name} after {field.name} was cleared", (yield Sample(name)), 0)
        if field.enabled_by:
            yield Write(enabler.address, 0)
        yield from _read_register(model, register, f" after {field.name}")


def _snapshot(registers: RegisterMap, register: Register, source: random.Random) -> Check:
    """The high word is that of the last read of the low word, whatever happened since."""
    for field in register.fields:
        if field.hardware != "drive":
            continue
        name = f"{register.name}_{field.name}"
        before, after = source.getrandbits(field.width), source.getrandbits(field.width)
        model = BankModel(registers)
        yield Drive(name, before)
        model.values[register.name, field.name] = before
        yield from _read(model, register.address, register.name)
        yield Drive(name, after)
        model.values[register.name, field.name] = after
        yield from _read(model, register.address + WORD_BYTES, f"the high word of {register.name}")
        yield Drive(name, 0)


def _window(registers: RegisterMap, window: Window, source: random.Random) -> Check:
    """Words at both ends and in the middle of a window keep what was written, byte by byte."""
    model = BankModel(registers)
    ends = [*range(min(WINDOW_WORDS, window.entries)), *range(max(0, window.entries - WINDOW_WORDS), window.entries)]
    words = sorted({*ends, *(source.randrange(window.entries) for _ in range(WINDOW_WORDS))})
    for strobe in (ALL_BYTES, 1, 2, 4, 8, 0, 9):
        for word in words:
            address, data = window.address + WORD_BYTES * word, source.getrandbits(WORD_BITS)
            response = yield Write(address, data, strobe)
            _expect(f"response to a write of {window.name}[{word}]", response, model.write(address, data, strobe))
        for word in words:
            yield from _read(model, window.address + WORD_BYTES * word, f"{window.name}[{word}]")
    for register in registers.registers:
        yield from _read_register(model, register, f" after writes of {window.name}")


def input_members(registers: RegisterMap) -> Iterator[str]:
    """Names of all inputs of a bank that belong to fields."""
    for register, field in registers.fields():
        for name, member in field_members(register, field).items():
            if member.flow.name == "In":
                yield name
