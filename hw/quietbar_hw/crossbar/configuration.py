"""Configuration frames: which kind, where its words go, and what is wrong with it."""

from __future__ import annotations

import enum

from amaranth.hdl import Const, Module, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract import INT8, CrossbarConfig
from quietbar.contract.stream import CONFIGURATION_WORD_BITS, FrameKind, seed_frame

from ..stream import LOAD
from .converter import image_words

CONFIGURATION = data.StructLayout({"word": CONFIGURATION_WORD_BITS, "last": 1})
"""A word of a configuration frame; ``last`` on the frame's last."""

SEED_WORDS = len(seed_frame(0)) - 1


class Error(enum.IntFlag):
    """Bits of the tile's ``error``. Each stays set until reset; the first five are numbered as the denoiser's."""

    VECTOR_LENGTH = 1
    """``last`` came before the end of a vector. It was ignored."""
    CONFIGURATION_LENGTH = 2
    """A configuration frame was too short or too long. What it sets is not configured; send it again."""
    CONFIGURATION_KIND = 4
    """A configuration frame of a kind that a tile does not know. It was ignored."""
    VALUE_RANGE = 8
    """A weight, offset, gain, shift or read sigma outside its format. What the frame sets is not configured."""
    NOT_CONFIGURED = 16
    """Input was offered while program, converter or seed were missing. It waits until they are there."""
    SEED_USED = 32
    """Noisy programming without a seed of which no sample was drawn. The tile is not programmed."""


ERROR_BITS = max(Error).bit_length()


class Configuration(wiring.Component):
    """Takes configuration frames one at a time, each when the conversions under way are done.

    A frame waits for ``converting`` to fall; from the cycle after it was offered until it has taken effect ``pause`` is
    high, and no input may be taken. ``ready`` is high while the tile is programmed, its converter loaded and its source
    seeded for reading. Noisy programming wants a seed of which no sample was drawn, and uses it up: reading wants
    another.

    A frame with an error is passed over, up to its last word; what it was to set is not ready afterwards.

    Members:
        frames: In(stream of `CONFIGURATION`).
        converting: In(1), vectors are under way.
        pause, ready: Out(1), as above.
        error: Out, bits of `Error`, each for a cycle.
        restart: Out(1), to the programmer: weights begin.
        weights: Out(stream of weights), to the programmer.
        programming: In(1), the programmer is busy.
        converter, source: Out, load ports of converter and Gaussian source.
        converter_invalid: In(1), the word being loaded lies outside its format.
    """

    def __init__(self, config: CrossbarConfig) -> None:
        self.config = config
        super().__init__(
            {
                "frames": In(stream.Signature(CONFIGURATION)),
                "converting": In(1),
                "pause": Out(1),
                "ready": Out(1),
                "error": Out(ERROR_BITS),
                "restart": Out(1),
                "weights": Out(stream.Signature(signed(INT8.bits))),
                "programming": In(1),
                "converter": Out(LOAD),
                "converter_invalid": In(1),
                "source": Out(LOAD),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        lengths = {
            FrameKind.SEED: SEED_WORDS,
            FrameKind.PROGRAM: self.config.weights,
            FrameKind.CONVERTER: image_words(self.config),
        }
        loaded = {kind: Signal(name=f"{kind.name.lower()}_loaded") for kind in lengths}
        fresh, sound, first = Signal(), Signal(), Signal()
        kind, left = Signal(FrameKind), Signal(range(max(lengths.values()) + 1))

        word, last = self.frames.p.word, self.frames.p.last
        taken, word_sound = Signal(), Signal()
        weight = word[: INT8.bits].as_signed()
        m.d.comb += [
            taken.eq(self.frames.valid & self.frames.ready),
            self.ready.eq(loaded[FrameKind.SEED] & loaded[FrameKind.PROGRAM] & loaded[FrameKind.CONVERTER]),
            self.weights.payload.eq(weight),
        ]
        for load in (self.converter, self.source):
            m.d.comb += [load.payload.word.eq(word), load.payload.first.eq(first)]
        with m.If(self.converting):
            m.d.sync += fresh.eq(0)

        with m.FSM():
            with m.State("kind"):
                m.d.comb += self.frames.ready.eq(self.pause & ~self.converting)
                m.d.sync += self.pause.eq(self.frames.valid)
                with m.If(taken):
                    m.d.sync += [kind.eq(word), first.eq(1), sound.eq(1)]
                    m.d.comb += self.restart.eq(1)
                    with m.Switch(word):
                        for known, length in lengths.items():
                            with m.Case(known):
                                m.d.sync += [left.eq(length), loaded[known].eq(0)]
                                m.next = "body"
                        with m.Default():
                            m.d.comb += self.error.eq(Error.CONFIGURATION_KIND)
                            m.next = "pass"
                    if self.config.noisy_programming:
                        with m.If((word == FrameKind.PROGRAM) & ~fresh):
                            m.d.comb += self.error.eq(Error.SEED_USED)
                            m.next = "pass"
                    with m.If(last):
                        m.d.comb += self.error.eq(Error.CONFIGURATION_LENGTH)
                        m.next = "settle"

            with m.State("body"):
                with m.Switch(kind):
                    with m.Case(FrameKind.PROGRAM):
                        m.d.comb += [
                            self.weights.valid.eq(self.frames.valid),
                            self.frames.ready.eq(self.weights.ready),
                            word_sound.eq(
                                (word.as_signed() == weight) & (weight != Const(INT8.low, signed(INT8.bits)))
                            ),
                        ]
                    with m.Case(FrameKind.CONVERTER):
                        m.d.comb += [
                            self.converter.valid.eq(self.frames.valid),
                            self.frames.ready.eq(1),
                            word_sound.eq(~self.converter_invalid),
                        ]
                    with m.Default():
                        m.d.comb += [
                            self.source.valid.eq(self.frames.valid),
                            self.frames.ready.eq(1),
                            word_sound.eq(1),
                        ]
                with m.If(taken):
                    m.d.sync += [left.eq(left - 1), first.eq(0), sound.eq(sound & word_sound)]
                    with m.If(~word_sound):
                        m.d.comb += self.error.eq(Error.VALUE_RANGE)
                    with m.If(last != (left == 1)):
                        m.d.comb += self.error.eq(Error.CONFIGURATION_LENGTH)
                        m.next = "pass"
                    with m.Elif(last & sound & word_sound):
                        self._take_effect(m, kind, loaded, fresh)
                    with m.If(last):
                        m.next = "settle"

            with m.State("pass"):
                m.d.comb += self.frames.ready.eq(1)
                with m.If(taken & last):
                    m.next = "settle"

            with m.State("settle"), m.If(~self.programming):
                m.next = "kind"
        return m

    def _take_effect(self, m: Module, kind: Signal, loaded: dict[FrameKind, Signal], fresh: Signal) -> None:
        with m.Switch(kind):
            for known, flag in loaded.items():
                with m.Case(known):
                    m.d.sync += flag.eq(1)
                    if known == FrameKind.SEED:
                        m.d.sync += fresh.eq(1)
                    elif known == FrameKind.PROGRAM and self.config.noisy_programming:
                        m.d.sync += [fresh.eq(0), loaded[FrameKind.SEED].eq(0)]
