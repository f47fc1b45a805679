"""Requests from the serial link, carried out at the ports of an engine, and answered."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract.engine import EngineConfig
from quietbar.contract.errors import require

from ..engine.framing import beat_layout, skipped_layout
from ..registers.axi_lite import axi_lite_members
from ..registers.model import WORD_BYTES
from ..stream import Queue
from .packets import ContentByte, OutgoingByte
from .protocol import CONTENT_BYTES, DATA_BYTES, NO_TAG, Request, Status

MOST_LANES = 16
IN_BYTES, OUT_BYTES = 512, 1024
"""Beats that wait for the engine, and for the host: two packets or more."""


class Bridge(wiring.Component):
    """Carries out requests one after the other; each is answered, whatever it is. See :mod:`.protocol`.

    Beats wait in queues on their way in and out, so no request waits for the engine's streams: SEND is answered BUSY
    where there is no room, RECEIVE gives what is there. Accesses to registers wait for their answers, which the engine
    always gives.

    Args:
        config: of the engine.
        address_bits: of its AXI4-Lite port.

    Members:
        i: In(stream of `ContentByte`), requests.
        length: In, bytes of the request at hand.
        o: Out(stream of `OutgoingByte`), answers.
        axil_...: an AXI4-Lite master.
        beats: Out(stream of ``beat_layout``), to the engine.
        results: In(stream of ``skipped_layout``), from it.

    Attributes:
        clearing: a signal inside: in this cycle CLEAR is taken, so that a beat that waits for the engine is dropped.
    """

    def __init__(self, config: EngineConfig, address_bits: int) -> None:
        require(config.lanes <= MOST_LANES, "board.engine.lanes", config.lanes, f"at most {MOST_LANES}")
        self.config, self.address_bits = config, address_bits
        self.clearing = Signal()
        super().__init__(
            {
                "i": In(stream.Signature(ContentByte)),
                "length": In(range(CONTENT_BYTES + 1)),
                "o": Out(stream.Signature(OutgoingByte)),
                **{name: member.flip() for name, member in axi_lite_members("axil", address_bits).items()},
                "beats": Out(stream.Signature(beat_layout(config))),
                "results": In(stream.Signature(skipped_layout(config))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        lanes, incoming, outgoing = self.config.lanes, self.i.p, self.o.p
        m.submodules.waiting_in = waiting_in = Queue(beat_layout(self.config), IN_BYTES // lanes, block=True)
        m.submodules.waiting_out = waiting_out = Queue(skipped_layout(self.config), OUT_BYTES // lanes, block=True)
        clear = Signal()

        # Beats that wait on their way in. While they are cleared both ends stand still.
        inside = Signal(range(IN_BYTES // lanes + 1))
        entering, leaving = waiting_in.i.valid & waiting_in.i.ready, waiting_in.o.valid & waiting_in.o.ready
        m.d.sync += inside.eq(inside + entering - leaving)
        m.d.comb += [
            self.beats.payload.eq(waiting_in.o.payload),
            self.beats.valid.eq(waiting_in.o.valid & ~clear),
            waiting_in.o.ready.eq(self.beats.ready | clear),
            waiting_out.i.payload.eq(self.results.payload),
            waiting_out.i.valid.eq(self.results.valid & ~clear),
            self.results.ready.eq(waiting_out.i.ready | clear),
        ]

        tag, status = Signal(8), Signal(Status)
        wanted = Signal(Request)
        word, place = Signal(8 * WORD_BYTES), Signal(range(WORD_BYTES))
        address, written = Signal(8 * WORD_BYTES), Signal(8)
        outside = address[self.address_bits :].any()
        m.d.comb += [
            self.axil_awaddr.eq(address),
            self.axil_araddr.eq(address),
            self.axil_wdata.eq(word),
            self.axil_wstrb.eq(~0),
        ]
        shifted_in = Cat(word[8:], incoming.byte)

        def take(target: str) -> None:
            """Take the byte at hand and go on to ``target``."""
            m.d.comb += self.i.ready.eq(1)
            with m.If(self.i.valid):
                m.next = target

        def collect(target: str) -> Value:
            """Collect a word, low byte first; high when its last byte is there."""
            whole = self.i.valid & (place == WORD_BYTES - 1)
            m.d.comb += self.i.ready.eq(1)
            with m.If(self.i.valid):
                m.d.sync += [word.eq(shifted_in), place.eq(place + 1)]
            with m.If(whole):
                m.next = target
            return whole

        def give(byte: Value | int, target: str, last: Value | int = 0) -> None:
            """Give a byte of the answer and go on to ``target``."""
            m.d.comb += [self.o.valid.eq(1), outgoing.byte.eq(byte), outgoing.last.eq(last)]
            with m.If(self.o.ready):
                m.next = target

        def answer(kind: Status) -> None:
            m.d.sync += status.eq(kind)
            m.next = "TAG_BACK"

        sends = self.length - 4
        beats_sent = Signal(range(DATA_BYTES + 1))
        m.d.comb += beats_sent.eq(sends >> (lanes.bit_length() - 1))
        whole_beats = (sends & (lanes - 1)) == 0
        requested = Signal(8)
        m.d.comb += requested.eq(incoming.byte)

        with m.FSM():
            with m.State("TAG"):
                m.d.sync += [place.eq(0), written.eq(0)]
                with m.If(self.i.valid):
                    m.d.comb += self.i.ready.eq(1)
                    m.d.sync += tag.eq(incoming.byte)
                    m.next = "REQUEST"
                    with m.If(incoming.spoilt):
                        m.d.sync += tag.eq(NO_TAG)
                        answer(Status.SPOILT)
                    with m.Elif(incoming.last):
                        answer(Status.UNKNOWN)
            with m.State("REQUEST"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += wanted.eq(requested)
                with m.If(self.i.valid):
                    with m.If((requested == Request.READ) & (self.length == 6)):
                        m.next = "ADDRESS"
                    with m.Elif((requested == Request.WRITE) & (self.length >= 10) & (self.length[:2] == 2)):
                        m.next = "ADDRESS"
                    with m.Elif((requested == Request.SEND) & (self.length > 4) & whole_beats):
                        m.next = "BLOCK"
                    with m.Elif((requested == Request.RECEIVE) & (self.length == 2)):
                        answer(Status.OK)
                    with m.Elif((requested == Request.CLEAR) & (self.length == 2)):
                        m.d.comb += self.clearing.eq(1)
                        m.next = "CLEAR"
                    with m.Else():
                        m.d.sync += status.eq(Status.UNKNOWN)
                        m.next = "SKIP"
                        with m.If(incoming.last):
                            m.next = "TAG_BACK"
            with m.State("SKIP"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(self.i.valid & incoming.last):
                    m.next = "TAG_BACK"

            # Registers and memory.
            with m.State("ADDRESS"), m.If(collect("WORD")):
                m.d.sync += address.eq(shifted_in)
                with m.If(wanted == Request.READ):
                    m.next = "READ"
            reading = Signal()
            with m.State("READ"):
                m.d.comb += [self.axil_arvalid.eq(~reading & ~outside), self.axil_rready.eq(1)]
                m.d.sync += reading.eq(reading | self.axil_arready)
                with m.If(outside | self.axil_rvalid):
                    m.d.sync += [reading.eq(0), word.eq(self.axil_rdata)]
                    answer(Status.OK)
                    with m.If(outside | (self.axil_rresp != 0)):
                        answer(Status.REFUSED)
            ends, addressed, filled = Signal(), Signal(), Signal()
            with m.State("WORD"), m.If(collect("WRITE")):
                m.d.sync += ends.eq(incoming.last)
            with m.State("WRITE"):
                m.d.comb += [
                    self.axil_awvalid.eq(~addressed & ~outside),
                    self.axil_wvalid.eq(~filled & ~outside),
                    self.axil_bready.eq(1),
                ]
                m.d.sync += [addressed.eq(addressed | self.axil_awready), filled.eq(filled | self.axil_wready)]
                with m.If(outside | self.axil_bvalid):
                    m.d.sync += [addressed.eq(0), filled.eq(0), status.eq(Status.OK)]
                    with m.If(outside | (self.axil_bresp != 0)):
                        m.d.sync += status.eq(Status.REFUSED)
                        m.next = "SKIP"
                        with m.If(ends):
                            m.next = "TAG_BACK"
                    with m.Else():
                        m.d.sync += [written.eq(written + 1), address.eq(address + WORD_BYTES)]
                        m.next = "WORD"
                        with m.If(ends):
                            m.next = "TAG_BACK"

            # Beats to the engine.
            block, ends_frame = Signal(self.config.id_bits), Signal()
            earlier, lane = Signal(8 * lanes), Signal(range(max(lanes, 2)))
            with m.State("BLOCK"):
                m.d.sync += [block.eq(incoming.byte), lane.eq(0)]
                take("LAST")
            with m.State("LAST"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += ends_frame.eq(incoming.byte[0])
                with m.If(self.i.valid):
                    m.d.sync += status.eq(Status.OK)
                    m.next = "BEATS_IN"
                    with m.If(beats_sent > IN_BYTES // lanes - inside):
                        m.d.sync += status.eq(Status.BUSY)
                        m.next = "SKIP"
            data = Cat(earlier, incoming.byte)[8:]
            full = lane == lanes - 1
            m.d.comb += [
                waiting_in.i.p.data.eq(data),
                waiting_in.i.p.id.eq(block),
                waiting_in.i.p.last.eq(ends_frame & incoming.last),
            ]
            with m.State("BEATS_IN"):
                m.d.comb += [self.i.ready.eq(1), waiting_in.i.valid.eq(self.i.valid & full)]
                with m.If(self.i.valid):
                    m.d.sync += [earlier.eq(data), lane.eq(lane + 1)]
                    with m.If(full):
                        m.d.sync += lane.eq(0)
                    with m.If(incoming.last):
                        m.next = "TAG_BACK"
            with m.State("CLEAR"):
                m.d.comb += clear.eq(1)
                with m.If(~waiting_in.o.valid & ~waiting_out.o.valid & (inside == 0) & ~self.results.valid):
                    answer(Status.OK)
                m.d.comb += waiting_out.o.ready.eq(1)

            # The answer.
            given = Signal(range(DATA_BYTES // lanes + 1))
            last_id, flags = Signal(self.config.id_bits), Signal(2)
            with m.State("TAG_BACK"):
                m.d.sync += [place.eq(0), lane.eq(0), given.eq(0), last_id.eq(0), flags.eq(0)]
                give(tag, "STATUS")
            more = (status != Status.BUSY) & (status != Status.SPOILT) & (status != Status.UNKNOWN)
            with m.State("STATUS"):
                m.d.comb += [self.o.valid.eq(1), outgoing.byte.eq(status), outgoing.last.eq(1)]
                with m.If(more & (wanted == Request.WRITE)):
                    m.d.comb += outgoing.last.eq(0)
                with m.If((status == Status.OK) & ((wanted == Request.READ) | (wanted == Request.RECEIVE))):
                    m.d.comb += outgoing.last.eq(0)
                with m.If(self.o.ready):
                    m.next = "TAG"
                    with m.If(~outgoing.last), m.Switch(wanted):
                        with m.Case(Request.READ):
                            m.next = "WORD_BACK"
                        with m.Case(Request.WRITE):
                            m.next = "WRITTEN"
                        with m.Case(Request.RECEIVE):
                            m.next = "BEATS_OUT"
            with m.State("WORD_BACK"):
                m.d.comb += [self.o.valid.eq(1), outgoing.byte.eq(word), outgoing.last.eq(place == WORD_BYTES - 1)]
                with m.If(self.o.ready):
                    m.d.sync += [word.eq(word >> 8), place.eq(place + 1)]
                    with m.If(outgoing.last):
                        m.next = "TAG"
            with m.State("WRITTEN"):
                give(written, "TAG", 1)

            result = waiting_out.o.p
            some_more = waiting_out.o.valid & (given != DATA_BYTES // lanes) & ~flags[0]
            with m.State("BEATS_OUT"):
                with m.If(some_more):
                    m.d.comb += [
                        self.o.valid.eq(1),
                        outgoing.byte.eq(Array(result.data.word_select(at, 8) for at in range(lanes))[lane]),
                        waiting_out.o.ready.eq(self.o.ready & full),
                    ]
                    with m.If(self.o.ready):
                        m.d.sync += lane.eq(lane + 1)
                        with m.If(full):
                            m.d.sync += [lane.eq(0), given.eq(given + 1), last_id.eq(result.id)]
                            m.d.sync += flags.eq(Cat(result.last, result.last & result.bad))
                with m.Else():
                    m.next = "BLOCK_BACK"
            with m.State("BLOCK_BACK"):
                give(last_id, "FLAGS")
            with m.State("FLAGS"):
                give(flags, "TAG", 1)
        return m
