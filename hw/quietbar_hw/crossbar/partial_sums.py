"""The digital side of several conversions: codes of slices and tiles added up, and the sums scaled.

sum_j = sum_st code_stj << (s * dac_bits)         out_j = requantize(sum_j + bias_j, multiplier_j, shift_j)
"""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract import CrossbarConfig
from quietbar.contract.requantize import MULTIPLIER_BITS, SHIFT_BITS

from ..arithmetic import Requantizer, shape_of
from ..counting import Loop, step_through
from ..storage import storage
from ..stream import LOAD
from .column_table import ColumnTable
from .converter import adc_layout


def sum_layout(config: CrossbarConfig) -> data.StructLayout:
    """The sum of a column; ``last`` on the last column of a frame's last vector."""
    return data.StructLayout({"code": shape_of(config.sum), "last": 1})


def output_layout(config: CrossbarConfig) -> data.StructLayout:
    """The output of a column; ``last`` on the last column of a frame's last vector."""
    return data.StructLayout({"code": shape_of(config.target), "last": 1})


class PartialSums(wiring.Component):
    """Adds the codes of each column, slice by slice and tile by tile.

    Timing: a code a cycle; a column's sum is there `LATENCY` cycles after its last code was taken.

    Members:
        codes: In(stream of `adc_layout`), in the order (slice, tile, column).
        sums: Out(stream of `sum_layout`), columns in order.
    """

    LATENCY = 1

    def __init__(self, config: CrossbarConfig) -> None:
        self.config = config
        super().__init__(
            {"codes": In(stream.Signature(adc_layout(config))), "sums": Out(stream.Signature(sum_layout(config)))}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        column, tile = Loop("column", config.outputs), Loop("tile", config.row_tiles)
        part = Loop("part", config.slices, stride=config.dac_bits)
        m.submodules.partial = memory = storage(shape_of(config.sum), config.outputs)
        write, read = memory.write_port(), memory.read_port(domain="comb")
        total, advance, final = Signal(shape_of(config.sum)), Signal(), Signal()
        before = Mux(tile.at_start & part.at_start, 0, read.data)
        m.d.comb += [
            read.addr.eq(column.counter),
            write.addr.eq(column.counter),
            write.data.eq(total),
            total.eq(before + (self.codes.p.code << part.counter)),
            final.eq(tile.at_end & part.at_end),
            advance.eq(~self.sums.valid | self.sums.ready),
            self.codes.ready.eq(advance | ~final),
            write.en.eq(self.codes.valid & self.codes.ready),
        ]
        step_through(m, write.en, column, tile, part)
        with m.If(advance):
            m.d.sync += [
                self.sums.valid.eq(self.codes.valid & final),
                self.sums.p.code.eq(total),
                self.sums.p.last.eq(self.codes.p.last),
            ]
        return m


class Scaler(wiring.Component):
    """Scales sums to eight bits, by column. An unsigned output is a ReLU.

    Timing: an output a cycle, `LATENCY` cycles after its sum was taken. The pipeline moves when its end may.

    Members:
        load: In, an image: biases, multipliers, shifts; not while sums come.
        invalid: Out(1), the word being loaded lies outside its format.
        sums: In(stream of `sum_layout`), columns in order.
        outputs: Out(stream of `output_layout`).
    """

    LATENCY = 2 + Requantizer.LATENCY

    def __init__(self, config: CrossbarConfig) -> None:
        self.config = config
        super().__init__(
            {
                "load": In(LOAD),
                "invalid": Out(1),
                "sums": In(stream.Signature(sum_layout(config))),
                "outputs": Out(stream.Signature(output_layout(config))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        column, advance, taken = Loop("column", self.config.outputs), Signal(), Signal()
        m.submodules.table = table = ColumnTable(self.config.outputs)
        m.submodules.requantizer = requantizer = Requantizer(self.config.scaled, self.config.target)
        wiring.connect(m, wiring.flipped(self.load), table.load)
        step_through(m, taken, column)
        found, accumulator = Signal(shape_of(self.config.sum)), Signal(shape_of(self.config.scaled))
        multiplier, places = Signal(MULTIPLIER_BITS), Signal(SHIFT_BITS)
        valid, last = Signal(self.LATENCY), Signal(self.LATENCY)
        with m.If(advance):
            m.d.sync += [
                found.eq(self.sums.p.code),
                accumulator.eq(found + table.addend),
                multiplier.eq(table.factor),
                places.eq(table.shift),
                valid.eq((valid << 1) | taken),
                last.eq((last << 1) | self.sums.p.last),
            ]
        m.d.comb += [
            self.invalid.eq(table.invalid),
            table.column.eq(column.counter),
            table.enable.eq(advance),
            advance.eq(~self.outputs.valid | self.outputs.ready),
            taken.eq(self.sums.valid & advance),
            self.sums.ready.eq(advance),
            requantizer.enable.eq(advance),
            requantizer.accumulator.eq(accumulator),
            requantizer.multiplier.eq(multiplier),
            requantizer.shift.eq(places),
            self.outputs.p.code.eq(requantizer.value),
            self.outputs.p.last.eq(last[-1]),
            self.outputs.valid.eq(valid[-1]),
        ]
        return m
