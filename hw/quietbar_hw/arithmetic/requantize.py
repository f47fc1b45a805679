"""The requantiser: every rounding of an accumulator to a narrow integer goes through this one component."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract import IntegerFormat, require
from quietbar.contract.requantize import MULTIPLIER_BITS, SHIFT_BITS

from .shapes import shape_of

FACTOR_BITS = 17
"""Unsigned bits that a multiplier of an FPGA takes (18 with sign): the accumulator is multiplied in two parts."""

COARSE_STEP_BITS = 3
"""The shifter works in two steps: by multiples of 2**3 first, by the rest after."""


class Requantizer(wiring.Component):
    """``value = clamp((accumulator * multiplier + 2**(shift - 1)) >> shift)``, as :func:`quietbar.contract.requantize`.

    The single rounding needs no wide adder, because
    ``(p + 2**(shift - 1)) >> shift == ((p >> (shift - 1)) + 1) >> 1``. So: multiply, add the parts of the product,
    shift by all places but one in two steps, round off the last place and clamp to the range of ``target``. An unsigned
    target is a ReLU.

    Timing: one result a cycle, `LATENCY` enabled cycles after its operands. The pipeline moves only while ``enable`` is
    high; leave it unconnected for a pipeline that always moves (and see :class:`quietbar_hw.stream.ResultQueue`, which
    makes such a pipeline elastic).

    Args:
        accumulator: format of the accumulator, signed.
        target: format of the result.

    Members:
        enable: In(1), high if unconnected.
        accumulator: In, format ``accumulator``.
        multiplier: In(16), from 2**15 to 2**16 - 1.
        shift: In(6), from 1 to 47.
        value: Out, format ``target``.
        saturated: Out(1), with ``value``: it is a limit of the range that the result lies beyond.
    """

    LATENCY = 5

    def __init__(self, accumulator: IntegerFormat, target: IntegerFormat) -> None:
        require(
            accumulator.signed and accumulator.bits > 1,
            "requantizer.accumulator",
            accumulator,
            "signed, 2 bits or more",
        )
        self.source, self.target = accumulator, target
        super().__init__(
            {
                "enable": In(1, init=1),
                "accumulator": In(shape_of(accumulator)),
                "multiplier": In(MULTIPLIER_BITS),
                "shift": In(SHIFT_BITS),
                "value": Out(shape_of(target)),
                "saturated": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        low_bits = min(FACTOR_BITS, self.source.bits - 1)
        low = Signal(low_bits + MULTIPLIER_BITS, reset_less=True)
        high = Signal(signed(self.source.bits - low_bits + MULTIPLIER_BITS), reset_less=True)
        wide = signed(self.source.bits + MULTIPLIER_BITS)
        product, coarse, fine = (Signal(wide, name=name, reset_less=True) for name in ("product", "coarse", "fine"))
        places_early, places = (Signal(SHIFT_BITS, name=name, reset_less=True) for name in ("places_early", "places"))
        places_left = Signal(COARSE_STEP_BITS, reset_less=True)
        value = Signal.like(self.value, name="clamped", reset_less=True)

        # Rounding adds one to `fine` and drops its last bit: compared before that, the range is twice as fine.
        rounded = Signal(self.target.bits)
        above, below = fine > 2 * self.target.high, fine < 2 * self.target.low - 1
        m.d.comb += [self.value.eq(value), rounded.eq((fine[: self.target.bits + 1] + 1) >> 1)]
        with m.If(self.enable):
            m.d.sync += [
                low.eq(self.accumulator[:low_bits] * self.multiplier),
                high.eq(self.accumulator[low_bits:].as_signed() * self.multiplier),
                places_early.eq(self.shift - 1),
                product.eq((high << low_bits) + low),
                places.eq(places_early),
                coarse.eq(product >> Cat(Const(0, COARSE_STEP_BITS), places[COARSE_STEP_BITS:])),
                places_left.eq(places[:COARSE_STEP_BITS]),
                fine.eq(coarse >> places_left),
                value.eq(Mux(above, self.target.high, Mux(below, self.target.low, rounded))),
                self.saturated.eq(above | below),
            ]
        return m
