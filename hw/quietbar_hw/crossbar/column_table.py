"""What belongs to the columns of tiles: an addend, a factor and a shift for each, loaded from a configuration frame."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract import BIAS, IntegerFormat
from quietbar.contract.requantize import MULTIPLIER_BITS, MULTIPLIER_LOW, SHIFT_BITS, SHIFT_HIGH, SHIFT_LOW

from ..storage import storage
from ..stream import LOAD


class ColumnTable(wiring.Component):
    """Three memories, read together, and maybe one number for all columns behind them.

    An image is all addends, all factors, all shifts, then the number.

    Timing: the entry of ``column`` is there one cycle later, if ``enable``.

    Args:
        columns: entries.
        number: format of the number for all, unsigned; None where there is none.

    Members:
        load: In, an image; not while entries are read.
        invalid: Out(1), the word being loaded lies outside its format.
        column: In, which entry.
        enable: In(1).
        addend, factor, shift: Out, of the entry.
        number: Out, where there is one.
    """

    def __init__(self, columns: int, number: IntegerFormat | None = None) -> None:
        self.columns, self.extra = columns, number
        super().__init__(
            {
                "load": In(LOAD),
                "invalid": Out(1),
                "column": In(range(max(2, columns))),
                "enable": In(1),
                "addend": Out(signed(BIAS.bits)),
                "factor": Out(MULTIPLIER_BITS),
                "shift": Out(SHIFT_BITS),
                **({} if number is None else {"number": Out(number.bits)}),
            }
        )

    @staticmethod
    def words(columns: int, number: IntegerFormat | None = None) -> int:
        """Words of an image."""
        return 3 * columns + (number is not None)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        word, first = self.load.payload.word, self.load.payload.first
        section, place = Signal(2), Signal(range(max(2, self.columns)))
        here, at = Signal.like(section), Signal.like(place)
        m.d.comb += [here.eq(Mux(first, 0, section)), at.eq(Mux(first, 0, place))]
        with m.If(self.load.valid):
            m.d.sync += [section.eq(here), place.eq(at + 1)]
            with m.If(at == self.columns - 1):
                m.d.sync += [section.eq(here + 1), place.eq(0)]

        fields = (
            ("addend", signed(BIAS.bits)),
            ("factor", unsigned(MULTIPLIER_BITS)),
            ("shift", unsigned(SHIFT_BITS)),
        )
        for index, (name, shape) in enumerate(fields):
            m.submodules[f"{name}s"] = memory = storage(shape, self.columns)
            write, read = memory.write_port(), memory.read_port()
            m.d.comb += [
                write.addr.eq(at),
                write.data.eq(word),
                write.en.eq(self.load.valid & (here == index)),
                read.addr.eq(self.column),
                read.en.eq(self.enable),
                getattr(self, name).eq(read.data),
            ]
        if self.extra is not None:
            # As the memories, it outlives a reset.
            number = Signal(self.extra.bits, reset_less=True)
            with m.If(self.load.valid & (here == len(fields))):
                m.d.sync += number.eq(word)
            m.d.comb += self.number.eq(number)

        outside = Signal()
        with m.Switch(here):
            with m.Case(0):
                sign = word[BIAS.bits - 1 :]
                m.d.comb += outside.eq(sign.any() & ~sign.all())
            with m.Case(1):
                m.d.comb += outside.eq((word >> (MULTIPLIER_BITS - 1)) != (MULTIPLIER_LOW >> (MULTIPLIER_BITS - 1)))
            with m.Case(2):
                m.d.comb += outside.eq((word < SHIFT_LOW) | (word > SHIFT_HIGH))
            if self.extra is not None:
                with m.Case(3):
                    m.d.comb += outside.eq((word >> self.extra.bits).any())
        m.d.comb += self.invalid.eq(self.load.valid & outside)
        return m
