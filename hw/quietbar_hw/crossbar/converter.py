"""The analog-to-digital converter of tiles: read noise, the column's offset and gain, rounding to a code.

code_tj = requantize(I_tj + round_shift(read_sigma * eps, 11) + offset_tj, gain_tj, shift_tj, low, high)
"""

from __future__ import annotations

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract import CrossbarConfig
from quietbar.contract.crossbar import READ_SIGMA
from quietbar.contract.gaussian import SAMPLE, SAMPLE_FRACTION_BITS
from quietbar.contract.requantize import MULTIPLIER_BITS, SHIFT_BITS

from ..arithmetic import Requantizer, shape_of
from ..counting import Loop, step_through
from ..stream import LOAD
from .column_sum import current_layout
from .column_table import ColumnTable


def adc_layout(config: CrossbarConfig) -> data.StructLayout:
    """The ADC code of a column; ``last`` on the last one of a frame's last vector."""
    return data.StructLayout({"code": shape_of(config.adc), "last": 1})


def image_words(config: CrossbarConfig) -> int:
    """Words of a converter image: offsets, gains, shifts by tile and column, read sigma."""
    return ColumnTable.words(config.row_tiles * config.outputs, READ_SIGMA)


class Converter(wiring.Component):
    """One converter for all columns of all tiles, which come one after the other. Each conversion takes one sample, at
    the moment in which its current is taken; a stalled converter holds the source.

    Timing: a code every cycle, `LATENCY` cycles after its current was taken. The pipeline moves when its end may.

    Members:
        load: In, an image (see :func:`image_words`); not while currents come.
        invalid: Out(1), the word being loaded lies outside its format.
        currents: In(stream of `current_layout`), columns in order, tile by tile, slice by slice.
        samples: In(stream of samples).
        codes: Out(stream of `adc_layout`).
        vector_taken: Out(1), the last current of a vector is taken in this cycle.
    """

    LATENCY = 2 + Requantizer.LATENCY

    def __init__(self, config: CrossbarConfig) -> None:
        self.config = config
        super().__init__(
            {
                "load": In(LOAD),
                "invalid": Out(1),
                "currents": In(stream.Signature(current_layout(config))),
                "samples": In(stream.Signature(shape_of(SAMPLE))),
                "codes": Out(stream.Signature(adc_layout(config))),
                "vector_taken": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        columns = self.config.row_tiles * self.config.outputs
        column, advance, taken = Loop("column", columns), Signal(), Signal()
        m.submodules.table = table = ColumnTable(columns, READ_SIGMA)
        wiring.connect(m, wiring.flipped(self.load), table.load)
        m.d.comb += [
            self.invalid.eq(table.invalid),
            table.column.eq(column.counter),
            table.enable.eq(advance),
            advance.eq(~self.codes.valid | self.codes.ready),
            taken.eq(self.currents.valid & self.samples.valid & advance),
            self.currents.ready.eq(self.samples.valid & advance),
            self.samples.ready.eq(self.currents.valid & advance),
            self.vector_taken.eq(step_through(m, taken, column, Loop("slice", self.config.slices))),
        ]

        current = Signal(self.currents.p.current.shape())
        noise = Signal(signed(READ_SIGMA.bits + SAMPLE.bits + 1))
        m.submodules.requantizer = requantizer = Requantizer(self.config.current, self.config.adc)
        accumulator = Signal(shape_of(self.config.current))
        multiplier, places = Signal(MULTIPLIER_BITS), Signal(SHIFT_BITS)
        valid, last = Signal(self.LATENCY), Signal(self.LATENCY)
        with m.If(advance):
            m.d.sync += [
                current.eq(self.currents.p.current),
                noise.eq(table.number * self.samples.payload),
                accumulator.eq(
                    current + table.addend + ((noise + (1 << (SAMPLE_FRACTION_BITS - 1))) >> SAMPLE_FRACTION_BITS)
                ),
                multiplier.eq(table.factor),
                places.eq(table.shift),
                valid.eq((valid << 1) | taken),
                last.eq((last << 1) | self.currents.p.last),
            ]
        m.d.comb += [
            requantizer.enable.eq(advance),
            requantizer.accumulator.eq(accumulator),
            requantizer.multiplier.eq(multiplier),
            requantizer.shift.eq(places),
            self.codes.p.code.eq(requantizer.value),
            self.codes.p.last.eq(last[-1]),
            self.codes.valid.eq(valid[-1]),
        ]
        return m
