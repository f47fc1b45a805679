"""AXI4-Lite without deadlock, and the register bank against its map."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Assert, Cat, Const, Module, Mux, Signal, Value

from ...registers.axi_lite import AxiLiteSlave
from ...registers.bank import RegisterBank
from ...registers.crossbar import crossbar_map
from ...registers.engine import engine_map
from ...registers.model import WORD_BITS, WORD_BYTES, Field, Register, RegisterMap, Window
from ..axi_lite import answers_in_time, done_in_time
from ..surroundings import Surrounded
from .property import Property
from .streams import ENGINE, REGISTERS, TILE, TILE_FOLDING

EVERY_KIND = RegisterMap(
    name="every_kind",
    registers=(
        Register(
            "setting",
            0,
            32,
            (
                Field("value", 0, 10, reset=5, output=True),
                Field("loaded", 12, 3, hardware="load", output=True),
                Field("late", 16, 2, hardware="load", hardware_first=True),
                Field("start", 24, 1, pulse=True, output=True),
            ),
        ),
        Register(
            "events",
            4,
            32,
            (
                Field("ones", 0, 2, on_write="one_clears", set_by_hardware=True, hardware_first=True, interrupt=True),
                Field("sets", 4, 2, on_write="one_sets", cleared_by_hardware=True, output=True),
                Field("gone", 8, 2, on_read_clears=True, set_by_hardware=True, hardware_first=True),
                Field("secret", 28, 2, access="w", output=True),
            ),
        ),
        Register("count", 8, 64, (Field("count", 0, 34, access="r", counter=True, cleared_by="setting.start"),)),
        Register("seen", 16, 32, (Field("pins", 3, 4, reset=None, access="r", hardware="drive"),)),
        Register("mask", 20, 32, (Field("clears", 0, 9, on_write="clears", set_by_hardware=True),)),
    ),
    windows=(Window("memory", 32, 3), Window("rom", 64, 2, access="r")),
)
"""A map with a field of every kind."""


def accesses_end(m: Module, part: AxiLiteSlave) -> None:
    """The surroundings of a slave: an access is done within 3 cycles."""
    done_in_time(m, part.start, part.done, "access", 3)
    answers_in_time(m, part, "s_axil", within=14)


def windows_answer(m: Module, part: RegisterBank) -> None:
    """The surroundings of a bank: the memories behind its windows answer within 3 cycles."""
    for window in part.map.windows:
        select, acknowledge = getattr(part, f"{window.name}_select"), getattr(part, f"{window.name}_acknowledge")
        done_in_time(m, select, acknowledge, window.name, 3)
    answers_in_time(m, part, "s_axil", within=14)


class SpecifiedBank(RegisterBank):
    """A bank with, beside it, what its map says of each bit, and the assertion that it is so.

    The specification keeps each field's bits on its own, and looks at nothing of the bank but the access at hand.
    """

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        port = m.submodules.port
        ends = port.start & port.done
        words = [(register, word) for register in self.map.registers for word in range(register.words)]
        at = {(register.name, word): port.address == register.address + word * WORD_BYTES for register, word in words}
        bits = {
            (register.name, field.name): self._bits_of(m, port, ends, at, register, field)
            for register, field in self.map.fields()
        }
        for register, field in self.map.fields():
            if field.output:
                m.d.comb += Assert(getattr(self, f"{register.name}_{field.name}") == bits[register.name, field.name])

        # What is answered. The upper word of a register of two words is that of the last read of the lower.
        allowed, expected = Signal(), Signal(WORD_BITS)
        for register, word in words:
            whole = self._whole(register, bits)
            value = whole[:WORD_BITS]
            if register.words == 2:
                kept = Signal(WORD_BITS, name=f"{register.name}_kept")
                with m.If(port.start & ~port.write & at[register.name, 0]):
                    m.d.sync += kept.eq(whole[WORD_BITS:])
                value = kept if word else value
            with m.If(at[register.name, word]):
                m.d.comb += [
                    expected.eq(value),
                    allowed.eq(Mux(port.write, register.writable, register.readable)),
                ]
        windows = [self._window_at(m, port, window, allowed) for window in self.map.windows]
        inside = Cat(windows).any() if windows else Const(0)
        m.d.comb += Assert(inside | ~port.start | (port.done & (port.refused == ~allowed)))
        m.d.comb += Assert(inside | ~ends | port.write | ~allowed | (port.result == expected))
        return m

    def _window_at(self, m: Module, port: Any, window: Window, allowed: Signal) -> Value:
        """Whether an access that may be is one of a window: then the memory gets it, and answers it."""
        place = port.address - window.address
        there = (port.address >= window.address) & (place < window.bytes) & (port.address % WORD_BYTES == 0)
        may = Mux(port.write, "w" in window.access, "r" in window.access)
        selected, name = Signal(name=f"{window.name}_expected"), window.name
        m.d.comb += [
            selected.eq(port.start & there & may),
            Assert(getattr(self, f"{name}_select") == selected),
            Assert(~selected | (getattr(self, f"{name}_write") == port.write)),
            Assert(~selected | (getattr(self, f"{name}_address") == place // WORD_BYTES)),
            Assert(~selected | (getattr(self, f"{name}_write_data") == port.data)),
            Assert(~selected | (port.done == getattr(self, f"{name}_acknowledge"))),
            Assert(~(selected & port.done) | (port.refused == getattr(self, f"{name}_refused"))),
            Assert(~(selected & port.done) | port.write | (port.result == getattr(self, f"{name}_read_data"))),
        ]
        return selected

    def _whole(self, register: Register, bits: dict[tuple[str, str], Value]) -> Value:
        """What the register reads as."""
        parts: Value = Const(0, register.width)
        for field in register.fields:
            if field.readable_by_software:
                parts = parts | (bits[register.name, field.name] << field.low)
        return parts[: register.width]

    def _bits_of(
        self, m: Module, port: Any, ends: Value, at: dict[tuple[str, int], Value], register: Register, field: Field
    ) -> Value:
        """The field as its map says, bit by bit."""
        name = f"{register.name}_{field.name}"
        if field.hardware == "drive":
            return getattr(self, name)
        if not field.stored:
            return Const(field.reset or 0, field.width)
        value = Signal(field.width, init=field.reset or 0, name=f"{name}_specified")
        read = Cat(ends & ~port.write & at[register.name, word] for word in range(register.words)).any()
        read = read & register.readable
        touched = []
        for place in range(field.low, field.low + field.width):
            word, bit = divmod(place, WORD_BITS)
            touched.append(ends & port.write & at[register.name, word] & port.strobe[bit // 8])

        # What happens to a bit, and what becomes of it; the later one has the last word.
        by_software: list[tuple[Value, Any]] = []
        by_hardware: list[tuple[Value, Any]] = []
        data = [port.data[(field.low + index) % WORD_BITS] for index in range(field.width)]
        zeros, ones = [Const(0, 1)] * field.width, [Const(1, 1)] * field.width
        if field.on_read_clears:
            by_software += zip([read] * field.width, zeros, strict=True)
        if field.writable_by_software:
            hits = [touch & bit for touch, bit in zip(touched, data, strict=True)]
            by_software += {
                "store": list(zip(touched, data, strict=True)),
                "one_clears": list(zip(hits, zeros, strict=True)),
                "one_sets": list(zip(hits, ones, strict=True)),
                "clears": list(zip([Cat(touched).any()] * field.width, zeros, strict=True)),
            }[field.on_write]
        if field.cleared_by_hardware:
            by_hardware += zip([getattr(self, f"{name}_clear")] * field.width, zeros, strict=True)
        if field.cleared_by:
            clearing = getattr(self, field.cleared_by.replace(".", "_"))
            by_hardware += zip([clearing] * field.width, zeros, strict=True)
        if field.hardware == "load":
            loads = [getattr(self, f"{name}_load")] * field.width
            by_hardware += zip(loads, getattr(self, f"{name}_next"), strict=True)
        if field.set_by_hardware:
            by_hardware += zip(getattr(self, f"{name}_set"), ones, strict=True)

        def happens(number: int, before: Value, events: list[tuple[Value, Any]]) -> Signal:
            after = Signal(field.width, name=f"{name}_after_{number}")
            m.d.comb += after.eq(before)
            for place, (event, becomes) in enumerate(events):
                with m.If(event):
                    m.d.comb += after[place % field.width].eq(becomes)
            return after

        following: Value = Const(0, field.width) if field.pulse else value
        sides = (by_software, by_hardware) if field.hardware_first else (by_hardware, by_software)
        for number, side in enumerate(sides):
            following = happens(number, following, side)
            if field.counter and side is by_hardware:  # a step of the cycle in which it is cleared counts
                following = (following + getattr(self, f"{name}_step"))[: field.width]
        m.d.sync += value.eq(following)
        return value


REGISTER_PROPERTIES = (
    Property(
        "axi4-lite/AxiLiteSlave",
        "answers every transfer once, within 14 cycles of accesses of up to 4, responses taken within 2",
        lambda: Surrounded(AxiLiteSlave(3), accesses_end),
    ),
    Property(
        "axi4-lite/RegisterBank",
        "answers every transfer once, within 14 cycles where memories answer within 4",
        lambda: Surrounded(RegisterBank(REGISTERS), windows_answer),
    ),
    Property(
        "registers/every kind of field",
        "each bit, answer and window access is what the map says, after any accesses and hardware events",
        lambda: Surrounded(SpecifiedBank(EVERY_KIND)),
    ),
    Property(
        "registers/engine",
        "each bit, answer and window access is what engine.rdl says, after any accesses and hardware events",
        lambda: Surrounded(SpecifiedBank(engine_map(ENGINE))),
        fast=False,
    ),
    Property(
        "registers/crossbar",
        "each bit, answer and window access is what crossbar.rdl says, after any accesses and hardware events",
        lambda: Surrounded(SpecifiedBank(crossbar_map(TILE, TILE_FOLDING))),
        fast=False,
    ),
)
