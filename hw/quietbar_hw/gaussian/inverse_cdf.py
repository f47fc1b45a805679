"""The inverse CDF in fixed point: the pipeline from a 64-bit draw to one sample, and the source built on it."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, EnableInserter, Module, Mux, Signal, Value
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract import require_integer
from quietbar.contract.gaussian import SAMPLE
from quietbar.contract.inverse_cdf import (
    BASE_BITS,
    COARSE_BITS,
    CURVE_BITS,
    CURVE_SHIFT,
    FINE_BITS,
    MAGNITUDE_SHIFT,
    PLACE_BITS,
    QUANTILE,
    SIGN_BIT,
    SLOPE_BITS,
    SLOPE_SHIFT,
)
from quietbar.contract.sources import LANES_HIGH
from quietbar.contract.uniform import WORD_BITS

from ..arithmetic import shape_of
from ..stream import LOAD, delay
from .windows import WindowedUniformSource

_ROW = data.StructLayout({"base": BASE_BITS, "slope": SLOPE_BITS, "curve": CURVE_BITS})
_GROUP = 4


class InverseCdf(wiring.Component):
    """The sample of each draw, as :func:`quietbar.contract.inverse_cdf.sample`.

    In the order of the pipeline: the first group of four that is not all zeros, among the bits that tell the octave;
    the octave in it; the row of the table; the slope at the place, then the value there; the sign.

    Timing: a draw a cycle, its sample `LATENCY` cycles later. Nothing stops the pipeline but its clock's enable.

    Members:
        draw: In(64).
        sample: Out, signed 16 bits with 11 fraction bits.
    """

    LATENCY = 11

    def __init__(self) -> None:
        super().__init__({"draw": In(WORD_BITS), "sample": Out(shape_of(SAMPLE))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        draw = delay(m, self.draw, 1, "draw")
        row = self._row(m, draw)
        place = delay(m, Cat(Const(1, 1), draw[:PLACE_BITS]) ^ (1 << PLACE_BITS), 5, "place").as_signed()
        negative = delay(m, draw[SIGN_BIT], 9, "negative")

        line = delay(m, row, 1, "line")
        bend = Signal(range(-(1 << (CURVE_BITS + PLACE_BITS)), 1 << (CURVE_BITS + PLACE_BITS)), reset_less=True)
        slope = Signal(SLOPE_BITS, reset_less=True)
        rise = Signal(range(-(1 << (SLOPE_BITS + PLACE_BITS)), 1 << (SLOPE_BITS + PLACE_BITS)), reset_less=True)
        value = Signal(BASE_BITS)
        magnitude = Signal(BASE_BITS - MAGNITUDE_SHIFT, reset_less=True)
        sample = Signal(shape_of(SAMPLE), reset_less=True)
        m.d.comb += [
            value.eq(delay(m, line.base, 3, "base") + (rise >> SLOPE_SHIFT)),
            self.sample.eq(sample),
        ]
        m.d.sync += [
            bend.eq(line.curve * place),
            slope.eq(delay(m, line.slope, 1, "slope") + (bend >> CURVE_SHIFT)),
            rise.eq(slope * delay(m, place, 2, "place_again")),
            magnitude.eq(value >> MAGNITUDE_SHIFT),
            sample.eq(Mux(negative, -magnitude, magnitude)),
        ]
        return m

    def _row(self, m: Module, draw: Value) -> Value:
        """The row of the table for a draw, four cycles later."""
        # A one behind the last bit ends the search: then the octave is the largest.
        groups = list(reversed([*_grouped(Cat(Const(1, 1), draw[SIGN_BIT + 1 :]))]))
        used = delay(m, Cat(group.any() for group in groups[:-1]), 1, "used")
        number = Const(len(groups) - 1)
        for index in reversed(range(len(groups) - 1)):
            number = Mux(used[index], index, number)
        number = delay(m, number, 1, "group_number")
        choices = delay(m, Cat(groups), 2, "groups")
        # Of the group only the three upper bits matter: if they are zeros, the fourth is the one.
        chosen = delay(m, choices.word_select(number, _GROUP)[1:], 1, "group")
        octave_high = delay(m, number, 1, "octave_high")
        octave_low = Mux(chosen[2], 0, Mux(chosen[1], 1, Mux(chosen[0], 2, 3)))
        segment = delay(m, draw[PLACE_BITS : PLACE_BITS + FINE_BITS], 3, "segment")
        coarse = Cat(segment[:COARSE_BITS], octave_low, octave_high)
        fine = Cat(segment, octave_low, Const(3, 2))

        table = [
            {"base": base, "slope": slope, "curve": curve}
            for base, slope, curve in zip(QUANTILE.base, QUANTILE.slope, QUANTILE.curve, strict=True)
        ]
        m.submodules.quantile = quantile = memory.Memory(shape=_ROW, depth=len(table), init=table)
        port = quantile.read_port()
        m.d.comb += port.addr.eq(Mux(octave_high == 0, fine, coarse))
        return port.data


def _grouped(bits: Value) -> list[Value]:
    return [bits[start : start + _GROUP] for start in range(0, len(bits), _GROUP)]


class InverseCdfSource(wiring.Component):
    """A stream of samples, ``lanes`` a transfer, in the order of :func:`quietbar.contract.inverse_cdf.samples`.

    The samples depend neither on the number of lanes nor on stalls: while the stream stands, everything stands.

    Seeding: the words of :func:`quietbar.contract.inverse_cdf.seed_frame` behind the kind come through ``load``, the
    first of them marked. That first word empties the pipeline (the one case in which ``valid`` of the stream falls
    without a transfer), and the first sample after the last word is the first of the frame. Before the first seed there
    are no samples.

    Timing: a transfer every cycle; the first comes `LATENCY` cycles after the last word of a seed. ``ready`` reaches
    the enables of all registers in the same cycle.

    Args:
        lanes: samples a transfer.

    Members:
        load: In, see :data:`quietbar_hw.stream.LOAD`.
        loaded: Out(1), a whole seed is there.
        refused: Out(1), pulses one cycle after the last word of what is no state of any seed.
        samples: Out(stream of ``lanes`` samples, signed 16 bits with 11 fraction bits).
    """

    LATENCY = InverseCdf.LATENCY + 1

    def __init__(self, lanes: int) -> None:
        require_integer("gaussian_source.lanes", lanes, 1, LANES_HIGH)
        self.lanes = lanes
        self.shape = data.ArrayLayout(shape_of(SAMPLE), lanes)
        super().__init__(
            {
                "load": In(LOAD),
                "loaded": Out(1),
                "refused": Out(1),
                "samples": Out(stream.Signature(self.shape)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.uniform = uniform = WindowedUniformSource(self.lanes)
        wiring.connect(m, wiring.flipped(self.load), uniform.load)
        seeding = self.load.valid & self.load.payload.first
        under_way = Signal(InverseCdf.LATENCY)
        move = ~under_way[-1] | self.samples.ready
        with m.If(seeding):
            m.d.sync += under_way.eq(0)
        with m.Elif(move):
            m.d.sync += under_way.eq(Cat(uniform.loaded, under_way))
        m.d.comb += [
            self.loaded.eq(uniform.loaded),
            self.refused.eq(uniform.refused),
            uniform.step.eq(uniform.loaded & move),
            self.samples.valid.eq(under_way[-1]),
        ]
        for lane in range(self.lanes):
            pipeline = InverseCdf()
            m.submodules[f"inverse_cdf_{lane}"] = EnableInserter(move)(pipeline)
            m.d.comb += [
                pipeline.draw.eq(uniform.draws[lane]),
                self.samples.payload[lane].eq(pipeline.sample),
            ]
        return m
