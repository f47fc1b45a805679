"""Crossbar tiles as they are dropped into a design with a processor: AXI4-Streams of data, AXI4-Lite for all else."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract import CrossbarConfig

from ..registers.axi_lite import axi_lite_members, connect_axi_lite
from ..registers.crossbar import CrossbarRegisters
from .controlled import ControlledCrossbar
from .folding import CrossbarFolding


class AxiLiteCrossbar(wiring.Component):
    """Crossbar tiles with registers.

    Data: as of :class:`~quietbar_hw.crossbar.top.AxiCrossbar`. Control: the registers of ``registers/crossbar.rdl``,
    and behind them a window to which the frames of :mod:`quietbar.contract.stream` are written word by word.

    Timing: :mod:`quietbar_hw.crossbar.timing`; the registers add no cycle to the data. Outputs of the streams obey
    AXI4-Stream's rules; ``rst`` is synchronous and high-active, and forgets the configuration.

    Members (with ``clk`` and ``rst``, the ports of the Verilog):
        s_axis_tdata, s_axis_tvalid, s_axis_tready, s_axis_tlast: data in.
        m_axis_tdata, m_axis_tvalid, m_axis_tready, m_axis_tlast: data out.
        s_axil_...: the AXI4-Lite port, 32 bits of data.
        irq: Out(1), the interrupt: a level.
    """

    def __init__(self, config: CrossbarConfig, folding: CrossbarFolding) -> None:
        self.config, self.folding = config, folding
        self.tiles, self.registers = ControlledCrossbar(config, folding), CrossbarRegisters(config, folding)
        super().__init__(
            {
                "s_axis_tdata": In(folding.input_lanes * config.source.bits),
                "s_axis_tvalid": In(1),
                "s_axis_tready": Out(1),
                "s_axis_tlast": In(1),
                "m_axis_tdata": Out(folding.output_lanes * config.target.bits),
                "m_axis_tvalid": Out(1),
                "m_axis_tready": In(1),
                "m_axis_tlast": Out(1),
                **axi_lite_members("s_axil", self.registers.map.address_bits),
                "irq": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.tiles, m.submodules.registers = tiles, registers = self.tiles, self.registers
        wiring.connect(m, registers.control, tiles.control)
        connect_axi_lite(m, self, registers)
        inputs, codes, bits = tiles.inputs.payload, tiles.codes.payload, self.config.source.bits
        m.d.comb += [inputs[lane].code.eq(self.s_axis_tdata.word_select(lane, bits)) for lane in range(len(inputs))]
        m.d.comb += [
            inputs[-1].last.eq(self.s_axis_tlast),
            tiles.inputs.valid.eq(self.s_axis_tvalid),
            self.s_axis_tready.eq(tiles.inputs.ready),
            self.m_axis_tdata.eq(Cat(Value.cast(element.code) for element in codes)),
            self.m_axis_tlast.eq(codes[-1].last),
            self.m_axis_tvalid.eq(tiles.codes.valid),
            tiles.codes.ready.eq(self.m_axis_tready),
            self.irq.eq(registers.interrupt),
        ]
        return m
