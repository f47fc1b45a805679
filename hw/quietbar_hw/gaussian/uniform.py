"""The uniform source: LFSR258 in hardware, several draws of the one sequence a cycle."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from functools import reduce

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract import require_integer
from quietbar.contract.stream import CONFIGURATION_WORD_BITS
from quietbar.contract.uniform import COMPONENTS, WORD_BITS, Matrix, leap_matrix

from ..stream import LOAD

WORDS_PER_LANE = len(COMPONENTS) * WORD_BITS // CONFIGURATION_WORD_BITS
LANES_HIGH = 64


def diagonals(matrix: Matrix) -> Iterator[tuple[int, int]]:
    """The matrix as pairs (offset, mask): its product is the exclusive-or of all ``(word << offset) & mask``.

    A negative offset is a shift to the right. The leap matrices of a Tausworthe component have few diagonals.
    """
    for offset in range(1 - WORD_BITS, WORD_BITS):
        rows = (row for row in range(WORD_BITS) if 0 <= row - offset < WORD_BITS)
        mask = sum(1 << row for row in rows if matrix[row - offset] >> row & 1)
        if mask:
            yield offset, mask


def leapt(word: Value, matrix: Matrix) -> Value:
    """The network of exclusive-or gates for ``matrix * word``."""
    terms = []
    for offset, mask in diagonals(matrix):
        shifted = Cat(Const(0, offset), word)[:WORD_BITS] if offset > 0 else word[-offset:]
        terms.append(shifted & Const(mask, WORD_BITS))
    return reduce(operator.xor, terms)


class UniformSource(wiring.Component):
    """LFSR258 in ``lanes`` lanes that leap ``lanes`` steps at a time, so that together they emit one sequence.

    Lane ``p`` emits draws ``p``, ``p + lanes``, ``p + 2 * lanes``, ... when it was loaded with the words of
    :func:`quietbar.contract.stream.seed_frame`: ten to a lane, lane by lane. Only even lanes have a state, which is two
    thirds of the logic; an odd lane's draw is one step from its neighbor's, and what is loaded for it is ignored.

    Timing: ``draws`` is there in any cycle in which ``loaded`` is high, and changes in the cycle after ``step``. The
    first word of an image lowers ``loaded`` in the next cycle, the last one raises it.

    Members:
        load: In, see `LOAD`.
        loaded: Out(1), all lanes have their state.
        refused: Out(1), pulses as ``loaded`` rises if a component would stand still: that is no state of any seed.
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
        words = [
            Signal(WORD_BITS, name=f"word_{lane}_{component}", reset_less=True)
            for lane in range(0, self.lanes, 2)
            for component in range(len(COMPONENTS))
        ]
        total = self.lanes * WORDS_PER_LANE
        count = Signal(range(total + 1))
        first, taken = self.load.payload.first, self.load.valid
        with m.If(self.load.valid):
            m.d.sync += count.eq(Mux(first, 1, Mux(self.loaded, count, count + 1)))
        if self.lanes > 1:
            # Words of an odd lane go by.
            place, odd = Signal(range(WORDS_PER_LANE)), Signal()
            last = ~first & (place == WORDS_PER_LANE - 1)
            with m.If(self.load.valid):
                m.d.sync += [place.eq(Mux(first, 1, Mux(last, 0, place + 1))), odd.eq(~first & (odd ^ last))]
            taken = self.load.valid & (first | ~odd)

        with m.If(taken):
            # Words are shifted in at the top, so the first of an image ends at the bottom.
            entering = [*(word[:CONFIGURATION_WORD_BITS] for word in words[1:]), self.load.payload.word]
            for word, above in zip(words, entering, strict=True):
                m.d.sync += word.eq(Cat(word[CONFIGURATION_WORD_BITS:], above))
        with m.Elif(self.step):
            m.d.sync += [
                word.eq(leapt(word, leap_matrix(index % len(COMPONENTS), self.lanes)))
                for index, word in enumerate(words)
            ]
        carrying = [
            word[WORD_BITS - component.order :].any()
            for word, component in zip(words, COMPONENTS * (len(words) // len(COMPONENTS)), strict=True)
        ]
        was_loaded = Signal()
        m.d.sync += was_loaded.eq(self.loaded)
        m.d.comb += [
            self.loaded.eq(count == total),
            self.refused.eq(self.loaded & ~was_loaded & ~Cat(carrying).all()),
        ]
        for lane in range(self.lanes):
            own = words[lane // 2 * len(COMPONENTS) :][: len(COMPONENTS)]
            drawn = [leapt(word, leap_matrix(component, lane % 2)) for component, word in enumerate(own)]
            m.d.comb += self.draws[lane].eq(reduce(operator.xor, drawn))
        return m
