"""Words written to addresses become configuration frames."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract import CrossbarConfig

from .configuration import CONFIGURATION, ERROR_BITS, frame_lengths
from .control import CAUSE_BITS, KIND_BITS, Cause, index_bits, write_layout


class FrameWriter(wiring.Component):
    """Sends a frame's first word when its word 0 is written, then word after word, the last one with ``last``.

    A write is refused where it is not allowed, where its word is out of turn, and where the tiles find fault with it.
    Of a frame that was under way nothing comes into effect then: it is ended early, which the tiles take for an error
    that is not told again. The next write may begin a frame.

    Timing: a word is taken when the tiles take it: in the same cycle; the first of a frame three cycles later, or when
    the frame before has taken effect; weights as fast as they are programmed. A refusal takes one cycle, two or three
    within a frame.

    Members:
        write: In(stream of `write_layout`).
        refused: Out(1), with ``write.ready``.
        allowed: In(1), frames may be written.
        abandon: In(1), pulse: drop the frame under way.
        open: Out(1), a frame is under way.
        frames: Out(stream of `CONFIGURATION`), to the tiles.
        raised: In, what they find fault with.
        errors: Out, pulses of `Cause` but those of the data stream.
    """

    def __init__(self, config: CrossbarConfig) -> None:
        self.config = config
        super().__init__(
            {
                "write": In(stream.Signature(write_layout(config))),
                "refused": Out(1),
                "allowed": In(1),
                "abandon": In(1),
                "open": Out(1),
                "frames": Out(stream.Signature(CONFIGURATION)),
                "raised": In(ERROR_BITS),
                "errors": Out(CAUSE_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        write, lengths = self.write, frame_lengths(self.config)
        kind, following = Signal(KIND_BITS), Signal(index_bits(self.config) + 1)
        known, final, ending, dropping, own = Signal(), Signal(), Signal(), Signal(), Signal(CAUSE_BITS)
        with m.Switch(write.p.kind):
            for each, length in lengths.items():
                with m.Case(each):
                    m.d.comb += [known.eq(1), final.eq(write.p.index == length - 1)]
        with m.Switch(kind):
            for each, length in lengths.items():
                with m.Case(each):
                    m.d.comb += ending.eq(following == length - 1)
        in_turn = self.open & (write.p.kind == kind) & (write.p.index == following)
        begins = ~self.open & known & (write.p.index == 0)
        m.d.comb += self.errors.eq(Mux(dropping, 0, self.raised) | own)
        # A frame may be dropped by the write that is then refused, or with none to answer.
        answers = Signal()
        with m.If(self.abandon):
            m.d.sync += dropping.eq(self.open)

        with m.FSM():
            with m.State("idle"):
                with m.If(self.abandon & self.open):
                    m.d.sync += answers.eq(0)
                    m.next = "drop"
                with m.Elif(write.valid & ~self.allowed):
                    m.d.comb += [write.ready.eq(1), self.refused.eq(1), own.eq(Cause.WRITE_BUSY)]
                with m.Elif(write.valid & begins):
                    m.d.sync += [kind.eq(write.p.kind), following.eq(0)]
                    m.next = "begin"
                with m.Elif(write.valid & in_turn):
                    self._word(m, following, final, dropping, answers)
                with m.Elif(write.valid):
                    m.d.comb += own.eq(Mux(known, Cause.WRITE_ORDER, Cause.CONFIGURATION_KIND))
                    with m.If(self.open):
                        m.d.sync += [dropping.eq(1), answers.eq(1)]
                        m.next = "drop"
                    with m.Else():
                        m.d.comb += [write.ready.eq(1), self.refused.eq(1)]

            with m.State("begin"):
                m.d.comb += [self.frames.valid.eq(1), self.frames.p.word.eq(kind)]
                with m.If(self.frames.ready):
                    m.d.sync += self.open.eq(1)
                    m.next = "idle"
                    with m.If(self.raised.any()):
                        m.d.sync += [dropping.eq(1), answers.eq(1)]
                        m.next = "drop"

            with m.State("drop"):
                # Where one word is missing, another one more is sent, lest the frame be whole.
                m.d.comb += [self.frames.valid.eq(1), self.frames.p.last.eq(~ending)]
                with m.If(self.frames.ready & ending):
                    m.d.sync += following.eq(following + 1)
                with m.Elif(self.frames.ready):
                    m.d.comb += [write.ready.eq(answers), self.refused.eq(answers)]
                    m.d.sync += [self.open.eq(0), dropping.eq(0)]
                    m.next = "idle"
        return m

    def _word(self, m: Module, following: Signal, final: Signal, dropping: Signal, answers: Signal) -> None:
        """Hand on the word; where the tiles refuse it, end the frame."""
        write = self.write
        m.d.comb += [
            self.frames.valid.eq(1),
            self.frames.p.word.eq(write.p.word),
            self.frames.p.last.eq(final),
        ]
        with m.If(self.frames.ready):
            m.d.sync += [following.eq(following + 1), self.open.eq(~final)]
            with m.If(self.raised.any() & ~final):
                m.d.sync += [dropping.eq(1), answers.eq(1)]
                m.next = "drop"
            with m.Else():
                m.d.comb += [write.ready.eq(1), self.refused.eq(self.raised.any())]
