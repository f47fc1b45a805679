"""Packets of the serial link in hardware: taken apart and checked on the way in, put together on the way out."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import crc, data, stream, wiring
from amaranth.lib.crc.catalog import CRC16_IBM_3740
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .protocol import CHECKSUM_BYTES, CONTENT_BYTES, END, ESCAPE, ESCAPED_END, ESCAPED_ESCAPE
from .uart import ReceivedByte

ContentByte = data.StructLayout({"byte": 8, "last": 1, "spoilt": 1})
"""A byte of a content; ``spoilt`` stands alone, with ``last``, for a packet that was."""
OutgoingByte = data.StructLayout({"byte": 8, "last": 1})


class PacketReceiver(wiring.Component):
    """Gives out the contents of packets, after their checksums were found right.

    A packet is spoilt where the checksum or an escape is wrong, it is too long, or one of its bytes came spoilt. The
    `END` that follows ends the matter, whatever came before.

    Timing: a packet's bytes are taken one a cycle; its content is given out from two cycles after its `END` on, a byte
    every two cycles; meanwhile no byte is taken.

    Args:
        content_bytes: of the longest packet.

    Members:
        i: In(stream of `ReceivedByte`).
        o: Out(stream of `ContentByte`).
        length: Out, bytes of the content that is being given out.
    """

    def __init__(self, content_bytes: int = CONTENT_BYTES) -> None:
        self.buffer_bytes = content_bytes + CHECKSUM_BYTES
        super().__init__(
            {
                "i": In(stream.Signature(ReceivedByte)),
                "o": Out(stream.Signature(ContentByte)),
                "length": Out(range(self.buffer_bytes + 1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.buffer = buffer = Memory(shape=8, depth=self.buffer_bytes, init=[])
        write, read = buffer.write_port(), buffer.read_port()
        m.submodules.checksum = checksum = crc.Processor(CRC16_IBM_3740())

        count = Signal(range(self.buffer_bytes + 1))
        place = Signal(range(self.buffer_bytes + 1))
        escaped, spoilt = Signal(), Signal()
        byte = Signal(8)
        m.d.comb += [
            byte.eq(self.i.p.byte),
            write.addr.eq(count),
            write.data.eq(byte),
            checksum.data.eq(byte),
            read.addr.eq(place),
            self.length.eq(count - CHECKSUM_BYTES),
        ]
        with m.FSM():
            with m.State("COLLECT"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += place.eq(0)
                with m.If(self.i.valid):
                    with m.If(self.i.p.byte == END):
                        with m.If(spoilt | escaped | self.i.p.spoilt):
                            m.next = "SPOILT"
                        with m.Elif(count != 0):
                            m.next = "CHECK"
                    with m.Elif(self.i.p.spoilt):
                        m.d.sync += spoilt.eq(1)
                    with m.Elif((self.i.p.byte == ESCAPE) & ~escaped):
                        m.d.sync += escaped.eq(1)
                    with m.Else():
                        m.d.sync += escaped.eq(0)
                        with m.If(escaped):
                            m.d.comb += byte.eq(Mux(self.i.p.byte == ESCAPED_END, END, ESCAPE))
                            with m.If((self.i.p.byte != ESCAPED_END) & (self.i.p.byte != ESCAPED_ESCAPE)):
                                m.d.sync += spoilt.eq(1)
                        with m.If(count == self.buffer_bytes):
                            m.d.sync += spoilt.eq(1)
                        with m.Else():
                            m.d.comb += [write.en.eq(1), checksum.valid.eq(1)]
                            m.d.sync += count.eq(count + 1)
            with m.State("CHECK"):
                with m.If(checksum.match_detected & (count > CHECKSUM_BYTES)):
                    m.next = "GIVE"
                with m.Else():
                    m.next = "SPOILT"
            with m.State("GIVE"):
                # The byte at `place` is read in one cycle and offered from the next one on.
                offered = Signal()
                last = place == self.length - 1
                m.d.sync += offered.eq(1)
                m.d.comb += [self.o.valid.eq(offered), self.o.p.byte.eq(read.data), self.o.p.last.eq(last)]
                with m.If(offered & self.o.ready):
                    m.d.sync += [offered.eq(0), place.eq(place + 1)]
                    with m.If(last):
                        m.next = "FORGET"
            with m.State("SPOILT"):
                m.d.comb += [self.o.valid.eq(1), self.o.p.last.eq(1), self.o.p.spoilt.eq(1)]
                with m.If(self.o.ready):
                    m.next = "FORGET"
            with m.State("FORGET"):
                m.d.comb += checksum.start.eq(1)
                m.d.sync += [count.eq(0), escaped.eq(0), spoilt.eq(0)]
                m.next = "COLLECT"
        return m


class PacketSender(wiring.Component):
    """Puts contents into packets: escapes, the checksum, and `END`.

    Timing: a byte a cycle where the line takes them; three more a packet, and one for every byte that is escaped.

    Members:
        i: In(stream of `OutgoingByte`), contents.
        o: Out(stream of 8 bits).
    """

    def __init__(self) -> None:
        super().__init__({"i": In(stream.Signature(OutgoingByte)), "o": Out(stream.Signature(8))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.checksum = checksum = crc.Processor(CRC16_IBM_3740())
        m.d.comb += checksum.data.eq(self.i.p.byte)
        byte, offered, taken, second = Signal(8), Signal(), Signal(), Signal()
        special = (byte == END) | (byte == ESCAPE)

        # A byte, or the escape before what stands for it.
        with m.If(offered):
            m.d.comb += self.o.valid.eq(1)
            with m.If(~special):
                m.d.comb += [self.o.payload.eq(byte), taken.eq(self.o.ready)]
            with m.Elif(second):
                m.d.comb += [
                    self.o.payload.eq(Mux(byte == END, ESCAPED_END, ESCAPED_ESCAPE)),
                    taken.eq(self.o.ready),
                ]
            with m.Else():
                m.d.comb += self.o.payload.eq(ESCAPE)
            with m.If(self.o.ready):
                m.d.sync += second.eq(special & ~second)

        with m.FSM():
            with m.State("CONTENT"):
                m.d.comb += [
                    byte.eq(self.i.p.byte),
                    offered.eq(self.i.valid),
                    self.i.ready.eq(taken),
                    checksum.valid.eq(taken),
                ]
                with m.If(taken & self.i.p.last):
                    m.next = "HIGH"
            with m.State("HIGH"):
                m.d.comb += [byte.eq(checksum.crc[8:]), offered.eq(1)]
                with m.If(taken):
                    m.next = "LOW"
            with m.State("LOW"):
                m.d.comb += [byte.eq(checksum.crc[:8]), offered.eq(1)]
                with m.If(taken):
                    m.next = "END"
            with m.State("END"):
                m.d.comb += [self.o.payload.eq(END), self.o.valid.eq(1)]
                with m.If(self.o.ready):
                    m.d.comb += checksum.start.eq(1)
                    m.next = "CONTENT"
        return m
