"""The requantiser against its specification, at full width."""

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

ACCUMULATOR = IntegerFormat(24, True)
"""The widest bias, and about what accumulators of the networks need."""


def requantizes(shift: int | None) -> object:
    """What :func:`quietbar.contract.requantize` says, beside a requantiser whose pipeline moves all the time.

    The multiplier is distributed over the two parts of the accumulator, ``a * m == ((a >> 17) * m << 17) + (a mod
    2**17) * m``: Amaranth's sums and products have all their bits, so that this is an identity of integers. The
    products are then those of the design, and may be left open.
    """

    def beside(m: Module, part: Requantizer) -> None:
        low = part.accumulator[:FACTOR_BITS] * part.multiplier
        high = part.accumulator[FACTOR_BITS:].as_signed() * part.multiplier
        places = part.shift if shift is None else Const(shift, len(part.shift))
        entering = Signal(part.source.bits + len(part.multiplier))
        # Left open, the products are still within their range.
        largest, parts = (1 << len(part.multiplier)) - 1, part.source.bits - FACTOR_BITS
        m.d.comb += [
            Assume(part.enable),
            Assume(part.shift == places),
            Assume((part.shift >= SHIFT_LOW) & (part.shift <= SHIFT_HIGH)),
            Assume(low <= ((1 << FACTOR_BITS) - 1) * largest),
            Assume((high >= -(1 << (parts - 1)) * largest) & (high < (1 << (parts - 1)) * largest)),
            entering.eq((high << FACTOR_BITS) + low),
        ]
        product = delay(m, entering, part.LATENCY, "product_specified").as_signed()
        late = delay(m, places, part.LATENCY, "places_specified") if shift is None else places
        rounded = (product + (Const(1) << (late - 1)[: len(part.shift)])) >> late
        above, below = rounded > part.target.high, rounded < part.target.low
        expected = Mux(above, part.target.high, Mux(below, part.target.low, rounded))
        age = Signal(range(part.LATENCY + 1))
        with m.If(age != part.LATENCY):
            m.d.sync += age.eq(age + 1)
        with m.Else():
            m.d.comb += [Assert(part.value == expected), Assert(part.saturated == (above | below))]

    return beside


def _property(target: IntegerFormat, shift: int, fast: bool) -> Property:
    kind = "signed" if target.signed else "unsigned"
    return Property(
        f"requantizer/{ACCUMULATOR.bits} to {target.bits} {kind}, shift {shift}",
        "each result and saturation flag is the contract's, for every accumulator and multiplier",
        lambda: Surrounded(Requantizer(ACCUMULATOR, target), requantizes(shift)),  # type: ignore[arg-type]
        method="bounded",
        depth=Requantizer.LATENCY + 2,
        free=("top/t:$mul",),
        fast=fast,
    )


REQUANTIZER = tuple(
    _property(target, shift, fast=target is INT8 and shift in (1, 9, 24, 47))
    for target in (INT8, UINT8)
    for shift in range(SHIFT_LOW, SHIFT_HIGH + 1)
)
