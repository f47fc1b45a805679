"""Configuration frames: which kind, where its words go, and what is wrong with it."""

from __future__ import annotations

import enum

from amaranth.hdl import Cat, Const, Module, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract import INT8, CrossbarConfig
from quietbar.contract.crossbar import FAULT_BITS, Fault
from quietbar.contract.drift import TIME
from quietbar.contract.stream import CONFIGURATION_WORD_BITS, FrameKind, seed_frame

from ..stream import LOAD
from .column_table import ColumnTable
from .converter import image_words
from .devices import FAULTS

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
    """A word outside its format. What the frame sets is not configured."""
    NOT_CONFIGURED = 16
    """Input was offered while some part of the configuration was missing. It waits until all is there."""
    SEED_USED = 32
    """Noisy programming, or exponents, without a seed of which no sample was drawn. What the frame sets is missing."""


ERROR_BITS = max(Error).bit_length()
LOADED_BITS = max(FrameKind) + 1


def frame_lengths(config: CrossbarConfig) -> dict[FrameKind, int]:
    """The kinds of frames that a tile knows, and their words behind the first."""
    lengths = {
        FrameKind.SEED: SEED_WORDS,
        FrameKind.PROGRAM: config.weights,
        FrameKind.CONVERTER: image_words(config),
    }
    if config.faults:
        lengths[FrameKind.FAULTS] = config.weights
    if config.drift:
        lengths |= {FrameKind.EXPONENTS: config.weights, FrameKind.TIME: 1}
    if config.output != "sums":
        lengths[FrameKind.SCALE] = ColumnTable.words(config.outputs)
    return lengths


