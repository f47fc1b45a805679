"""The requantiser: rounding of an accumulator to a narrow integer, with multiplier and shift as they come."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract import IntegerFormat, require
from quietbar.contract.requantize import MULTIPLIER_BITS, SHIFT_BITS, SHIFT_HIGH

from .shapes import shape_of

FACTOR_BITS = 17
"""Unsigned bits that a multiplier of an FPGA takes (18 with sign): the accumulator is multiplied in two parts."""

COARSE_STEP_BITS = 3
"""The shifter works in two steps: by multiples of 2**3 first, by the rest after."""


def choose(options: Sequence[Value], number: Value) -> Value:
    """``options[number]`` as a tree of multiplexers; a number that has no option gets any."""
    while len(options) > 1:
        pairs = zip(options[::2], [*options[1::2], *options[-1:]], strict=False)
        options, number = [low if low is high else Mux(number[0], high, low) for low, high in pairs], number[1:]
    return options[0]


def parts_of(value: Value, bits: int) -> list[Value]:
    """``value`` cut into parts of ``bits``; the last may be shorter."""
    return [value[start : start + bits] for start in range(0, len(value), bits)]


def round_off(m: Module, value: Value, beyond: Value, target: IntegerFormat) -> tuple[Value, Value]:
    """The last step: a signed ``value`` without its last place, rounded, in the range of ``target``.

    Args:
        m: the module.
        value: with one place too many.
        beyond: whether more bits would be needed for it.
        target: format of the result.

    Returns:
        The result, and whether it is no limit of the range that the rounded value lies beyond.
    """
    rounded, fits = Signal(signed(len(value))), Signal()
    excess = rounded[target.bits - target.signed :]
    m.d.comb += [
        rounded.eq((value + 1) >> 1),
        fits.eq(~beyond & (~excess.any() | (excess.all() if target.signed else 0))),
    ]
    return Mux(fits, rounded, Mux(value < 0, target.low, target.high)), fits


class Requantizer(wiring.Component):
    """``value = clamp((accumulator * multiplier + 2**(shift - 1)) >> shift)``, as :func:`quietbar.contract.requantize`.

    The single rounding needs no wide adder, because
    ``(p + 2**(shift - 1)) >> shift == ((p >> (shift - 1)) + 1) >> 1``. So: multiply, add the parts of the product,
    shift by all places but one in two steps, round off the last place and clamp to the range of ``target``. An unsigned
    target is a ReLU. Of the first step only as many bits are kept as the second one and the target need; of those above
    all that counts is whether they differ from the sign.

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
        product = Signal(signed(self.source.bits + MULTIPLIER_BITS), reset_less=True)
        step = 1 << COARSE_STEP_BITS
        kept = self.target.bits + step
        coarse, fine = (Signal(signed(kept + 1), name=name, reset_less=True) for name in ("coarse", "fine"))
        beyond_early, beyond = (Signal(name=name, reset_less=True) for name in ("beyond_early", "beyond"))
        places_early, places = (Signal(SHIFT_BITS, name=name, reset_less=True) for name in ("places_early", "places"))
        places_left = Signal(COARSE_STEP_BITS, reset_less=True)
        value = Signal.like(self.value, name="clamped", reset_less=True)

        # What each multiple of the step leaves, and whether bits beyond it differ from the sign.
        shifts = range(0, SHIFT_HIGH, step)
        sign, wide = product[-1], Signal(signed(max(len(product), kept + shifts.stop)))
        m.d.comb += wide.eq(product)
        windows = [wide[shift:][:kept] for shift in shifts]
        differs = Cat((part ^ sign.replicate(len(part))).any() for part in parts_of(wide[kept:], step))
        above = [differs[number:].any() for number in range(len(windows))]

        m.d.comb += self.value.eq(value)
        result, fits = round_off(m, fine, beyond, self.target)
        with m.If(self.enable):
            m.d.sync += [
                low.eq(self.accumulator[:low_bits] * self.multiplier),
                high.eq(self.accumulator[low_bits:].as_signed() * self.multiplier),
                places_early.eq(self.shift - 1),
                product.eq((high << low_bits) + low),
                places.eq(places_early),
                coarse.eq(Cat(choose(windows, places[COARSE_STEP_BITS:]), sign)),
                beyond_early.eq(choose(above, places[COARSE_STEP_BITS:])),
                places_left.eq(places[:COARSE_STEP_BITS]),
                fine.eq(coarse >> places_left),
                beyond.eq(beyond_early),
                value.eq(result),
                self.saturated.eq(~fits),
            ]
        return m
