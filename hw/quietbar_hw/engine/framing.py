"""The way into the engine: beats become frames of known blocks, and what is no such frame is told."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract.engine import ERROR_BITS, EngineConfig, EngineError

from ..stream import Queue
from .frames import STAGE_FIELDS, frame_layout, stage_layout

ENTRY_DEPTH = 2
"""Beats that are taken before anybody asks whose they are."""


class Doing(enum.Enum, shape=2):  # type: ignore[call-arg]
    """What happens to the beat at hand."""

    PASS = 0
    """It belongs to a frame."""
    FILL = 1
    """It was the last of a frame too short, which is being filled up."""
    DROP = 2
    """It is thrown away, up to the next ``tlast``."""


def beat_layout(config: EngineConfig) -> data.StructLayout:
    """A beat as it comes."""
    return data.StructLayout({"data": 8 * config.lanes, "last": 1, "id": config.id_bits})


def element_layout(config: EngineConfig) -> data.StructLayout:
    """A beat of a frame: its data, and whether it ends a pixel, a row, the frame."""
    return data.StructLayout({"data": 8 * config.lanes, "ends_pixel": 1, "ends_row": 1, "ends_frame": 1})


def skipped_layout(config: EngineConfig) -> data.StructLayout:
    """A beat that waits for its noise: data, and what leaves with it; ``bad`` holds with ``last``."""
    return data.StructLayout({"data": 8 * config.lanes, "last": 1, "bad": 1, "id": config.id_bits})


class Framing(wiring.Component):
    """Cuts the stream of beats into frames, as long as the descriptors of their blocks say.

    A frame begins with the first beat after a ``tlast``; its ``tid`` names the block. See `EngineError` for what
    happens where ``tlast`` and descriptor disagree: in any case the next ``tlast`` ends the matter.

    Timing: a beat every cycle, frames back to back; a beat leaves `LATENCY` cycles after it came. But for the readiness
    of the sinks no input reaches an output in the same cycle.

    Members:
        i: In(stream of `beat_layout`).
        begin: In(1), frames may begin.
        seeded: In(1).
        lookup, block: Out, to the `DescriptorTable`; ``fields`` come back a cycle later.
        fields: In, see `frame_layout`.
        element: Out(stream of `element_layout`), to the ``reduce`` stage.
        skipped: Out(stream of `skipped_layout`), together with ``element``.
        frame_reduce, frame_spatial, frame_heads: Out(stream of `stage_layout`), with the first beat of a frame.
        begun: Out(1), a pulse with the first beat of a frame.
        starved: Out(1), a frame has begun, and its next beat is not there.
        errors: Out, pulses.
        dropped: Out(1), a pulse, a frame is dropped.
        culprit: Out(1), a pulse: ``errors`` are about the frame of ``culprit_id``.
        culprit_id: Out.
    """

    LATENCY = 2

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        super().__init__(
            {
                "i": In(stream.Signature(beat_layout(config))),
                "begin": In(1),
                "seeded": In(1),
                "lookup": Out(1),
                "block": Out(config.id_bits),
                "fields": In(frame_layout(config)),
                "element": Out(stream.Signature(element_layout(config))),
                "skipped": Out(stream.Signature(skipped_layout(config))),
                **{f"frame_{name}": Out(stream.Signature(stage_layout(config, name))) for name in STAGE_FIELDS},
                "begun": Out(1),
                "starved": Out(1),
                "errors": Out(ERROR_BITS),
                "dropped": Out(1),
                "culprit": Out(1),
                "culprit_id": Out(config.id_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, fields = self.config, self.fields
        m.submodules.entry = entry = Queue(beat_layout(config), ENTRY_DEPTH)
        wiring.connect(m, wiring.flipped(self.i), entry.i)

        # The beat at hand, and whether it is the first after a tlast.
        beat = Signal(beat_layout(config), reset_less=True)
        held, first, next_first = Signal(), Signal(), Signal(init=1)
        consume, advance = Signal(), Signal()
        m.d.comb += [advance.eq(~held | consume), entry.o.ready.eq(advance)]
        with m.If(advance):
            m.d.sync += held.eq(entry.o.valid)
            with m.If(entry.o.valid):
                m.d.sync += [beat.eq(entry.o.payload), first.eq(next_first), next_first.eq(entry.o.payload.last)]

        # Its descriptor; looked up again and again while the frame waits, as it may be written meanwhile. Whose it is
        # hangs on registers alone: the beat behind one that waited and is gone is looked up a cycle later.
        doing, begun, known = Signal(Doing), Signal(), Signal()
        first_there = held & first & ~begun & (doing == Doing.PASS)
        waiting = first_there & known
        m.d.comb += [
            self.lookup.eq(first_there | (advance & entry.o.valid & next_first)),
            self.block.eq(Mux(first_there, beat.id, entry.o.payload.id)),
        ]
        m.d.sync += known.eq(~(first_there & advance))
        usable = fields.valid & (~fields.sampling | self.seeded)

        # Where the frame is.
        column, row, part = (
            Signal.like(fields[name], name=f"{name}_counter") for name in ("last_column", "last_row", "last_beat")
        )
        ends_pixel, ends_row, ends_frame = Signal(), Signal(), Signal()
        m.d.comb += [
            ends_pixel.eq(part == fields.last_beat),
            ends_row.eq(ends_pixel & (column == fields.last_column)),
            ends_frame.eq(ends_row & (row == fields.last_row)),
        ]
        bad, frame_id = Signal(), Signal(config.id_bits, reset_less=True)
        frames = [getattr(self, f"frame_{name}") for name in STAGE_FIELDS]
        starting = waiting & self.begin & usable & Cat(frame.ready for frame in frames).all()
        room = self.element.ready & self.skipped.ready
        passing = held & (doing == Doing.PASS) & (begun | starting) & room
        filling = (doing == Doing.FILL) & room
        emit = Signal()
        m.d.comb += [
            emit.eq(passing | filling),
            self.begun.eq(passing & ~begun),
            self.starved.eq(begun & ~held),
        ]
        changed = begun & (beat.id != frame_id)
        short, long = beat.last & ~ends_frame, ends_frame & ~beat.last
        spoilt = bad | filling | changed | (beat.last != ends_frame)
        with m.If(emit):
            m.d.sync += [
                part.eq(Mux(ends_pixel, 0, part + 1)),
                begun.eq(~ends_frame),
                bad.eq(spoilt & ~ends_frame),
            ]
            with m.If(ends_pixel):
                m.d.sync += column.eq(Mux(ends_row, 0, column + 1))
            with m.If(ends_row):
                m.d.sync += row.eq(Mux(ends_frame, 0, row + 1))
        with m.If(self.begun):
            m.d.sync += frame_id.eq(beat.id)

        unusable = waiting & self.begin & ~usable
        m.d.comb += [
            consume.eq((passing & ~short) | (filling & ends_frame) | (held & (doing == Doing.DROP)) | unusable),
            self.dropped.eq(unusable),
        ]
        with m.If(passing & short):
            m.d.sync += doing.eq(Doing.FILL)
        with m.If((passing & long) | (unusable & ~beat.last)):
            m.d.sync += doing.eq(Doing.DROP)
        with m.If((filling & ends_frame) | (held & (doing == Doing.DROP) & beat.last)):
            m.d.sync += doing.eq(Doing.PASS)

        causes = {
            EngineError.FRAME_SHORT: passing & short,
            EngineError.FRAME_LONG: passing & long,
            EngineError.BLOCK_CHANGED: passing & changed & ~bad,
            EngineError.BLOCK_UNKNOWN: unusable & ~fields.valid,
            EngineError.NOT_SEEDED: unusable & fields.valid,
        }
        for error, cause in causes.items():
            m.d.comb += self.errors[error.bit_length() - 1].eq(cause)
        m.d.comb += [
            self.culprit.eq(self.errors.any()),
            self.culprit_id.eq(Mux(begun, frame_id, beat.id)),
        ]

        # Every sink is ready, or none gets anything.
        m.d.comb += [
            self.element.valid.eq(emit),
            self.element.payload.data.eq(Mux(filling, 0, beat.data)),
            self.element.payload.ends_pixel.eq(ends_pixel),
            self.element.payload.ends_row.eq(ends_row),
            self.element.payload.ends_frame.eq(ends_frame),
            self.skipped.valid.eq(emit),
            self.skipped.payload.data.eq(self.element.payload.data),
            self.skipped.payload.last.eq(ends_frame),
            self.skipped.payload.bad.eq(spoilt & ends_frame),
            self.skipped.payload.id.eq(Mux(begun, frame_id, beat.id)),
        ]
        for name, frame in zip(STAGE_FIELDS, frames, strict=True):
            m.d.comb += frame.valid.eq(self.begun)
            for field in STAGE_FIELDS[name]:
                m.d.comb += frame.payload[field].eq(fields[field])
        return m
