"""An engine with a serial line instead of its streams and registers: the whole of a board's design but its pins."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract.engine import EngineConfig

from ..engine.top import AxiEngine
from ..register_slice import RegisterSlice
from ..registers.axi_lite import axi_lite_members
from ..stream import Queue
from .bridge import Bridge
from .packets import OutgoingByte, PacketReceiver, PacketSender
from .uart import ReceivedByte, UartReceiver, UartTransmitter, check_divisor

LINE_BYTES = 1024
"""Bytes from the line that wait while a request is carried out."""


class SerialEngine(wiring.Component):
    """An engine behind a serial line, on which a host asks and is answered: see :mod:`.protocol`.

    Requests may come while earlier ones are carried out, up to `LINE_BYTES`. Bytes that find no room spoil the packet
    that they belong to, which is then answered as such.

    Args:
        config: of the engine.
        divisor: cycles of a bit on the line, at least 8.

    Members (with ``clk`` and ``rst``, the ports of the Verilog):
        rx: In(1), the line from the host; needs not be of this clock.
        tx: Out(1), the line to the host.
        irq: Out(1), the engine's interrupt: a level.
    """

    def __init__(self, config: EngineConfig, divisor: int) -> None:
        check_divisor(divisor)
        self.config, self.divisor = config, divisor
        self.engine = AxiEngine(config)
        self.bridge = Bridge(config, self.engine.registers.map.address_bits)
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1), "irq": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.engine, m.submodules.bridge = engine, bridge = self.engine, self.bridge
        m.submodules.uart_in = uart_in = UartReceiver(self.divisor)
        m.submodules.line = line = Queue(ReceivedByte, LINE_BYTES, block=True)
        m.submodules.packets_in = packets_in = PacketReceiver()
        m.submodules.packets_out = packets_out = PacketSender()
        m.submodules.uart_out = uart_out = UartTransmitter(self.divisor)
        wiring.connect(m, line.o, packets_in.i)
        wiring.connect(m, packets_in.o, bridge.i)
        # Without it the slowest path of all goes from the queue of beats through the escapes back to that queue.
        m.submodules.answers = answers = RegisterSlice(OutgoingByte)
        wiring.connect(m, bridge.o, answers.i)
        wiring.connect(m, answers.o, packets_out.i)
        wiring.connect(m, packets_out.o, uart_out.i)
        m.d.comb += [
            uart_in.rx.eq(self.rx),
            self.tx.eq(uart_out.tx),
            self.irq.eq(engine.irq),
            bridge.length.eq(packets_in.length),
        ]

        lost = Signal()
        m.d.comb += [
            line.i.payload.byte.eq(uart_in.o.payload.byte),
            line.i.payload.spoilt.eq(uart_in.o.payload.spoilt | lost),
            line.i.valid.eq(uart_in.o.valid),
        ]
        with m.If(uart_in.o.valid):
            m.d.sync += lost.eq(~line.i.ready)

        m.d.comb += [
            engine.s_axis_tdata.eq(bridge.beats.payload.data),
            engine.s_axis_tid.eq(bridge.beats.payload.id),
            engine.s_axis_tlast.eq(bridge.beats.payload.last),
            engine.s_axis_tvalid.eq(bridge.beats.valid),
            bridge.beats.ready.eq(engine.s_axis_tready),
            bridge.results.payload.data.eq(engine.m_axis_tdata),
            bridge.results.payload.id.eq(engine.m_axis_tid),
            bridge.results.payload.last.eq(engine.m_axis_tlast),
            bridge.results.payload.bad.eq(engine.m_axis_tuser),
            bridge.results.valid.eq(engine.m_axis_tvalid),
            engine.m_axis_tready.eq(bridge.results.ready),
        ]
        for name, member in axi_lite_members("axil", 1).items():
            here, there = getattr(bridge, name), getattr(engine, f"s_{name}")
            m.d.comb += there.eq(here) if member.flow is In else here.eq(there)
        return m
