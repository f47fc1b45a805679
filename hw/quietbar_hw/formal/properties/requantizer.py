"""The requantizer against its specification, at full width."""

from __future__ import annotations

from amaranth.hdl import Assert, Assume, Const, Module, Mux, Signal

from quietbar.contract import IntegerFormat
from quietbar.contract.number import INT8, UINT8
from quietbar.contract.requantize import SHIFT_HIGH, SHIFT_LOW

from ...arithmetic import Requantizer
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
