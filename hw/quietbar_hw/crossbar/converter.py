"""The analog-to-digital converter of a tile: read noise, the column's offset and gain, rounding to a code.

code_j = requantize(I_j + round_shift(read_sigma * eps, 11) + offset_j, gain_j, shift_j, low, high)
"""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract import BIAS, CrossbarConfig
from quietbar.contract.crossbar import READ_SIGMA
from quietbar.contract.gaussian import SAMPLE, SAMPLE_FRACTION_BITS
from quietbar.contract.requantize import MULTIPLIER_BITS, MULTIPLIER_LOW, SHIFT_BITS, SHIFT_HIGH, SHIFT_LOW

from ..arithmetic import Requantizer, shape_of
from ..counting import Loop, step_through
from ..storage import storage
from ..stream import LOAD
from .column_sum import current_layout


def code_layout(config: CrossbarConfig) -> data.StructLayout:
    """The ADC code of a column; ``last`` on the last column of a frame's last vector."""
    return data.StructLayout({"code": shape_of(config.target), "last": 1})


def image_words(config: CrossbarConfig) -> int:
    """Words of a converter image: offsets, gains, shifts by column, read sigma."""
    return 3 * config.columns + 1


class Converter(wiring.Component):
    """One converter for all columns of a tile, which come one after the other. Each conversion takes one sample, at the
    moment in which its current is taken; a stalled converter holds the source.

    Timing: a code every cycle, `LATENCY` cycles after its current was taken. The pipeline moves when its end may.

    Members:
        load: In, an image (see :func:`image_words`); not while currents come.
        invalid: Out(1), the word being loaded lies outside its format.
        currents: In(stream of `current_layout`), columns in order.
        samples: In(stream of samples).
        codes: Out(stream of `code_layout`).
        vector_taken: Out(1), the last column of a vector is taken in this cycle.
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
                "codes": Out(stream.Signature(code_layout(config))),
                "vector_taken": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        columns = self.config.columns
        column, advance, taken = Loop("column", columns), Signal(), Signal()
        offset, gain, shift, read_sigma = self._image(m, column.counter, advance)
        m.d.comb += [
            advance.eq(~self.codes.valid | self.codes.ready),
            taken.eq(self.currents.valid & self.samples.valid & advance),
            self.currents.ready.eq(self.samples.valid & advance),
            self.samples.ready.eq(self.currents.valid & advance),
            self.vector_taken.eq(step_through(m, taken, column)),
        ]

        current = Signal(self.currents.p.current.shape())
        noise = Signal(signed(READ_SIGMA.bits + SAMPLE.bits + 1))
        m.submodules.requantizer = requantizer = Requantizer(self.config.current, self.config.target)
        accumulator = Signal(shape_of(self.config.current))
        multiplier, places = Signal(MULTIPLIER_BITS), Signal(SHIFT_BITS)
        valid, last = Signal(self.LATENCY), Signal(self.LATENCY)
        with m.If(advance):
            m.d.sync += [
                current.eq(self.currents.p.current),
                noise.eq(read_sigma * self.samples.payload),
                accumulator.eq(
                    current + offset + ((noise + (1 << (SAMPLE_FRACTION_BITS - 1))) >> SAMPLE_FRACTION_BITS)
                ),
                multiplier.eq(gain),
                places.eq(shift),
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

    def _image(self, m: Module, column: Value, advance: Value) -> tuple[Value, Value, Value, Value]:
        """The image's memories: what ``column`` has, one cycle later if ``advance``; and the read sigma."""
        word, first = self.load.payload.word, self.load.payload.first
        fields = (("offset", signed(BIAS.bits)), ("gain", unsigned(MULTIPLIER_BITS)), ("shift", unsigned(SHIFT_BITS)))
        section, place = Signal(2), Signal(range(max(2, self.config.columns)))
        here, at = Signal.like(section), Signal.like(place)
        m.d.comb += [here.eq(Mux(first, 0, section)), at.eq(Mux(first, 0, place))]
        with m.If(self.load.valid):
            m.d.sync += [section.eq(here), place.eq(at + 1)]
            with m.If(at == self.config.columns - 1):
                m.d.sync += [section.eq(here + 1), place.eq(0)]

        found = []
        for number, (name, shape) in enumerate(fields):
            m.submodules[name] = memory = storage(shape, self.config.columns)
            write, read = memory.write_port(), memory.read_port()
            m.d.comb += [
                write.addr.eq(at),
                write.data.eq(word),
                write.en.eq(self.load.valid & (here == number)),
                read.addr.eq(column),
                read.en.eq(advance),
            ]
            found.append(read.data)
        read_sigma = Signal(READ_SIGMA.bits)
        with m.If(self.load.valid & (here == len(fields))):
            m.d.sync += read_sigma.eq(word)

        outside = Signal()
        with m.Switch(here):
            with m.Case(0):
                sign = word[BIAS.bits - 1 :]
                m.d.comb += outside.eq(sign.any() & ~sign.all())
            with m.Case(1):
                m.d.comb += outside.eq((word >> (MULTIPLIER_BITS - 1)) != (MULTIPLIER_LOW >> (MULTIPLIER_BITS - 1)))
            with m.Case(2):
                m.d.comb += outside.eq((word < SHIFT_LOW) | (word > SHIFT_HIGH))
            with m.Case(3):
                m.d.comb += outside.eq((word >> READ_SIGMA.bits).any())
        m.d.comb += self.invalid.eq(self.load.valid & outside)
        return (*found, read_sigma)
