"""The engine as it is dropped into a design: AXI4-Streams of data, and AXI4-Lite for everything else."""

from __future__ import annotations

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract.engine import EngineConfig

from ..registers.axi_lite import axi_lite_members, connect_axi_lite
from ..registers.engine import EngineRegisters
from .core import EngineCore


class AxiEngine(wiring.Component):
    """All denoising blocks of a network in one engine, chosen frame by frame.

    Data: ``lanes`` elements of 8 bits to a beat, channel-last raster order, the low channel in the low bits; channels
    that fill up the last beat of a pixel are ignored, and meaningless on the way out. ``tlast`` on the last beat of a
    frame. ``tid`` names the resident block that a frame belongs to: the one of the first beat counts, all others must
    be the same. ``m_axis_tuser`` is high on the last beat of a frame that is bad: see
    :class:`quietbar.contract.engine.EngineError`.

    Control: the registers and the memory window of ``registers/engine.rdl``.

    Timing: a beat in and a beat out each cycle, as far as stages keep up; the cycle model in
    :mod:`quietbar_hw.engine.timing` tells the cycle of every beat. All outputs of the streams obey AXI4-Stream's rules
    and depend on registers alone; ``rst`` is synchronous and high-active, and forgets descriptors and seed.

    Args:
        config: what the engine can do.

    Members (with ``clk`` and ``rst``, the ports of the Verilog):
        s_axis_tdata, s_axis_tid, s_axis_tvalid, s_axis_tready, s_axis_tlast: frames in.
        m_axis_tdata, m_axis_tid, m_axis_tuser, m_axis_tvalid, m_axis_tready, m_axis_tlast: frames out.
        s_axil_...: the AXI4-Lite port, 32 bits of data.
        irq: Out(1), the interrupt: a level.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.core, self.registers = EngineCore(config), EngineRegisters(config)
        super().__init__(
            {
                "s_axis_tdata": In(8 * config.lanes),
                "s_axis_tid": In(config.id_bits),
                "s_axis_tvalid": In(1),
                "s_axis_tready": Out(1),
                "s_axis_tlast": In(1),
                "m_axis_tdata": Out(8 * config.lanes),
                "m_axis_tid": Out(config.id_bits),
                "m_axis_tuser": Out(1),
                "m_axis_tvalid": Out(1),
                "m_axis_tready": In(1),
                "m_axis_tlast": Out(1),
                **axi_lite_members("s_axil", self.registers.map.address_bits),
                "irq": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.core, m.submodules.registers = core, registers = self.core, self.registers
        wiring.connect(m, registers.control, core.control)
        connect_axi_lite(m, self, registers)
        m.d.comb += [
            core.i.payload.data.eq(self.s_axis_tdata),
            core.i.payload.id.eq(self.s_axis_tid),
            core.i.payload.last.eq(self.s_axis_tlast),
            core.i.valid.eq(self.s_axis_tvalid),
            self.s_axis_tready.eq(core.i.ready),
            self.m_axis_tdata.eq(core.o.payload.data),
            self.m_axis_tid.eq(core.o.payload.id),
            self.m_axis_tlast.eq(core.o.payload.last),
            self.m_axis_tuser.eq(core.o.payload.bad),
            self.m_axis_tvalid.eq(core.o.valid),
            core.o.ready.eq(self.m_axis_tready),
            self.irq.eq(registers.interrupt),
        ]
        return m
