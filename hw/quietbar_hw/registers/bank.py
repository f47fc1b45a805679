"""The register bank: the hardware of a register map, behind an AXI4-Lite port."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .axi_lite import AxiLiteSlave, axi_lite_members, connect_axi_lite
from .model import WORD_BITS, WORD_BYTES, Field, Register, RegisterMap, Window


def field_members(register: Register, field: Field) -> dict[str, Any]:
    """The members of a bank that belong to a field, and what each is for."""
    name, members = f"{register.name}_{field.name}", {}
    if field.output:
        members[name] = Out(field.width)
    if field.hardware == "drive":
        members[name] = In(field.width)
    if field.hardware == "load":
        members |= {f"{name}_load": In(1), f"{name}_next": In(field.width)}
    if field.set_by_hardware:
        members[f"{name}_set"] = In(field.width)
    if field.cleared_by_hardware:
        members[f"{name}_clear"] = In(1)
    if field.counter:
        members[f"{name}_step"] = In(field.increment or 1)
    return members


def window_members(window: Window, name: str = "") -> dict[str, Any]:
    """The members of a bank that belong to a window."""
    name = name or window.name
    return {
        f"{name}_select": Out(1),
        f"{name}_write": Out(1),
        f"{name}_address": Out(max((window.entries - 1).bit_length(), 1)),
        f"{name}_write_data": Out(WORD_BITS),
        f"{name}_write_strobe": Out(WORD_BYTES),
        f"{name}_acknowledge": In(1),
        f"{name}_refused": In(1),
        f"{name}_read_data": In(WORD_BITS),
    }


class RegisterBank(wiring.Component):
    """Registers and memory windows behind an AXI4-Lite port.

    A transfer is answered with SLVERR, and does nothing, where its address is not that of a word, where there is
    neither register nor window, where it writes what software may only read or reads what it may only write, and where
    the memory behind a window refuses it. Bytes whose strobe is low stay as they are.

    Timing: see :class:`AxiLiteSlave`; an access to a register takes one cycle, one to a window as many as the memory
    wants. A written value leaves the bank one cycle after the access, a pulse in that cycle alone.

    Members (those of a field only as far as the map gives it hardware):
        s_axil_...: the AXI4-Lite port.
        REGISTER_FIELD: Out, the value; or In, where hardware drives it.
        REGISTER_FIELD_load, REGISTER_FIELD_next: In, take the next value in this cycle.
        REGISTER_FIELD_set: In, set these bits.
        REGISTER_FIELD_clear: In(1), make it 0.
        REGISTER_FIELD_step: In, count up by this.
        REGISTER_interrupt: Out(1), whether an enabled bit of it is set.
        WINDOW_select: Out(1), the memory is accessed; it stays high, and all below steady, until the acknowledgement.
        WINDOW_write, WINDOW_address, WINDOW_write_data, WINDOW_write_strobe: Out, which access; the address in words.
        WINDOW_acknowledge: In(1), the access is done in this cycle; only while selected.
        WINDOW_refused, WINDOW_read_data: In, taken in that cycle.
    """

    def __init__(self, registers: RegisterMap) -> None:
        self.map = registers
        members = axi_lite_members("s_axil", registers.address_bits)
        for register, field in registers.fields():
            members |= field_members(register, field)
        members |= {f"{register.name}_interrupt": Out(1) for register in registers.registers if register.interrupt}
        for window in registers.windows:
            members |= window_members(window)
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.port = port = AxiLiteSlave(self.map.address_bits)
        connect_axi_lite(m, self, port)

        values = {(register.name, field.name): self._value(m, register, field) for register, field in self.map.fields()}
        found = Signal()
        m.d.comb += [port.done.eq(1), port.refused.eq(~found)]
        for register in self.map.registers:
            self._register(m, port, found, register, values)
        for window in self.map.windows:
            self._window(m, port, found, window)
        return m

    def _value(self, m: Module, register: Register, field: Field) -> Value:
        """What a field reads as."""
        name = f"{register.name}_{field.name}"
        if field.hardware == "drive":
            return getattr(self, name)
        if not field.stored:
            value: Value = Const(field.reset or 0, field.width)
        else:
            value = Signal(field.width, init=field.reset or 0, name=f"{name}_value")
        if field.output:
            m.d.comb += getattr(self, name).eq(value)
        return value

    def _register(
        self, m: Module, port: AxiLiteSlave, found: Signal, register: Register, values: dict[tuple[str, str], Value]
    ) -> None:
        """Decode the words of a register, and give each of its fields its next value."""
        reads, writes = [], []
        upper = Signal(WORD_BITS, name=f"{register.name}_upper", reset_less=True) if register.words == 2 else None
        for word in range(register.words):
            here = port.start & (port.address == register.address + word * WORD_BYTES)
            read, write = Signal(name=f"{register.name}_read_{word}"), Signal(name=f"{register.name}_write_{word}")
            m.d.comb += [
                read.eq(here & ~port.write if register.readable else 0),
                write.eq(here & port.write if register.writable else 0),
            ]
            reads.append(read)
            writes.append(write)
            with m.If(read | write):
                m.d.comb += found.eq(1)
        whole = Cat(*self._bits(register, values))
        with m.If(reads[0]):
            m.d.comb += port.result.eq(whole[:WORD_BITS])
            if upper is not None:
                m.d.sync += upper.eq(whole[WORD_BITS:])
        if upper is not None:
            with m.If(reads[1]):
                m.d.comb += port.result.eq(upper)

        strobes = Cat(bit.replicate(8) for bit in port.strobe)
        masks = Cat(Mux(write, strobes, 0) for write in writes)
        written = Cat(port.data for _ in writes)
        for field in register.fields:
            if field.stored:
                place = slice(field.low, field.high + 1)
                self._store(m, register, field, values, masks[place], written[place], Cat(reads).any())
        if register.interrupt:
            self._interrupt(m, register, values)

    def _bits(self, register: Register, values: dict[tuple[str, str], Value]) -> Iterator[Value]:
        """What the register reads as, piece by piece from its lowest bit up."""
        place = 0
        for field in register.fields:
            if field.low > place:
                yield Const(0, field.low - place)
            readable = field.readable_by_software
            yield values[register.name, field.name] if readable else Const(0, field.width)
            place = field.low + field.width
        if place < register.width:
            yield Const(0, register.width - place)

    def _store(
        self,
        m: Module,
        register: Register,
        field: Field,
        values: dict[tuple[str, str], Value],
        mask: Value,
        written: Value,
        read: Value,
    ) -> None:
        """The next value of a field: what software does and what hardware does, the one with the last word last."""
        name, value = f"{register.name}_{field.name}", values[register.name, field.name]
        steps = [self._software(field, mask, written, read), self._hardware(name, field, values)]
        following: Value = Const(0, field.width) if field.pulse else value
        for step in steps if field.hardware_first else reversed(steps):
            following = step(following)
        m.d.sync += value.eq(following)

    def _software(self, field: Field, mask: Value, written: Value, read: Value) -> Any:
        def apply(value: Value) -> Value:
            if field.on_read_clears:
                value = Mux(read, 0, value)
            if not field.writable_by_software:
                return value
            return {
                "store": (value & ~mask) | (written & mask),
                "one_clears": value & ~(written & mask),
                "one_sets": value | (written & mask),
                "clears": Mux(mask.any(), 0, value),
            }[field.on_write]

        return apply

    def _hardware(self, name: str, field: Field, values: dict[tuple[str, str], Value]) -> Any:
        def apply(value: Value) -> Value:
            if field.cleared_by_hardware:
                value = Mux(getattr(self, f"{name}_clear"), 0, value)
            if field.cleared_by:
                register, _, other = field.cleared_by.partition(".")
                value = Mux(values[register, other], 0, value)
            if field.hardware == "load":
                value = Mux(getattr(self, f"{name}_load"), getattr(self, f"{name}_next"), value)
            if field.set_by_hardware:
                value = value | getattr(self, f"{name}_set")
            if field.counter:
                value = (value + getattr(self, f"{name}_step"))[: field.width]
            return value

        return apply

    def _interrupt(self, m: Module, register: Register, values: dict[tuple[str, str], Value]) -> None:
        causes = []
        for field in register.fields:
            if field.interrupt:
                cause = values[register.name, field.name].any()
                if field.enabled_by:
                    other, _, enable = field.enabled_by.partition(".")
                    cause &= values[other, enable].any()
                causes.append(cause)
        m.d.comb += getattr(self, f"{register.name}_interrupt").eq(Cat(causes).any())

    def _window(self, m: Module, port: AxiLiteSlave, found: Signal, window: Window) -> None:
        """Hand an access to the memory behind a window."""
        first, end = window.address, window.address + window.bytes

        def member(name: str) -> Any:
            return getattr(self, f"{window.name}_{name}")

        allowed = {"r": ~port.write, "w": port.write, "rw": Const(1)}[window.access]
        size = (window.bytes - 1).bit_length()
        aligned = window.bytes == 1 << size and first % window.bytes == 0
        if aligned:
            place, inside = port.address[:size], port.address[size:] == first >> size
        else:
            place, inside = port.address - first, (port.address >= first) & (port.address < end)
        inside &= port.address[:2] == 0
        m.d.comb += [
            member("select").eq(port.start & inside & allowed),
            member("write").eq(port.write),
            member("address").eq(place[2:]),
            member("write_data").eq(port.data),
            member("write_strobe").eq(port.strobe),
        ]
        with m.If(member("select")):
            m.d.comb += [
                found.eq(1),
                port.done.eq(member("acknowledge")),
                port.refused.eq(member("refused")),
                port.result.eq(member("read_data")),
            ]
