"""The uniform source of the inverse CDF: LFSR161 as windows on the sequences of its components."""

from __future__ import annotations

import operator
from functools import reduce

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract import require_integer
from quietbar.contract.inverse_cdf import seed_words, window_bits
from quietbar.contract.sources import LANES_HIGH
from quietbar.contract.stream import CONFIGURATION_WORD_BITS
from quietbar.contract.uniform import LFSR161, WORD_BITS, Component

from ..stream import LOAD


def continued(window: Value, component: Component, count: int) -> Value:
    """The next ``count`` bits of a component's sequence, the earliest on top, as ``window`` has them.

    The sequence obeys ``b[n] = b[n - order] ^ b[n - (order - tap)]``.
    """
    bits: list[Value] = list(reversed(window))
    for _ in range(count):
        bits.append(bits[-component.order] ^ bits[component.tap - component.order])
    return Cat(reversed(bits[len(window) :]))


class WindowedUniformSource(wiring.Component):
    """LFSR161, ``lanes`` draws of its one sequence at a time.

    A draw of a component is 64 successive bits of its sequence, and the next draw begins ``shift`` bits later. So the
    draws of all lanes are taken from one window, which moves on by ``lanes * shift`` bits; only those are computed.

    Seeding: the words of :func:`quietbar.contract.inverse_cdf.seed_frame` behind the kind enter where new bits do.

    Timing: ``draws`` is there in any cycle in which ``loaded`` is high, and changes in the cycle after ``step``. The
    first word of an image lowers ``loaded`` in the next cycle, the last one raises it.

    Members:
        load: In, see `LOAD`. Words behind the last one of an image are ignored.
        loaded: Out(1), the windows are full.
        refused: Out(1), pulses as ``loaded`` rises if a component got nothing but zeros and would stand still: that is
            no state of any seed.
        step: In(1), go on to the next draws.
        draws: Out(64 bits for each lane).
    """

    def __init__(self, lanes: int) -> None:
        require_integer("gaussian_source.lanes", lanes, 1, LANES_HIGH)
        self.lanes = lanes
        super().__init__(
            {
                "load": In(LOAD),
                "loaded": Out(1),
                "refused": Out(1),
                "step": In(1),
                "draws": Out(data.ArrayLayout(WORD_BITS, lanes)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        total = seed_words(self.lanes)
        count, word = Signal(range(total + 1)), self.load.payload.word
        first = self.load.payload.first
        taken = self.load.valid & (first | ~self.loaded)
        with m.If(taken):
            m.d.sync += count.eq(Mux(first, 1, count + 1))

        # A group of ``lanes`` words moves the windows once: the earlier ones wait for the last.
        words, moved = [word], taken
        if self.lanes > 1:
            earlier = Signal(CONFIGURATION_WORD_BITS * (self.lanes - 1), reset_less=True)
            place = Signal(range(self.lanes))
            last = place == self.lanes - 1
            with m.If(taken):
                m.d.sync += [
                    earlier.eq(Cat(word, earlier)),
                    place.eq(Mux(first, 1, Mux(last, 0, place + 1))),
                ]
            words += [earlier.word_select(index, CONFIGURATION_WORD_BITS) for index in range(self.lanes - 1)]
            moved = taken & last & ~first

        found, offset = [], 0
        drawn: list[list[Value]] = [[] for _ in range(self.lanes)]
        for index, component in enumerate(LFSR161.components):
            window = Signal(window_bits(index, self.lanes), name=f"window_{index}", reset_less=True)
            seen, part = Signal(name=f"seen_{index}"), slice(offset, offset + component.shift)
            entering = Cat(each[part] for each in words)
            following = continued(window, component, len(entering))
            with m.If(moved | self.step):
                m.d.sync += window.eq(Cat(Mux(moved, entering, following), window))
            with m.If(taken):
                m.d.sync += seen.eq(word[part].any() | (seen & ~first))
            for lane in range(self.lanes):
                low = len(window) - WORD_BITS - lane * component.shift
                drawn[lane].append(window[low : low + WORD_BITS])
            found.append(seen)
            offset += component.shift

        was_loaded = Signal()
        m.d.sync += was_loaded.eq(self.loaded)
        m.d.comb += [
            self.loaded.eq(count == total),
            self.refused.eq(self.loaded & ~was_loaded & ~Cat(found).all()),
        ]
        m.d.comb += [self.draws[lane].eq(reduce(operator.xor, parts)) for lane, parts in enumerate(drawn)]
        return m
