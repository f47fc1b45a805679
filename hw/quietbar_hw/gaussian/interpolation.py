"""Functions as tables with straight lines between: one component for logarithm, square root and sine."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract.gaussian import InterpolationTable

from ..stream import delay


class Interpolation(wiring.Component):
    """``value = base[index] + round_shift(slope[index] * (2 * rest + 1), rest_bits + 1)``.

    Timing: one value a cycle, `LATENCY` cycles after its argument: table, table register, product, sum.

    Members:
        index: In(``table.index_bits``), the segment.
        rest: In(``table.rest_bits``), the place in the segment.
        value: Out, as wide as the largest value of the table.
    """

    LATENCY = 4

    def __init__(self, table: InterpolationTable) -> None:
        self.table = table
        largest = max(table.value(index, (1 << table.rest_bits) - 1) for index in range(1 << table.index_bits))
        super().__init__(
            {"index": In(table.index_bits), "rest": In(table.rest_bits), "value": Out(largest.bit_length())}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        table = self.table
        row = data.StructLayout({"base": table.base_bits, "slope": table.slope_bits})
        rows = [{"base": base, "slope": slope} for base, slope in zip(table.base, table.slope, strict=True)]
        m.submodules.memory = rom = memory.Memory(shape=row, depth=len(rows), init=rows)
        port = rom.read_port()

        line = Signal(row, reset_less=True)
        product = Signal(table.slope_bits + table.rest_bits + 1, reset_less=True)
        base = Signal(table.base_bits, reset_less=True)
        value = Signal(len(self.value), reset_less=True)
        odd_rest = Cat(Const(1, 1), delay(m, self.rest, 2, "rest"))
        m.d.comb += [port.addr.eq(self.index), self.value.eq(value)]
        m.d.sync += [
            line.eq(port.data),
            product.eq(line.slope * odd_rest),
            base.eq(line.base),
            value.eq(base + ((product + (1 << table.rest_bits)) >> (table.rest_bits + 1))),
        ]
        return m
