"""A mixed-signal layer: a crossbar tile, and the denoising block that makes up for its noise."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from quietbar.contract import BlockConfig, CrossbarConfig, require
from quietbar.contract.stream import CONFIGURATION_WORD_BITS

from ..denoiser.folding import Folding
from ..denoiser.top import AxiDenoiser
from .folding import CrossbarFolding
from .top import AxiCrossbar

TO_BLOCK = 1 << 16
"""Added to the first word of a configuration frame, sends it to the denoising block instead of the tile."""


def to_block(frame: list[int]) -> list[int]:
    """A configuration frame of the denoising block, for the configuration stream of a mixed-signal layer."""
    return [frame[0] | TO_BLOCK, *frame[1:]]


def check_fit(
    crossbar: CrossbarConfig, block: BlockConfig, crossbar_folding: CrossbarFolding, block_folding: Folding
) -> None:
    """Refuse a tile and a block between which codes, channels or lanes do not fit; the field is named."""
    require(block.channels == crossbar.outputs, "block.channels", block.channels, f"{crossbar.outputs}, as columns")
    unsigned = crossbar.output == "unsigned"
    require(block.signed != unsigned, "block.signed", block.signed, f"{not unsigned}, as the tile's outputs are")
    wanted = f"such that outputs have {block.activation.bits} bits, not {crossbar.target.bits}"
    require(crossbar.target == block.activation, "crossbar.adc_bits", crossbar.adc_bits, wanted)
    lanes = crossbar_folding.output_lanes
    require(block_folding.lanes == lanes, "folding.lanes", block_folding.lanes, f"{lanes}, as output_lanes of the tile")


class MixedSignalLayer(wiring.Component):
    """ADC codes of the tile are the activations of the block: one vector is one pixel, its columns are the channels.

    A frame is ``block.pixels`` vectors in raster order, ``s_axis_tlast`` on the last beat of the last of them.
    Configuration frames go to the tile as they are, to the block with `TO_BLOCK` added to their first word.

    Members (with ``clk`` and ``rst``, the ports of the Verilog):
        s_axis_..., m_axis_..., s_axis_cfg_...: as of :class:`AxiCrossbar` and :class:`AxiDenoiser`.
        error: Out, the bits of the tile's error, above them those of the block's.

    Raises:
        ConfigurationError: tile and block do not fit each other (`check_fit`).
    """

    def __init__(
        self,
        crossbar: CrossbarConfig,
        block: BlockConfig,
        crossbar_folding: CrossbarFolding,
        block_folding: Folding,
    ) -> None:
        check_fit(crossbar, block, crossbar_folding, block_folding)
        self.tile = AxiCrossbar(crossbar, crossbar_folding)
        self.block = AxiDenoiser(block, block_folding)
        tile, denoiser = self.tile.signature.members, self.block.signature.members
        self.error_bits = len(self.tile.error), len(self.block.error)
        super().__init__(
            {
                **{name: member for name, member in tile.items() if name.startswith("s_axis_")},
                **{name: member for name, member in denoiser.items() if name.startswith("m_axis_")},
                "error": Out(sum(self.error_bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.tile = tile = self.tile
        m.submodules.denoiser = block = self.block
        m.d.comb += self.error.eq(Cat(tile.error, block.error))
        for signal in ("tdata", "tvalid", "tlast"):
            m.d.comb += [
                getattr(tile, f"s_axis_{signal}").eq(getattr(self, f"s_axis_{signal}")),
                getattr(block, f"s_axis_{signal}").eq(getattr(tile, f"m_axis_{signal}")),
                getattr(self, f"m_axis_{signal}").eq(getattr(block, f"m_axis_{signal}")),
            ]
        m.d.comb += [
            self.s_axis_tready.eq(tile.s_axis_tready),
            tile.m_axis_tready.eq(block.s_axis_tready),
            block.m_axis_tready.eq(self.m_axis_tready),
        ]

        # Configuration: the first word of a frame says where the frame goes.
        first, same_as_before = Signal(init=1), Signal()
        for_block, word = Signal(), Signal(CONFIGURATION_WORD_BITS)
        m.d.comb += [
            for_block.eq(Mux(first, self.s_axis_cfg_tdata >= TO_BLOCK, same_as_before)),
            word.eq(Mux(first & for_block, self.s_axis_cfg_tdata - TO_BLOCK, self.s_axis_cfg_tdata)),
            self.s_axis_cfg_tready.eq(Mux(for_block, block.s_axis_cfg_tready, tile.s_axis_cfg_tready)),
        ]
        for part, chosen in ((tile, ~for_block), (block, for_block)):
            m.d.comb += [
                part.s_axis_cfg_tdata.eq(word),
                part.s_axis_cfg_tlast.eq(self.s_axis_cfg_tlast),
                part.s_axis_cfg_tvalid.eq(self.s_axis_cfg_tvalid & chosen),
            ]
        with m.If(self.s_axis_cfg_tvalid & self.s_axis_cfg_tready):
            m.d.sync += [first.eq(self.s_axis_cfg_tlast), same_as_before.eq(for_block)]
        return m
