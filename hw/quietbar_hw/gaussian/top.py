"""The Gaussian sources as they are dropped into a design: AXI4-Stream for the seed, AXI4-Stream of samples."""

from __future__ import annotations

from enum import IntEnum

from amaranth.hdl import Cat, Module, ResetInserter, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract.gaussian import SAMPLE
from quietbar.contract.sources import SourceConfig
from quietbar.contract.stream import CONFIGURATION_WORD_BITS, FrameKind

from ..arithmetic import shape_of
from ..register_slice import RegisterSlice
from ..stream import Resize
from .inverse_cdf import InverseCdfSource
from .source import GaussianSource


class Error(IntEnum):
    """Bits of `AxiGaussianSource.error`; each stays set until reset."""

    LENGTH = 0
    """A SEED frame too short or too long: there are no samples until a whole one came."""
    KIND = 1
    """A frame that is no SEED; it was ignored."""
    STATE = 2
    """A SEED frame that no seed has, as its generator would stand still: no samples until another one came."""


def core(config: SourceConfig) -> GaussianSource | InverseCdfSource:
    """The source without its AXI4-Stream ports; a Box-Muller source of one lane gives pairs all the same."""
    return GaussianSource(max(1, config.lanes // 2)) if config.kind == "box-muller" else InverseCdfSource(config.lanes)


class AxiGaussianSource(wiring.Component):
    """A source of Gaussian samples with AXI4-Stream ports: seed in, samples out.

    Seed: frames of 32-bit words, SEED and the words of
    :meth:`quietbar.contract.sources.SourceConfig.seed_frame`, ``tlast`` on the last. There are no samples before the
    first. A frame may come at any time and is taken at once; then the sequence of the new seed begins. ``tuser`` marks
    the transfer that begins it: at most two transfers of the old sequence, which were waiting, come before.

    Samples: ``lanes`` to a transfer, two's complement, 11 fraction bits, the first in the low bits. No sample is lost
    or made twice under any stalls.

    Timing: a transfer every cycle (a Box-Muller source of one lane has its pairs taken apart); the first comes
    `latency` cycles after the last word of a seed was taken. All outputs come from registers. ``rst`` is synchronous
    and high-active; after it the source is to be seeded anew.

    Members (with ``clk`` and ``rst``, the ports of the Verilog):
        s_axis_cfg_tdata, s_axis_cfg_tvalid, s_axis_cfg_tready, s_axis_cfg_tlast: seed in; ready is always high.
        m_axis_tdata, m_axis_tvalid, m_axis_tready, m_axis_tuser: samples out.
        error: Out, the bits of `Error`.
    """

    def __init__(self, config: SourceConfig) -> None:
        self.config = config
        super().__init__(
            {
                "s_axis_cfg_tdata": In(CONFIGURATION_WORD_BITS),
                "s_axis_cfg_tvalid": In(1),
                "s_axis_cfg_tready": Out(1),
                "s_axis_cfg_tlast": In(1),
                "m_axis_tdata": Out(config.lanes * SAMPLE.bits),
                "m_axis_tvalid": Out(1),
                "m_axis_tready": In(1),
                "m_axis_tuser": Out(1),
                "error": Out(len(Error)),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from the one that takes the last word of a seed to the one that offers the first sample."""
        return (GaussianSource if self.config.kind == "box-muller" else InverseCdfSource).LATENCY + 1

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.source = source = core(self.config)
        usable = self._connect_seed(m, source)

        seeding = source.load.valid & source.load.payload.first
        samples = source.samples
        if self.config.kind == "box-muller" and self.config.lanes == 1:
            resize = Resize(shape_of(SAMPLE), 2, 1)
            m.submodules.resize = ResetInserter(seeding)(resize)
            wiring.connect(m, source.samples, resize.i)
            samples = resize.o

        m.submodules.slice = output = RegisterSlice(self.config.lanes * SAMPLE.bits + 1)
        fresh = Signal()
        m.d.comb += [
            output.i.payload.eq(Cat(Value.cast(samples.payload), fresh)),
            output.i.valid.eq(samples.valid & usable),
            samples.ready.eq(output.i.ready & usable),
            Cat(self.m_axis_tdata, self.m_axis_tuser).eq(output.o.payload),
            self.m_axis_tvalid.eq(output.o.valid),
            output.o.ready.eq(self.m_axis_tready),
        ]
        with m.If(seeding):
            m.d.sync += fresh.eq(1)
        with m.Elif(output.i.valid & output.i.ready):
            m.d.sync += fresh.eq(0)
        return m

    def _connect_seed(self, m: Module, source: GaussianSource | InverseCdfSource) -> Signal:
        """Hand the words of SEED frames to the source; high is returned while it runs on a whole and valid one."""
        at_kind, accepted, first = Signal(init=1), Signal(), Signal()
        ended, usable = Signal(), Signal()
        taken, word, last = self.s_axis_cfg_tvalid, self.s_axis_cfg_tdata, self.s_axis_cfg_tlast
        is_seed = word == FrameKind.SEED
        body = taken & ~at_kind & accepted
        surplus = body & ~first & source.loaded
        short = (taken & at_kind & is_seed & last) | (ended & ~source.loaded)
        with m.If(taken):
            m.d.sync += at_kind.eq(last)
            with m.If(at_kind):
                m.d.sync += [accepted.eq(is_seed), first.eq(1)]
            with m.Else():
                m.d.sync += [accepted.eq(accepted & ~surplus), first.eq(0)]
        m.d.sync += ended.eq(body & last & ~surplus)
        with m.If(body & (first | surplus)):
            m.d.sync += usable.eq(0)
        with m.Elif(ended):
            m.d.sync += usable.eq(source.loaded & ~source.refused)
        raised = {
            Error.LENGTH: surplus | short,
            Error.KIND: taken & at_kind & ~is_seed,
            Error.STATE: source.refused,
        }
        for bit, condition in raised.items():
            with m.If(condition):
                m.d.sync += self.error[bit].eq(1)
        m.d.comb += [
            self.s_axis_cfg_tready.eq(1),
            source.load.valid.eq(body & ~surplus),
            source.load.payload.word.eq(word),
            source.load.payload.first.eq(first),
        ]
        return usable
