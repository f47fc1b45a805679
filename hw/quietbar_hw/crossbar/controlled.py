"""Crossbar tiles under control: vectors let in or not, what is inside known and droppable, events counted."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract import CrossbarConfig

from ..counting import Loop, step_through
from .control import COUNTERS, control_signature
from .folding import CrossbarFolding
from .frame_writer import FrameWriter
from .partial_sums import output_layout
from .replay import input_layout
from .tile import IN_FLIGHT_HIGH, Crossbar

INSIDE_HIGH = IN_FLIGHT_HIGH + 8
"""More vectors than can be inside, those among them whose codes wait to leave."""


class ControlledCrossbar(wiring.Component):
    """Tiles whose configuration comes as addressed words, with the control of :func:`control_signature`.

    Timing: as :class:`~quietbar_hw.crossbar.tile.Crossbar`; control adds no cycle to the data. A vector may begin in
    the cycle after ``run`` rose.

    Members:
        inputs: In(stream of ``folding.input_lanes`` elements of `input_layout`).
        codes: Out(stream of ``folding.output_lanes`` elements of `output_layout`).
        control: Out, see :func:`control_signature`.
    """

    def __init__(self, config: CrossbarConfig, folding: CrossbarFolding) -> None:
        folding.check(config)
        self.config, self.folding = config, folding
        super().__init__(
            {
                "inputs": In(stream.Signature(data.ArrayLayout(input_layout(config), folding.input_lanes))),
                "codes": Out(stream.Signature(data.ArrayLayout(output_layout(config), folding.output_lanes))),
                "control": Out(control_signature(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, control = self.config, self.control
        m.submodules.tile = tile = Crossbar(config, self.folding)
        m.submodules.writer = writer = FrameWriter(config)
        wiring.connect(m, writer.frames, tile.frames)
        wiring.connect(m, tile.codes, wiring.flipped(self.codes))

        beat_in = Loop("beat_in", config.inputs // self.folding.input_lanes)
        beat_out = Loop("beat_out", config.outputs // self.folding.output_lanes)
        lets_in, taken, left = Signal(), Signal(), Signal()
        m.d.comb += [
            lets_in.eq(control.run | ~beat_in.at_start),
            tile.inputs.payload.eq(self.inputs.payload),
            tile.inputs.valid.eq(self.inputs.valid & lets_in),
            self.inputs.ready.eq(tile.inputs.ready & lets_in),
            taken.eq(self.inputs.valid & self.inputs.ready),
            left.eq(self.codes.valid & self.codes.ready),
        ]
        begun = taken & beat_in.at_start
        step_through(m, taken, beat_in)
        ended = step_through(m, left, beat_out)
        inside = Signal(range(INSIDE_HIGH + 1))
        m.d.sync += inside.eq(inside + begun - ended)
        with m.If(control.restart):
            m.d.sync += [inside.eq(0), beat_in.counter.eq(0), beat_out.counter.eq(0)]

        m.d.comb += [
            tile.restart.eq(control.restart),
            writer.abandon.eq(control.restart),
            writer.allowed.eq(~control.run & (inside == 0)),
            writer.raised.eq(tile.raised),
            writer.write.payload.eq(control.write.payload),
            writer.write.valid.eq(control.write.valid),
            control.write.ready.eq(writer.write.ready),
            control.refused.eq(writer.refused),
            control.open.eq(writer.open),
            control.errors.eq(writer.errors),
            control.busy.eq(inside != 0),
            control.ready.eq(tile.ready),
            control.loaded.eq(tile.loaded),
            control.time.eq(tile.time),
        ]
        happened = {
            "vectors": ended,
            "busy_cycles": control.busy,
            "stalled_in_cycles": ~beat_in.at_start & ~self.inputs.valid,
            "stalled_out_cycles": self.codes.valid & ~self.codes.ready,
            "clipped_codes": tile.clipped,
        }
        for counter, name in zip(control.counters, COUNTERS, strict=True):
            with m.If(control.clear):
                m.d.sync += counter.eq(0)
            with m.Else():
                m.d.sync += counter.eq(counter + Cat(happened[name]))
        return m