class Configuration(wiring.Component):
    """Takes configuration frames one at a time, each when the conversions under way are done.

    A frame waits for ``converting`` to fall; from the cycle after it was offered until it has taken effect ``pause`` is
    high, and no input may be taken. ``ready`` is high while every kind of frame that the tile knows (`frame_lengths`)
    has come. Noisy programming wants a seed of which no sample was drawn, and uses it up, and so do exponents: reading
    wants another. PROGRAM sets the time to 0, and asks for exponents anew.

    A frame with an error is passed over, up to its last word; what it was to set is not ready afterwards.

    Members:
        frames: In(stream of `CONFIGURATION`).
        converting: In(1), vectors are under way.
        pause, ready: Out(1), as above.
        loaded: Out, by the number of each kind of frame whether one is in effect.
        forget: In(1), pulse: the seed no longer counts as loaded.
        error: Out, bits of `Error`, each for a cycle.
        restart: Out(1), to programmer and devices: what comes next is of the first weight.
        weights: Out(stream of weights), to the programmer.
        exponents: Out(1), the weights ask for exponents.
        faults: Out(stream of `FAULTS`), to the devices.
        time: Out, the time step.
        refresh: Out(1), pulse: what the conductances follow from has changed.
        programming: In(1), programmer or devices are busy.
        converter, scale, source: Out, load ports of converter, scaler and Gaussian source.
        converter_invalid, scale_invalid: In(1), the word being loaded lies outside its format.
    """

    def __init__(self, config: CrossbarConfig) -> None:
        self.config = config
        super().__init__(
            {
                "frames": In(stream.Signature(CONFIGURATION)),
                "converting": In(1),
                "pause": Out(1),
                "ready": Out(1),
                "loaded": Out(LOADED_BITS),
                "forget": In(1),
                "error": Out(ERROR_BITS),
                "restart": Out(1),
                "weights": Out(stream.Signature(signed(INT8.bits))),
                "exponents": Out(1),
                "faults": Out(stream.Signature(FAULTS, always_ready=True)),
                "time": Out(TIME.bits),
                "refresh": Out(1),
                "programming": In(1),
                "converter": Out(LOAD),
                "converter_invalid": In(1),
                "scale": Out(LOAD),
                "scale_invalid": In(1),
                "source": Out(LOAD),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        lengths = frame_lengths(self.config)
        loaded = {kind: Signal(name=f"{kind.name.lower()}_loaded") for kind in lengths}
        fresh, sound, first = Signal(), Signal(), Signal()
        kind, left = Signal(FrameKind), Signal(range(max(lengths.values()) + 1))
        drawing = [FrameKind.PROGRAM, FrameKind.EXPONENTS] if self.config.noisy_programming else []

        word, last = self.frames.p.word, self.frames.p.last
        taken, word_sound = Signal(), Signal()
        m.d.comb += [
            taken.eq(self.frames.valid & self.frames.ready),
            self.ready.eq(Cat(*loaded.values()).all()),
            self.exponents.eq(kind == FrameKind.EXPONENTS),
        ]
        for load in (self.converter, self.scale, self.source):
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
                                if known == FrameKind.PROGRAM and self.config.drift:
                                    m.d.sync += [loaded[FrameKind.EXPONENTS].eq(0), loaded[FrameKind.TIME].eq(0)]
                                m.next = "body"
                        with m.Default():
                            m.d.comb += self.error.eq(Error.CONFIGURATION_KIND)
                            m.next = "pass"
                    for known in drawing:
                        if known in lengths:
                            with m.If((word == known) & ~fresh):
                                m.d.comb += self.error.eq(Error.SEED_USED)
                                m.next = "pass"
                    with m.If(last):
                        m.d.comb += self.error.eq(Error.CONFIGURATION_LENGTH)
                        m.next = "settle"

            with m.State("body"):
                self._body(m, kind, lengths, word_sound)
                with m.If(taken):
                    m.d.sync += [left.eq(left - 1), first.eq(0), sound.eq(sound & word_sound)]
                    with m.If(~word_sound):
                        m.d.comb += self.error.eq(Error.VALUE_RANGE)
                    with m.If(last != (left == 1)):
                        m.d.comb += self.error.eq(Error.CONFIGURATION_LENGTH)
                        m.next = "pass"
                    with m.Elif(last & sound & word_sound):
                        self._take_effect(m, kind, loaded, fresh, drawing)
                    with m.If(last):
                        m.next = "settle"

            with m.State("pass"):
                m.d.comb += self.frames.ready.eq(1)
                with m.If(taken & last):
                    m.next = "settle"

            with m.State("settle"), m.If(~self.programming):
                m.next = "kind"
        with m.If(self.forget):
            m.d.sync += [fresh.eq(0), loaded[FrameKind.SEED].eq(0)]
        m.d.comb += [self.loaded[known].eq(flag) for known, flag in loaded.items()]
        return m

    def _body(self, m: Module, kind: Signal, lengths: dict[FrameKind, int], word_sound: Signal) -> None:
        """Hand the word to whom it is for, and say whether it is within its format."""
        word, valid, ready = self.frames.p.word, self.frames.valid, self.frames.ready
        weight = word[: INT8.bits].as_signed()
        m.d.comb += [
            self.weights.payload.eq(weight),
            Value.cast(self.faults.payload).eq(word[: 2 * FAULT_BITS]),
        ]
        with m.Switch(kind):
            for known in lengths:
                with m.Case(known):
                    if known in (FrameKind.PROGRAM, FrameKind.EXPONENTS):
                        in_format = word.as_signed() == weight
                        not_lowest = weight != Const(INT8.low, signed(INT8.bits))
                        m.d.comb += [
                            self.weights.valid.eq(valid),
                            ready.eq(self.weights.ready),
                            word_sound.eq(in_format & not_lowest),
                        ]
                        continue
                    m.d.comb += ready.eq(1)
                    if known == FrameKind.FAULTS:
                        unknown = ((word >> place)[:FAULT_BITS] > max(Fault) for place in (0, FAULT_BITS))
                        outside = (word >> (2 * FAULT_BITS)).any() | Cat(*unknown).any()
                        m.d.comb += [self.faults.valid.eq(valid), word_sound.eq(~outside)]
                    elif known == FrameKind.TIME:
                        m.d.comb += word_sound.eq(word <= TIME.high)
                        with m.If(valid):
                            m.d.sync += self.time.eq(word)
                    elif known == FrameKind.CONVERTER:
                        m.d.comb += [self.converter.valid.eq(valid), word_sound.eq(~self.converter_invalid)]
                    elif known == FrameKind.SCALE:
                        m.d.comb += [self.scale.valid.eq(valid), word_sound.eq(~self.scale_invalid)]
                    else:
                        m.d.comb += [self.source.valid.eq(valid), word_sound.eq(1)]

    def _take_effect(
        self, m: Module, kind: Signal, loaded: dict[FrameKind, Signal], fresh: Signal, drawing: list[FrameKind]
    ) -> None:
        with m.Switch(kind):
            for known, flag in loaded.items():
                with m.Case(known):
                    m.d.sync += flag.eq(1)
                    if known == FrameKind.SEED:
                        m.d.sync += fresh.eq(1)
                    if known in drawing:
                        m.d.sync += [fresh.eq(0), loaded[FrameKind.SEED].eq(0)]
                    if known == FrameKind.PROGRAM and self.config.drift:
                        m.d.sync += [self.time.eq(0), loaded[FrameKind.TIME].eq(1)]
                    if known in (FrameKind.PROGRAM, FrameKind.EXPONENTS, FrameKind.FAULTS, FrameKind.TIME):
                        m.d.comb += self.refresh.eq(1)
