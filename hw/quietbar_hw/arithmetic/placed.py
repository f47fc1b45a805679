"""The requantizer of engines: multipliers are kept in the place to which the finer part of their shift moves them."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract import IntegerFormat, require
from quietbar.contract.requantize import MULTIPLIER_BITS, SHIFT_HIGH

from ..stream import delay
from .requantize import FACTOR_BITS, Requantizer, choose, parts_of, round_off
from .shapes import shape_of

WINDOW = 16
"""Places from one window of a product to the next."""
WINDOWS = (SHIFT_HIGH - 1) // WINDOW + 1
NUMBER_BITS = (WINDOWS - 1).bit_length()
PLACED_BITS = MULTIPLIER_BITS + WINDOW - 1


def placed(multiplier: int, shift: int) -> tuple[int, int]:
    """A multiplier moved up by as many places as make its shift end with a window, and the number of that window.

    ``accumulator * multiplier >> shift == accumulator * placed >> WINDOW * (number + 1)``, and so with rounding.
    """
    return multiplier << -shift % WINDOW, (shift - 1) // WINDOW


class PlacedRequantizer(wiring.Component):
    """What :class:`Requantizer` does, with less than half of its logic, and four multipliers of an FPGA instead of two.

    Of the product of accumulator and placed multiplier, one of three windows is the result but for its last place,
    which is rounded off. Of the bits above a window nothing counts but whether they differ from the sign.

    Timing: one result a cycle, `LATENCY` cycles after its operands.

    Args:
        accumulator: format of the accumulator, signed.
        target: format of the result.

    Members:
        accumulator: In, format ``accumulator``.
        multiplier: In(31), see `placed`.
        window: In(2), number of the window, from 0 to 2.
        value: Out, format ``target``.
        saturated: Out(1), with ``value``: it is a limit of the range that the result lies beyond.
    """

    LATENCY = Requantizer.LATENCY

    def __init__(self, accumulator: IntegerFormat, target: IntegerFormat) -> None:
        wide = accumulator.signed and accumulator.bits > 1
        require(wide, "requantizer.accumulator", accumulator, "signed, 2 bits or more")
        self.source, self.target = accumulator, target
        super().__init__(
            {
                "accumulator": In(shape_of(accumulator)),
                "multiplier": In(PLACED_BITS),
                "window": In(NUMBER_BITS),
                "value": Out(shape_of(target)),
                "saturated": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # The four products, then the sums of the outer and of the inner two, then all.
        split = min(FACTOR_BITS, self.source.bits - 1)
        low, high = self.accumulator[:split], self.accumulator[split:].as_signed()
        lower, upper = self.multiplier[:WINDOW], self.multiplier[WINDOW:]
        outer = Cat(delay(m, low * lower, 1, "least"), delay(m, high * upper, 1, "most")).as_signed()
        start = min(split, WINDOW)
        middle = (delay(m, low * upper, 1, "middle_low") << WINDOW - start) + (
            delay(m, high * lower, 1, "middle_high") << split - start
        )
        product = Signal(signed(self.source.bits + PLACED_BITS), reset_less=True)
        m.d.sync += product.eq(delay(m, outer, 1, "outer") + (delay(m, middle, 1, "middle") << start))
        number = delay(m, self.window, 3, "number")

        kept, sign = self.target.bits + 1, product[-1]
        wide = Signal(signed(max(len(product), kept + WINDOW * (WINDOWS + 1))))
        m.d.comb += wide.eq(product)
        windows = [wide[WINDOW * place + WINDOW - 1 :][:kept] for place in range(WINDOWS)]
        differs = [
            (part ^ sign.replicate(len(part))).any() for part in parts_of(wide[WINDOW - 1 + kept :], WINDOW // 2)
        ]
        above = [Cat(differs[2 * place :]).any() for place in range(WINDOWS)]

        chosen = Signal(signed(kept + 1), reset_less=True)
        beyond = Signal(reset_less=True)
        value = Signal.like(self.value, name="clamped", reset_less=True)
        m.d.comb += self.value.eq(value)
        result, fits = round_off(m, chosen, beyond, self.target)
        m.d.sync += [
            chosen.eq(Cat(choose(windows, number), sign)),
            beyond.eq(choose(above, number)),
            value.eq(result),
            self.saturated.eq(~fits),
        ]
        return m
