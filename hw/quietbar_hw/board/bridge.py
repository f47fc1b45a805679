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

SEND_HEADER_BYTES = 4
"""Of a request to send: tag, request, block, and whether its frame ends with it."""


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
        now = _Progress(self.config)
        m.submodules.waiting_in, m.submodules.waiting_out = now.waiting_in, now.waiting_out
        self._connect_streams(m, now)
        self._connect_registers(m, now)
        beats_sent = Signal(range(DATA_BYTES + 1))
        m.d.comb += beats_sent.eq((self.length - SEND_HEADER_BYTES) >> (self.config.lanes.bit_length() - 1))
        requested = Signal(8)
        m.d.comb += requested.eq(self.i.p.byte)
        with m.FSM():
            self._take_request(m, now, requested)
            self._read_and_write(m, now)
            self._send_beats(m, now, beats_sent)
            self._clear(m, now)
            self._answer(m, now)
            self._give_beats(m, now)
        return m

    def _connect_streams(self, m: Module, now: _Progress) -> None:
        """Beats that wait on their way in and out. While they are cleared both ends stand still."""
        waiting_in, waiting_out = now.waiting_in, now.waiting_out
        entering, leaving = waiting_in.i.valid & waiting_in.i.ready, waiting_in.o.valid & waiting_in.o.ready
        m.d.sync += now.inside.eq(now.inside + entering - leaving)
        m.d.comb += [
            self.beats.payload.eq(waiting_in.o.payload),
            self.beats.valid.eq(waiting_in.o.valid & ~now.clear),
            waiting_in.o.ready.eq(self.beats.ready | now.clear),
            waiting_out.i.payload.eq(self.results.payload),
            waiting_out.i.valid.eq(self.results.valid & ~now.clear),
            self.results.ready.eq(waiting_out.i.ready | now.clear),
        ]

    def _connect_registers(self, m: Module, now: _Progress) -> None:
        """One address for reading and writing, whole words."""
        m.d.comb += [
            self.axil_awaddr.eq(now.address),
            self.axil_araddr.eq(now.address),
            self.axil_wdata.eq(now.word),
            self.axil_wstrb.eq(~0),
        ]

    def _take(self, m: Module, target: str) -> None:
        """Take the byte at hand and go on to ``target``."""
        m.d.comb += self.i.ready.eq(1)
        with m.If(self.i.valid):
            m.next = target

    def _collect(self, m: Module, now: _Progress, target: str) -> tuple[Value, Value]:
        """Collect a word, low byte first. Gives whether its last byte is there, and the word with that byte."""
        whole, word = self.i.valid & (now.place == WORD_BYTES - 1), Cat(now.word[8:], self.i.p.byte)
        m.d.comb += self.i.ready.eq(1)
        with m.If(self.i.valid):
            m.d.sync += [now.word.eq(word), now.place.eq(now.place + 1)]
        with m.If(whole):
            m.next = target
        return whole, word

    def _give(self, m: Module, byte: Value | int, target: str, last: Value | int = 0) -> None:
        """Give a byte of the answer and go on to ``target``."""
        m.d.comb += [self.o.valid.eq(1), self.o.p.byte.eq(byte), self.o.p.last.eq(last)]
        with m.If(self.o.ready):
            m.next = target

    def _take_request(self, m: Module, now: _Progress, requested: Signal) -> None:
        """The states in which a request begins: its tag, what is wanted, and the rest of one that is refused."""
        incoming, lanes = self.i.p, self.config.lanes
        whole_beats = ((self.length - SEND_HEADER_BYTES) & (lanes - 1)) == 0
        with m.State("TAG"):
            m.d.sync += [now.place.eq(0), now.written.eq(0)]
            with m.If(self.i.valid):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += now.tag.eq(incoming.byte)
                m.next = "REQUEST"
                with m.If(incoming.spoilt):
                    m.d.sync += now.tag.eq(NO_TAG)
                    now.answer(m, Status.SPOILT)
                with m.Elif(incoming.last):
                    now.answer(m, Status.UNKNOWN)
        with m.State("REQUEST"):
            m.d.comb += self.i.ready.eq(1)
            m.d.sync += now.wanted.eq(requested)
            with m.If(self.i.valid):
                with m.If((requested == Request.READ) & (self.length == 6)):
                    m.next = "ADDRESS"
                with m.Elif((requested == Request.WRITE) & (self.length >= 10) & (self.length[:2] == 2)):
                    m.next = "ADDRESS"
                with m.Elif((requested == Request.SEND) & (self.length > SEND_HEADER_BYTES) & whole_beats):
                    m.next = "BLOCK"
                with m.Elif((requested == Request.RECEIVE) & (self.length == 2)):
                    now.answer(m, Status.OK)
                with m.Elif((requested == Request.CLEAR) & (self.length == 2)):
                    m.d.comb += self.clearing.eq(1)
                    m.next = "CLEAR"
                with m.Else():
                    m.d.sync += now.status.eq(Status.UNKNOWN)
                    m.next = "SKIP"
                    with m.If(incoming.last):
                        m.next = "TAG_BACK"
        with m.State("SKIP"):
            m.d.comb += self.i.ready.eq(1)
            with m.If(self.i.valid & incoming.last):
                m.next = "TAG_BACK"

    def _read_and_write(self, m: Module, now: _Progress) -> None:
        """The states in which a register or a word of memory is read, or some are written one after the other."""
        outside = now.address[self.address_bits :].any()
        with m.State("ADDRESS"):
            whole, address = self._collect(m, now, "WORD")
            with m.If(whole):
                m.d.sync += now.address.eq(address)
                with m.If(now.wanted == Request.READ):
                    m.next = "READ"
        reading = Signal()
        with m.State("READ"):
            m.d.comb += [self.axil_arvalid.eq(~reading & ~outside), self.axil_rready.eq(1)]
            m.d.sync += reading.eq(reading | self.axil_arready)
            with m.If(outside | self.axil_rvalid):
                m.d.sync += [reading.eq(0), now.word.eq(self.axil_rdata)]
                now.answer(m, Status.OK)
                with m.If(outside | (self.axil_rresp != 0)):
                    now.answer(m, Status.REFUSED)
        ends, addressed, filled = Signal(), Signal(), Signal()
        with m.State("WORD"):
            whole, _ = self._collect(m, now, "WRITE")
            with m.If(whole):
                m.d.sync += ends.eq(self.i.p.last)
        with m.State("WRITE"):
            m.d.comb += [
                self.axil_awvalid.eq(~addressed & ~outside),
                self.axil_wvalid.eq(~filled & ~outside),
                self.axil_bready.eq(1),
            ]
            m.d.sync += [addressed.eq(addressed | self.axil_awready), filled.eq(filled | self.axil_wready)]
            with m.If(outside | self.axil_bvalid):
                m.d.sync += [addressed.eq(0), filled.eq(0), now.status.eq(Status.OK)]
                with m.If(outside | (self.axil_bresp != 0)):
                    m.d.sync += now.status.eq(Status.REFUSED)
                    m.next = "SKIP"
                    with m.If(ends):
                        m.next = "TAG_BACK"
                with m.Else():
                    m.d.sync += [now.written.eq(now.written + 1), now.address.eq(now.address + WORD_BYTES)]
                    m.next = "WORD"
                    with m.If(ends):
                        m.next = "TAG_BACK"

    def _send_beats(self, m: Module, now: _Progress, beats_sent: Signal) -> None:
        """The states in which beats go into the queue to the engine, where all of them find room there."""
        lanes, incoming, waiting_in = self.config.lanes, self.i.p, now.waiting_in
        block, ends_frame = Signal(self.config.id_bits), Signal()
        with m.State("BLOCK"):
            m.d.sync += [block.eq(incoming.byte), now.lane.eq(0)]
            self._take(m, "LAST")
        with m.State("LAST"):
            m.d.comb += self.i.ready.eq(1)
            m.d.sync += ends_frame.eq(incoming.byte[0])
            with m.If(self.i.valid):
                m.d.sync += now.status.eq(Status.OK)
                m.next = "BEATS_IN"
                with m.If(beats_sent > IN_BYTES // lanes - now.inside):
                    m.d.sync += now.status.eq(Status.BUSY)
                    m.next = "SKIP"
        data = Cat(now.earlier, incoming.byte)[8:]
        full = now.lane == lanes - 1
        m.d.comb += [
            waiting_in.i.p.data.eq(data),
            waiting_in.i.p.id.eq(block),
            waiting_in.i.p.last.eq(ends_frame & incoming.last),
        ]
        with m.State("BEATS_IN"):
            m.d.comb += [self.i.ready.eq(1), waiting_in.i.valid.eq(self.i.valid & full)]
            with m.If(self.i.valid):
                m.d.sync += [now.earlier.eq(data), now.lane.eq(now.lane + 1)]
                with m.If(full):
                    m.d.sync += now.lane.eq(0)
                with m.If(incoming.last):
                    m.next = "TAG_BACK"

    def _clear(self, m: Module, now: _Progress) -> None:
        """The state in which nothing that waits survives."""
        waiting_in, waiting_out = now.waiting_in, now.waiting_out
        with m.State("CLEAR"):
            m.d.comb += now.clear.eq(1)
            with m.If(~waiting_in.o.valid & ~waiting_out.o.valid & (now.inside == 0) & ~self.results.valid):
                now.answer(m, Status.OK)
            m.d.comb += waiting_out.o.ready.eq(1)

    def _answer(self, m: Module, now: _Progress) -> None:
        """The states in which tag and status go back, and the word that was read or the number of those written."""
        outgoing, status, wanted = self.o.p, now.status, now.wanted
        with m.State("TAG_BACK"):
            m.d.sync += [now.place.eq(0), now.lane.eq(0), now.given.eq(0), now.last_id.eq(0), now.flags.eq(0)]
            self._give(m, now.tag, "STATUS")
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
            last = now.place == WORD_BYTES - 1
            m.d.comb += [self.o.valid.eq(1), outgoing.byte.eq(now.word), outgoing.last.eq(last)]
            with m.If(self.o.ready):
                m.d.sync += [now.word.eq(now.word >> 8), now.place.eq(now.place + 1)]
                with m.If(outgoing.last):
                    m.next = "TAG"
        with m.State("WRITTEN"):
            self._give(m, now.written, "TAG", 1)

    def _give_beats(self, m: Module, now: _Progress) -> None:
        """The states in which beats that wait for the host go back, and what the last of them was."""
        lanes, waiting_out, result = self.config.lanes, now.waiting_out, now.waiting_out.o.p
        some_more = waiting_out.o.valid & (now.given != DATA_BYTES // lanes) & ~now.flags[0]
        full = now.lane == lanes - 1
        with m.State("BEATS_OUT"):
            with m.If(some_more):
                m.d.comb += [
                    self.o.valid.eq(1),
                    self.o.p.byte.eq(Array(result.data.word_select(at, 8) for at in range(lanes))[now.lane]),
                    waiting_out.o.ready.eq(self.o.ready & full),
                ]
                with m.If(self.o.ready):
                    m.d.sync += now.lane.eq(now.lane + 1)
                    with m.If(full):
                        m.d.sync += [now.lane.eq(0), now.given.eq(now.given + 1), now.last_id.eq(result.id)]
                        m.d.sync += now.flags.eq(Cat(result.last, result.last & result.bad))
            with m.Else():
                m.next = "BLOCK_BACK"
        with m.State("BLOCK_BACK"):
            self._give(m, now.last_id, "FLAGS")
        with m.State("FLAGS"):
            self._give(m, now.flags, "TAG", 1)


class _Progress:
    """How far the request at hand has come: what several of the states share.

    Signals that are assigned together here have no names of their own in the Verilog, the others have.

    Attributes:
        tag, wanted, status: of the request; the first and the last are in its answer.
        word, place: a word that comes or goes by bytes, and the number of the byte at hand.
        address: of the register.
        written: how many words were written.
        earlier, lane: the bytes of a beat that is not whole yet, and the number of the byte at hand.
        given, last_id, flags: how many beats were given back, and what the answer says of the last.
        waiting_in, waiting_out: beats for the engine and for the host.
        inside: how many wait for the engine.
        clear: whether they are dropped.
    """

    def __init__(self, config: EngineConfig) -> None:
        lanes = config.lanes
        self.waiting_in = Queue(beat_layout(config), IN_BYTES // lanes, block=True)
        self.waiting_out = Queue(skipped_layout(config), OUT_BYTES // lanes, block=True)
        self.clear = Signal()
        self.inside = Signal(range(IN_BYTES // lanes + 1))
        self.tag, self.status = Signal(8), Signal(Status)
        self.wanted = Signal(Request)
        self.word, self.place, self.address = Signal(8 * WORD_BYTES), Signal(range(WORD_BYTES)), Signal(8 * WORD_BYTES)
        self.written = Signal(8)
        self.earlier, self.last_id = Signal(8 * lanes), Signal(config.id_bits)
        self.lane = Signal(range(max(lanes, 2)))
        self.given = Signal(range(DATA_BYTES // lanes + 1))
        self.flags = Signal(2)

    def answer(self, m: Module, kind: Status) -> None:
        """Have done with the request: answer it so."""
        m.d.sync += self.status.eq(kind)
        m.next = "TAG_BACK"
