"""The tile as it is dropped into a design: AXI4-Stream in, AXI4-Stream out, AXI4-Stream for its configuration."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract import CrossbarConfig
from quietbar.contract.stream import CONFIGURATION_WORD_BITS

from .configuration import ERROR_BITS
from .folding import CrossbarFolding
from .tile import Crossbar


class AxiCrossbar(wiring.Component):
    """A crossbar tile between AXI4-Streams.

    Data in: vectors of ``inputs`` codes of ``source.bits``, ``folding.input_lanes`` to a beat, the low row in the low
    bits. ``tlast`` may come with the last beat of any vector and marks the end of a frame of vectors; it leaves with
    that vector's last output. Data out: for each vector ``outputs`` elements of ``target``, ``folding.output_lanes`` to
    a beat, the low column in the low bits. Configuration: frames of 32-bit words as in :mod:`quietbar.contract.stream`:
    SEED (of one lane), PROGRAM, CONVERTER, and EXPONENTS, TIME, FAULTS, SCALE where the tiles have them; when each is
    wanted is said at :class:`quietbar_hw.crossbar.configuration.Configuration`.

    Timing: outputs of the streams obey AXI4-Stream's rules. ``rst`` is synchronous and high-active; after it the tile
    is to be configured anew. Cycles: :mod:`quietbar_hw.crossbar.timing`.

    Members (with ``clk`` and ``rst``, the ports of the Verilog):
        s_axis_tdata, s_axis_tvalid, s_axis_tready, s_axis_tlast: data in.
        m_axis_tdata, m_axis_tvalid, m_axis_tready, m_axis_tlast: data out.
        s_axis_cfg_tdata, s_axis_cfg_tvalid, s_axis_cfg_tready, s_axis_cfg_tlast: configuration.
        error: Out, the bits of :class:`quietbar_hw.crossbar.configuration.Error`.
    """

    def __init__(self, config: CrossbarConfig, folding: CrossbarFolding) -> None:
        self.config, self.folding = config, folding
        self.tile = Crossbar(config, folding)
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
                "s_axis_cfg_tdata": In(CONFIGURATION_WORD_BITS),
                "s_axis_cfg_tvalid": In(1),
                "s_axis_cfg_tready": Out(1),
                "s_axis_cfg_tlast": In(1),
                "error": Out(ERROR_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.tile = tile = self.tile
        inputs, codes, bits = tile.inputs.payload, tile.codes.payload, self.config.source.bits
        m.d.comb += [inputs[lane].code.eq(self.s_axis_tdata.word_select(lane, bits)) for lane in range(len(inputs))]
        m.d.comb += [
            inputs[-1].last.eq(self.s_axis_tlast),
            tile.inputs.valid.eq(self.s_axis_tvalid),
            self.s_axis_tready.eq(tile.inputs.ready),
            self.m_axis_tdata.eq(Cat(Value.cast(element.code) for element in codes)),
            self.m_axis_tlast.eq(codes[-1].last),
            self.m_axis_tvalid.eq(tile.codes.valid),
            tile.codes.ready.eq(self.m_axis_tready),
            tile.frames.payload.word.eq(self.s_axis_cfg_tdata),
            tile.frames.payload.last.eq(self.s_axis_cfg_tlast),
            tile.frames.valid.eq(self.s_axis_cfg_tvalid),
            self.s_axis_cfg_tready.eq(tile.frames.ready),
            self.error.eq(tile.error),
        ]
        return m
