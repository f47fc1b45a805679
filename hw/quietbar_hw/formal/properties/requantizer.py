"""The requantizer against its specification, at full width."""

from __future__ import annotations

from amaranth.hdl import Assert, Assume, Const, Module, Mux, Signal

from quietbar.contract import IntegerFormat
from quietbar.contract.number import INT8, UINT8
from quietbar.contract.requantize import SHIFT_HIGH, SHIFT_LOW

from ...arithmetic import PlacedRequantizer, Requantizer
from ...arithmetic.placed import WINDOW, WINDOWS
from ...arithmetic.requantize import FACTOR_BITS
from ...stream import delay
from ..surroundings import Surrounded
from .property import Property

ACCUMULATORS = (12, 24, 32)
"""Bits. 24 is about what the networks need; 12 are multiplied in one part, and 32 are more than any network needs."""


def requantizes(m: Module, part: Requantizer) -> None:
    """What :func:`quietbar.contract.requantize` says, beside a requantizer whose pipeline moves all the time.

    The multiplier is distributed over the two parts of the accumulator, ``a * m == ((a >> 17) * m << 17) + (a mod
    2**17) * m``: Amaranth's sums and products have all their bits, so that this is an identity of integers. The
    products are then those of the design, and may be left open.
    """
    low_bits, width = min(FACTOR_BITS, part.source.bits - 1), len(part.multiplier)
    low = part.accumulator[:low_bits] * part.multiplier
    high = part.accumulator[low_bits:].as_signed() * part.multiplier
    entering = Signal(part.source.bits + width)
    # Left open, the products are still within their range.
    largest, half = (1 << width) - 1, 1 << (part.source.bits - low_bits - 1)
    m.d.comb += [
        Assume(part.enable),
        Assume((part.shift >= SHIFT_LOW) & (part.shift <= SHIFT_HIGH)),
        Assume(low <= ((1 << low_bits) - 1) * largest),
        Assume((high >= -half * largest) & (high <= (half - 1) * largest)),
        entering.eq((high << low_bits) + low),
    ]
    product = delay(m, entering, part.LATENCY, "product_specified").as_signed()
    places = delay(m, part.shift, part.LATENCY, "places_specified")
    rounded = (product + (Const(1) << (places - 1)[: len(part.shift)])) >> places
    above, below = rounded > part.target.high, rounded < part.target.low
    expected = Mux(above, part.target.high, Mux(below, part.target.low, rounded))
    age = Signal(range(part.LATENCY + 1))
    with m.If(age != part.LATENCY):
        m.d.sync += age.eq(age + 1)
    with m.Else():
        m.d.comb += [Assert(part.value == expected), Assert(part.saturated == (above | below))]


def requantizes_placed(m: Module, part: PlacedRequantizer) -> None:
    """What :func:`quietbar.contract.round_shift` by a whole number of windows says, clamped, of any placed multiplier.

    That such a shift is that of the contract is `quietbar_hw.arithmetic.placed.placed`'s, which a test holds to it for
    every shift. The product is distributed over the parts of both factors, and the parts' products are left open.
    """
    split = min(FACTOR_BITS, part.source.bits - 1)
    low, high = part.accumulator[:split], part.accumulator[split:].as_signed()
    lower, upper = part.multiplier[:WINDOW], part.multiplier[WINDOW:]
    half, entering = 1 << (part.source.bits - split - 1), Signal(part.source.bits + len(part.multiplier))
    for factor in (lower, upper):
        largest = (1 << len(factor)) - 1
        m.d.comb += [
            Assume(low * factor <= ((1 << split) - 1) * largest),
            Assume((high * factor >= -half * largest) & (high * factor <= (half - 1) * largest)),
        ]
    m.d.comb += [
        Assume(part.window < WINDOWS),
        entering.eq(low * lower + (low * upper << WINDOW) + (high * lower << split) + (high * upper << WINDOW + split)),
    ]
    product = delay(m, entering, part.LATENCY, "product_specified").as_signed()
    window = delay(m, part.window, part.LATENCY, "window_specified")
    rounded = Signal(len(entering))
    with m.Switch(window):
        for number in range(WINDOWS):
            with m.Case(number):
                places = WINDOW * (number + 1)
                m.d.comb += rounded.eq((product + (1 << (places - 1))) >> places)
    above, below = rounded.as_signed() > part.target.high, rounded.as_signed() < part.target.low
    expected = Mux(above, part.target.high, Mux(below, part.target.low, rounded))
    age = Signal(range(part.LATENCY + 1))
    with m.If(age != part.LATENCY):
        m.d.sync += age.eq(age + 1)
    with m.Else():
        m.d.comb += [
            Assert(part.value.as_unsigned() == expected[: part.target.bits]),
            Assert(part.saturated == (above | below)),
        ]


def _placed(bits: int, target: IntegerFormat) -> Property:
    kind = "signed" if target.signed else "unsigned"
    return Property(
        f"requantizer of engines/{bits} to {target.bits} {kind}",
        "each result and saturation flag is the contract's, for every accumulator, placed multiplier and window",
        lambda: Surrounded(PlacedRequantizer(IntegerFormat(bits, True), target), requantizes_placed),
        method="bounded",
        depth=PlacedRequantizer.LATENCY + 2,
        free=("top/t:$mul",),
        fast=bits == 24 and target is INT8,
    )


def _property(bits: int, target: IntegerFormat) -> Property:
    kind = "signed" if target.signed else "unsigned"
    return Property(
        f"requantizer/{bits} to {target.bits} {kind}",
        f"each result and saturation flag is the contract's, for every accumulator, multiplier and shift from "
        f"{SHIFT_LOW} to {SHIFT_HIGH}",
        lambda: Surrounded(Requantizer(IntegerFormat(bits, True), target), requantizes),
        method="bounded",
        depth=Requantizer.LATENCY + 2,
        free=("top/t:$mul",),
        fast=bits == 24 and target is INT8,
    )


REQUANTIZER = tuple(_property(bits, target) for bits in ACCUMULATORS for target in (INT8, UINT8))
PLACED = tuple(_placed(bits, target) for bits in ACCUMULATORS for target in (INT8, UINT8))
