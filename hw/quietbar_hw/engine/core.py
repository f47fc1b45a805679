"""The engine without its registers: streams, control and all between them."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract.engine import COUNTERS, EngineConfig, EngineError, Section

from ..gaussian import GaussianSource, InverseCdfSource
from ..stream import Queue
from .control import control_signature
from .frames import STAGE_FIELDS, DescriptorTable
from .framing import Framing, beat_layout, skipped_layout
from .heads import Heads, heads_depth, samples_ahead
from .memory import Writer
from .reduce import Reduce, reduce_depth
from .spatial import Spatial, spatial_depth

INSIDE = 128
"""More frames than can be inside."""


def skip_depth(config: EngineConfig) -> int:
    """Beats that wait for their noise in the widest frame: a row and some pixels, and what the stages hold.

    All but one of them wait in block RAM, whose addresses need no comparison where they are a power of two.
    """
    pixels = config.width + 8
    least = pixels * config.beats + reduce_depth(config) + spatial_depth(config) + heads_depth(config)
    return (1 << (least - 1).bit_length()) + 1


def noise_source(config: EngineConfig) -> GaussianSource | InverseCdfSource:
    """The Gaussian source of an engine that has one."""
    if config.source == "inverse-cdf":
        return InverseCdfSource(config.lanes)
    return GaussianSource(config.lanes // 2, ahead=samples_ahead(config))


class EngineCore(wiring.Component):
    """All resident blocks in one pipeline over the elements of back-to-back frames::

                +-> reduce -> spatial -> heads --> o
        i --> framing         samples -----^
                +-> skip queue ------------^

    Timing: see :mod:`quietbar_hw.engine.timing`.

    Members:
        i: In(stream of ``beat_layout``): data, last, and the block that a frame belongs to.
        o: Out(stream of ``skipped_layout``): data, last, whether the frame is bad (with last), its block.
        control: In, see :func:`quietbar_hw.engine.control.control_signature`.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        super().__init__(
            {
                "i": In(stream.Signature(beat_layout(config))),
                "o": Out(stream.Signature(skipped_layout(config))),
                "control": Out(control_signature(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, control = self.config, self.control
        restart = ResetInserter(control.restart)
        m.submodules.writer = writer = Writer(config)
        m.submodules.table = table = DescriptorTable(config)
        framing, reduce, spatial, heads = Framing(config), Reduce(config), Spatial(config), Heads(config)
        skip = Queue(skipped_layout(config), skip_depth(config), block=True)
        for name, part in (
            ("framing", framing), ("reduce", reduce), ("spatial", spatial), ("heads", heads), ("skip", skip)
        ):  # fmt: skip
            m.submodules[name] = restart(part)

        wiring.connect(m, wiring.flipped(self.i), framing.i)
        wiring.connect(m, framing.element, reduce.i)
        wiring.connect(m, reduce.o, spatial.i)
        wiring.connect(m, spatial.o, heads.i)
        wiring.connect(m, framing.skipped, skip.i)
        wiring.connect(m, skip.o, heads.skipped)
        wiring.connect(m, heads.o, wiring.flipped(self.o))
        stages: tuple[Reduce | Spatial | Heads, ...] = (reduce, spatial, heads)
        for name, stage in zip(STAGE_FIELDS, stages, strict=True):
            wiring.connect(m, getattr(framing, f"frame_{name}"), stage.frame)
        m.d.comb += [part.store.eq(writer.store) for part in (table, reduce, spatial, heads)]
        m.d.comb += [
            table.block.eq(framing.block),
            table.lookup.eq(framing.lookup),
            framing.fields.eq(table.fields),
        ]

        seeded, seed_refused = self._noise(m, writer, heads) if config.noise else (Value.cast(0), Value.cast(0))
        inside, begun = Signal(range(INSIDE)), Signal()
        leaving = self.o.valid & self.o.ready & self.o.payload.last
        # A frame counts a cycle after it began, since whether it begins is known late.
        with m.If(control.restart):
            m.d.sync += [inside.eq(0), begun.eq(0)]
        with m.Else():
            m.d.sync += [inside.eq(inside + begun - leaving), begun.eq(framing.begun)]
        m.d.comb += [
            framing.begin.eq(control.run & writer.idle),
            framing.seeded.eq(seeded),
            control.seeded.eq(seeded),
            control.busy.eq((inside != 0) | begun),
            writer.allowed.eq(~control.run & ~control.busy),
            writer.unfit.eq(
                Mux(table.unfit, EngineError.DESCRIPTOR_RANGE, 0) | Mux(seed_refused, EngineError.SEED_RANGE, 0)
            ),
            control.errors.eq(framing.errors | writer.errors),
            control.written.eq(writer.written),
            control.refused.eq(writer.refused),
        ]
        m.d.comb += [
            writer.write.payload.eq(control.write.payload),
            writer.write.valid.eq(control.write.valid),
            control.write.ready.eq(writer.write.ready),
        ]
        with m.If(framing.culprit):
            m.d.sync += control.error_block.eq(framing.culprit_id)

        bad = self.o.payload.bad
        steps = {
            "frames": leaving & ~bad,
            "bad_frames": leaving & bad,
            "dropped_frames": framing.dropped,
            "busy_cycles": control.busy,
            "stalled_in_cycles": framing.starved,
            "stalled_out_cycles": self.o.valid & ~self.o.ready,
            "mean_saturations": heads.saturated_mean,
            "log_sigma_saturations": heads.saturated_log_sigma if config.noise else Value.cast(0),
            "output_saturations": heads.saturated_output,
        }
        for number, name in enumerate(COUNTERS):
            counter = control.counters[number]
            m.d.sync += counter.eq(Mux(control.clear, 0, counter + steps[name]))
        return m

    def _noise(self, m: Module, writer: Writer, heads: Heads) -> tuple[Value, Value]:
        """The Gaussian source; whether it has a seed, and that the seed just written is none."""
        m.submodules.noise = noise = ResetInserter(self.control.restart)(noise_source(self.config))
        here = Signal()
        m.d.sync += here.eq(writer.store.section == Section.SEED)
        storing = writer.store.en & here
        first = Signal()
        m.d.sync += first.eq(writer.store.offset == 0)
        sound, refused = Signal(), Signal()
        m.d.comb += [
            noise.load.valid.eq(storing),
            noise.load.payload.word.eq(writer.store.word),
            noise.load.payload.first.eq(first),
        ]
        if self.config.source == "box-muller":
            m.d.comb += [heads.sample_arriving.eq(noise.arriving), heads.forget_samples.eq(storing & first)]
        wiring.connect(m, noise.samples, heads.samples)
        with m.If(storing & first):
            m.d.sync += sound.eq(1)
        with m.If(noise.refused | self.control.restart):
            m.d.sync += sound.eq(0)
        # Uniform state is judged a cycle after its last word, and the answer is given a cycle later.
        m.d.sync += refused.eq(noise.refused)
        # A register: what judges a seed is deep, and no frame can begin before the answer to its last word.
        seeded = Signal()
        m.d.sync += seeded.eq(noise.loaded & sound & ~noise.refused & ~self.control.restart)
        return seeded, refused
