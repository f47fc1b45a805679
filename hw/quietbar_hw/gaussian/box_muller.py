"""Box-Muller in fixed point: the pipeline from a 64-bit draw to two Gaussian samples."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract.gaussian import (
    ANGLE_BITS,
    EXPONENT_BITS,
    LOGARITHM,
    OCTAVES,
    PRODUCT_SHIFT,
    RADIUS_BITS,
    RADIUS_VALUE_BITS,
    SAMPLE,
    SIGN_OF_FIRST_BIT,
    SIGN_OF_SECOND_BIT,
    SINE,
    SQUARE_ROOT,
)
from quietbar.contract.uniform import WORD_BITS

from ..arithmetic import shape_of
from ..stream import delay
from .interpolation import Interpolation


def _normalize(m: Module, value: Value, stages: tuple[tuple[int, ...], ...], name: str) -> tuple[Value, Value]:
    """``value`` shifted up until its leading places are no longer zero, one register a stage, and the places shifted.

    Each stage tries its strides in turn: a stride is made if that many leading bits are zero. Returned are the shifted
    value and one bit per stride, the first stride's bit leading.
    """
    shifted = value
    strides: list[Value] = []
    for number, stage in enumerate(stages):
        strides = [delay(m, bit, 1, f"{name}_stride_{number}_{place}") for place, bit in enumerate(strides)]
        for stride in stage:
            idle = ~shifted[-stride:].any()
            shifted = Mux(idle, shifted << stride, shifted)[: len(value)]
            strides.append(delay(m, idle, 1, f"{name}_by_{stride}"))
        shifted = delay(m, shifted, 1, f"{name}_{number}")
    total = Signal(len(strides), name=f"{name}_places")
    m.d.comb += [total[-1 - place].eq(bit) for place, bit in enumerate(strides)]
    return shifted, total


class BoxMuller(wiring.Component):
    """Two samples of each draw, as :func:`quietbar.contract.gaussian.pair`.

    In the order of the pipeline: leading zeros of the radius word and logarithm, ``e = -2 ln(u)``; ``f = sqrt(e)``, by
    shifting ``e`` up in pairs of places and the root down again; the products with cosine and sine, rounded and signed.

    Timing: a draw a cycle, its samples `LATENCY` cycles later. Nothing stops the pipeline.

    Members:
        draw: In(64).
        first, second: Out, signed 16 bits with 11 fraction bits.
    """

    RADIUS_STAGES = ((32, 16), (8, 4), (2, 1))
    ROOT_STAGES = ((16, 8), (4, 2))
    LATENCY = 1 + len(RADIUS_STAGES) + Interpolation.LATENCY + 1 + len(ROOT_STAGES) + Interpolation.LATENCY + 2 + 2

    def __init__(self) -> None:
        super().__init__({"draw": In(WORD_BITS), "first": Out(shape_of(SAMPLE)), "second": Out(shape_of(SAMPLE))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        draw = delay(m, self.draw, 1, "draw")
        radius = self._root(m, self._exponent(m, draw))

        # The sines take their time just before they are needed: an angle is narrower than two sines, and waits.
        wait = self.LATENCY - 3 - Interpolation.LATENCY
        angle = delay(m, draw[:ANGLE_BITS], wait, "angle")
        signs = {"first": draw[SIGN_OF_FIRST_BIT], "second": draw[SIGN_OF_SECOND_BIT]}
        for name, word in (("first", ~angle), ("second", angle)):
            m.submodules[f"sine_{name}"] = sine = Interpolation(SINE)
            negative = delay(m, signs[name], self.LATENCY - 2, f"{name}_sign")
            product = Signal(RADIUS_VALUE_BITS + len(sine.value), name=f"{name}_product", reset_less=True)
            length = Signal(SAMPLE.bits - 1, name=f"{name}_length")
            sample = Signal(shape_of(SAMPLE), name=f"{name}_sample", reset_less=True)
            m.d.comb += [
                sine.index.eq(word[SINE.rest_bits : ANGLE_BITS]),
                sine.rest.eq(word[: SINE.rest_bits]),
                getattr(self, name).eq(sample),
                length.eq((product + (1 << (PRODUCT_SHIFT - 1))) >> PRODUCT_SHIFT),
            ]
            m.d.sync += [
                product.eq(radius * sine.value),
                sample.eq(Mux(negative, -length, length)),
            ]
        return m

    def _exponent(self, m: Module, draw: Value) -> Value:
        """``e = -2 ln(u)``: the octave of the word's leading one, less the logarithm of what follows it."""
        word = draw[WORD_BITS - RADIUS_BITS :] | 1
        normalized, zeros = _normalize(m, word, self.RADIUS_STAGES, "word")
        m.submodules.logarithm = logarithm = Interpolation(LOGARITHM)
        below_one = normalized[: RADIUS_BITS - 1]
        below_index = below_one[: -LOGARITHM.index_bits]
        m.d.comb += [
            logarithm.index.eq(below_one[-LOGARITHM.index_bits :]),
            logarithm.rest.eq(below_index[-LOGARITHM.rest_bits :]),
        ]
        m.submodules.octaves = octaves = memory.Memory(
            shape=max(OCTAVES).bit_length(), depth=1 << len(zeros), init=OCTAVES
        )
        octave = octaves.read_port()
        m.d.comb += octave.addr.eq(delay(m, zeros, Interpolation.LATENCY - 1, "zeros"))
        difference = Signal(Shape(len(octave.data) + 1, signed=True))
        exponent = Signal(EXPONENT_BITS, reset_less=True)
        m.d.comb += difference.eq(octave.data - logarithm.value)
        m.d.sync += exponent.eq(Mux(difference < 1, 1, difference))
        return exponent

    def _root(self, m: Module, exponent: Value) -> Value:
        """``f = sqrt(e)`` with 13 fraction bits: the root of ``e * 4**pairs`` in [1, 4), divided by ``2**pairs``."""
        normalized, pairs = _normalize(m, Cat(exponent, Const(0, 1)), self.ROOT_STAGES, "exponent")
        m.submodules.square_root = square_root = Interpolation(SQUARE_ROOT)
        below_index = normalized[: -SQUARE_ROOT.index_bits]
        m.d.comb += [
            square_root.index.eq(normalized[-SQUARE_ROOT.index_bits :]),
            square_root.rest.eq(below_index[-SQUARE_ROOT.rest_bits :]),
        ]
        shifted = Signal(len(square_root.value), name="root", reset_less=True)
        radius = Signal(RADIUS_VALUE_BITS, reset_less=True)
        m.d.sync += [
            shifted.eq(square_root.value >> delay(m, pairs, Interpolation.LATENCY, "pairs")),
            radius.eq((shifted + 1) >> 1),
        ]
        return radius
