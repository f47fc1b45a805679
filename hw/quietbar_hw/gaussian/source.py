"""The Gaussian source: seed in, stream of samples out."""

from __future__ import annotations

from amaranth.hdl import Module, ResetInserter
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract import require_integer
from quietbar.contract.gaussian import SAMPLE

from ..arithmetic import shape_of
from ..stream import LOAD, ResultQueue, delay
from .box_muller import BoxMuller
from .uniform import UniformSource


class GaussianSource(wiring.Component):
    """A stream of samples, ``2 * lanes`` a transfer, in the order of :func:`quietbar.contract.gaussian.samples`.

    The samples depend neither on the number of lanes nor on stalls: no sample is lost or made twice.

    Seeding: the ten words of each lane that :func:`quietbar.contract.stream.seed_frame` puts behind the kind come
    through ``load``, the first of them marked. That first word empties pipeline and queue (the one case in which
    ``valid`` of the stream falls without a transfer), and the first sample after the last word is sample 0 of the seed.
    Before the first seed there are no samples.

    Timing: a transfer every cycle; the first comes `LATENCY` cycles after the last word of a seed.

    Args:
        lanes: pairs of samples a transfer.
        ahead: transfers that are made beyond those that keep the stream going, for whoever claims samples some time
            before taking them.

    Members:
        load: In, see :data:`quietbar_hw.stream.LOAD`.
        loaded: Out(1), a whole seed is there.
        refused: Out(1), pulses one cycle after the last word of what is no state of any seed.
        arriving: Out(1), a transfer enters the queue and can be had from the next cycle on; with ``ahead``, it can be
            claimed then, and had one cycle later.
        samples: Out(stream of ``2 * lanes`` samples, signed 16 bits with 11 fraction bits).
    """

    LATENCY = BoxMuller.LATENCY + 2

    def __init__(self, lanes: int, ahead: int = 0) -> None:
        require_integer("gaussian_source.ahead", ahead, 0, 1 << 16)
        self.lanes, self.ahead = lanes, ahead
        self.shape = data.ArrayLayout(shape_of(SAMPLE), 2 * lanes)
        super().__init__(
            {
                "load": In(LOAD),
                "loaded": Out(1),
                "refused": Out(1),
                "arriving": Out(1),
                "samples": Out(stream.Signature(self.shape)),
            }
        )

    @staticmethod
    def depth(ahead: int) -> int:
        """Transfers that are under way or wait."""
        return ResultQueue.credit(BoxMuller.LATENCY) + ahead

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.uniform = uniform = UniformSource(self.lanes)
        wiring.connect(m, wiring.flipped(self.load), uniform.load)

        seeding = self.load.valid & self.load.payload.first
        # Whoever claims samples ahead takes them late enough for block RAM.
        results = ResultQueue(self.shape, self.depth(self.ahead), block=self.ahead > 0)
        m.submodules.results = ResetInserter(seeding)(results)
        launch = uniform.loaded & results.room
        m.d.comb += [
            self.loaded.eq(uniform.loaded),
            self.refused.eq(uniform.refused),
            uniform.step.eq(launch),
            results.launch.eq(launch),
        ]
        arriving = launch
        for _ in range(BoxMuller.LATENCY):
            arriving = delay(m, arriving & ~seeding, 1, "arriving", reset_less=False)
        m.d.comb += [results.arrivals.valid.eq(arriving), self.arriving.eq(arriving)]
        for lane in range(self.lanes):
            m.submodules[f"box_muller_{lane}"] = pipeline = BoxMuller()
            m.d.comb += [
                pipeline.draw.eq(uniform.draws[lane]),
                results.arrivals.payload[2 * lane].eq(pipeline.first),
                results.arrivals.payload[2 * lane + 1].eq(pipeline.second),
            ]
        wiring.connect(m, results.o, wiring.flipped(self.samples))
        return m
