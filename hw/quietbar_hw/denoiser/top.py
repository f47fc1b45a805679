"""The denoiser as it is dropped into a design: AXI4-Stream in, AXI4-Stream out, AXI4-Stream for its configuration."""

from __future__ import annotations

import enum

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract import BlockConfig
from quietbar.contract.stream import CONFIGURATION_WORD_BITS

from ..counting import Loop, step_through
from .block import DenoisingBlock
from .configuration import Configuration
from .folding import Folding


class Error(enum.IntFlag):
    """Bits of the port ``error``. Each stays set until reset."""

    FRAME_LENGTH = 1
    """``s_axis_tlast`` came early or was missing. That beat was dropped, no frame after the last whole one comes out,
    and no data is accepted any more; reset and start over."""
    CONFIGURATION_LENGTH = 2
    """A configuration frame was too short or too long. What it sets is not configured; send it again."""
    CONFIGURATION_KIND = 4
    """A configuration frame of a kind that this denoiser does not know. It was ignored."""
    PARAMETER_RANGE = 8
    """A parameter outside its number format, or a seed of words that no seed has. Send that frame again."""
    NOT_CONFIGURED = 16
    """Data was offered while parameters, or the seed in sampling mode, were missing and not under way. It waits."""


ERROR_BITS = max(Error).bit_length()


class AxiDenoiser(wiring.Component):
    """A denoising block between AXI4-Streams.

    Data: ``lanes`` elements of 8 bits to a beat, channel-last raster order, the low channel in the low bits; ``tlast``
    on the last beat of a frame, in and out. Configuration: frames of 32-bit words as in
    :mod:`quietbar.contract.stream`: PARAMETERS, and in sampling mode SEED with ``noise_lanes`` lanes. Data waits until
    all that is configured. A new configuration frame is accepted when all frames that were begun have come out; until
    then no other frame is begun.

    Timing: all outputs of the streams obey AXI4-Stream's rules; ``tready`` of an input may depend on its ``tvalid`` in
    the same cycle. ``rst`` is synchronous and high-active. Cycles: :mod:`quietbar_hw.denoiser.timing`.

    Args:
        config: shape and mode of the block.
        folding: parallelism; :meth:`Folding.choose` balances the stages.

    Members (with ``clk`` and ``rst``, the ports of the Verilog):
        s_axis_tdata, s_axis_tvalid, s_axis_tready, s_axis_tlast: data in.
        m_axis_tdata, m_axis_tvalid, m_axis_tready, m_axis_tlast: data out.
        s_axis_cfg_tdata, s_axis_cfg_tvalid, s_axis_cfg_tready, s_axis_cfg_tlast: configuration.
        error: Out, the bits of `Error`.
    """

    def __init__(self, config: BlockConfig, folding: Folding) -> None:
        folding.check(config)
        self.config, self.folding = config, folding
        self.noise_lanes = folding.noise_lanes
        bits = folding.lanes * config.activation.bits
        super().__init__(
            {
                "s_axis_tdata": In(bits),
                "s_axis_tvalid": In(1),
                "s_axis_tready": Out(1),
                "s_axis_tlast": In(1),
                "m_axis_tdata": Out(bits),
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
        m.submodules.block = block = DenoisingBlock(self.config, self.folding)
        m.submodules.configuration = configuration = Configuration(self.config, self.noise_lanes)
        for name in block.loads:
            port = f"load_{name}"
            wiring.connect(m, getattr(configuration, port), getattr(block, port))
        m.d.comb += [
            configuration.i.payload.word.eq(self.s_axis_cfg_tdata),
            configuration.i.payload.last.eq(self.s_axis_cfg_tlast),
            configuration.i.valid.eq(self.s_axis_cfg_tvalid),
            self.s_axis_cfg_tready.eq(configuration.i.ready),
            configuration.refused.eq(block.refused),
        ]

        # Data in: a frame may begin when all is configured and no configuration frame waits.
        beats = self.config.pixels * self.folding.beats_per_pixel(self.config)
        beat_in, beat_out = Loop("beat_in", beats), Loop("beat_out", beats)
        frames, halted = Signal(range(block.capacity + 1)), Signal()
        begun = ~beat_in.at_start
        may_flow = ~halted & (begun | (configuration.configured & ~configuration.busy))
        well_ended = self.s_axis_tlast == beat_in.at_end
        m.d.comb += [
            Value.cast(block.i.payload).eq(self.s_axis_tdata),
            block.i.valid.eq(self.s_axis_tvalid & may_flow & well_ended),
            self.s_axis_tready.eq(may_flow & (block.i.ready | ~well_ended)),
        ]
        entering = block.i.valid & block.i.ready
        step_through(m, entering, beat_in)
        wrong_end = self.s_axis_tvalid & may_flow & ~well_ended
        with m.If(wrong_end):
            m.d.sync += halted.eq(1)

        # Data out.
        leaving = self.m_axis_tvalid & self.m_axis_tready
        m.d.comb += [
            self.m_axis_tdata.eq(Value.cast(block.o.payload)),
            self.m_axis_tvalid.eq(block.o.valid),
            self.m_axis_tlast.eq(beat_out.at_end),
            block.o.ready.eq(self.m_axis_tready),
        ]
        frame_left = step_through(m, leaving, beat_out)
        m.d.sync += frames.eq(frames + (entering & ~begun) - frame_left)
        m.d.comb += configuration.idle.eq((frames == 0) & ~halted)

        causes = {
            Error.FRAME_LENGTH: wrong_end,
            Error.CONFIGURATION_LENGTH: configuration.length_error,
            Error.CONFIGURATION_KIND: configuration.kind_error,
            Error.PARAMETER_RANGE: configuration.value_error,
            Error.NOT_CONFIGURED: self.s_axis_tvalid & ~configuration.configured & ~configuration.busy,
        }
        for error, cause in causes.items():
            with m.If(cause):
                m.d.sync += self.error[error.bit_length() - 1].eq(1)
        return m
