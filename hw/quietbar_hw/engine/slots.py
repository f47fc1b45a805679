"""A buffer of two pixels: one is read, as often as it is needed, while the next one comes in."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract import require_integer

from ..storage import storage

SLOTS = 2


class PixelSlots(wiring.Component):
    """Two pixels of up to ``words`` words each, with a flag for each pixel.

    Timing: a word can be written every cycle; a pixel is ``there`` one cycle after its last word came. The word at
    ``place`` of the older pixel is read in the same cycle.

    Members:
        i: In(stream of ``word``, and ``last`` and ``flag`` that hold with a pixel's last).
        there: Out(1), a whole pixel is there.
        flag: Out(1), that of the pixel.
        place: In, which word of it is read.
        word: Out.
        done: In(1), the pixel is no longer needed.
    """

    def __init__(self, bits: int, words: int) -> None:
        require_integer("pixel_slots.words", words, 1, 1 << 16)
        self.bits, self.place_bits = bits, max(1, (words - 1).bit_length())
        payload = data.StructLayout({"word": bits, "last": 1, "flag": 1})
        super().__init__(
            {
                "i": In(stream.Signature(payload)),
                "there": Out(1),
                "flag": Out(1),
                "place": In(self.place_bits),
                "word": Out(bits),
                "done": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory = ram = storage(self.bits, SLOTS << self.place_bits)
        write, read = ram.write_port(), ram.read_port(domain="comb")
        place, writing, reading = Signal(self.place_bits), Signal(), Signal()
        there, full, flags = Signal(), Signal(), Signal(SLOTS)
        taken = self.i.valid & self.i.ready
        completed = taken & self.i.payload.last
        m.d.comb += [
            self.i.ready.eq(~full),
            write.addr.eq(Cat(place, writing)),
            write.data.eq(self.i.payload.word),
            write.en.eq(taken),
            read.addr.eq(Cat(self.place, reading)),
            self.word.eq(read.data),
            self.there.eq(there),
            self.flag.eq(flags.bit_select(reading, 1)),
        ]
        with m.If(taken):
            m.d.sync += place.eq(place + 1)
        with m.If(completed):
            m.d.sync += [
                place.eq(0),
                writing.eq(~writing),
                flags.bit_select(writing, 1).eq(self.i.payload.flag),
            ]
        with m.If(self.done):
            m.d.sync += reading.eq(~reading)
        with m.If(completed != self.done):
            m.d.sync += [there.eq(completed | full), full.eq(completed & there)]
        return m


def hidden_layout(bits: int) -> data.StructLayout:
    """Hidden channels, and whether they end a pixel, and if so, whether it ends a row, and if so, the frame."""
    return data.StructLayout({"data": bits, "ends_pixel": 1, "ends_row": 1, "ends_frame": 1})


class Gather(wiring.Component):
    """Puts ``parts`` transfers together to one, the first lowest; the flags are those of the last.

    Timing: costs no cycle; the whole leaves while its last part comes.
    """

    def __init__(self, bits: int, parts: int) -> None:
        self.bits, self.parts = bits, parts
        super().__init__(
            {
                "i": In(stream.Signature(hidden_layout(bits))),
                "o": Out(stream.Signature(hidden_layout(bits * parts))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        part = Signal(range(max(self.parts, 2)))
        last = Signal(init=1)
        before = Signal(max(1, self.bits * (self.parts - 1)), reset_less=True)
        whole = Cat(before, self.i.payload.data) if self.parts > 1 else self.i.payload.data
        if self.parts > 1:
            m.d.comb += last.eq(part == self.parts - 1)
        m.d.comb += [
            self.o.valid.eq(self.i.valid & last),
            self.i.ready.eq(self.o.ready | ~last),
            self.o.payload.data.eq(whole),
            self.o.payload.ends_pixel.eq(self.i.payload.ends_pixel),
            self.o.payload.ends_row.eq(self.i.payload.ends_row),
            self.o.payload.ends_frame.eq(self.i.payload.ends_frame),
        ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [part.eq(part + 1), before.eq(Cat(before, self.i.payload.data)[self.bits :])]
            with m.If(last):
                m.d.sync += part.eq(0)
        return m
