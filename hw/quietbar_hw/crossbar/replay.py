"""The DAC side: holds input vectors, and hands out each, slice by slice, as often as there are groups of columns."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract import CrossbarConfig

from ..arithmetic import shape_of
from ..counting import Loop, step_through
from ..storage import storage
from .folding import CrossbarFolding


def input_layout(config: CrossbarConfig) -> data.StructLayout:
    """The input code of a row; ``last`` on the last row of a frame's last vector."""
    return data.StructLayout({"code": shape_of(config.source), "last": 1})


def step_layout(config: CrossbarConfig, folding: CrossbarFolding) -> data.StructLayout:
    """What is applied to ``folding.rows`` rows: whether it opens and closes a column's sum, whether it ends a frame."""
    codes = data.ArrayLayout(shape_of(config.dac), folding.rows)
    return data.StructLayout({"codes": codes, "opens": 1, "closes": 1, "last": 1})


class Replay(wiring.Component):
    """Two vectors deep: while one is handed out, the next is filled.

    A vector's steps come in the order of a tile's rows, once for each group of columns, tile by tile, slice by slice.

    Timing: a step every cycle; the first is there `LATENCY` cycles after the end of its vector was taken.

    Members:
        inputs: In(stream of ``folding.rows`` elements of `input_layout`).
        steps: Out(stream of `step_layout`).
    """

    LATENCY = 2

    def __init__(self, config: CrossbarConfig, folding: CrossbarFolding) -> None:
        self.config, self.folding = config, folding
        super().__init__(
            {
                "inputs": In(stream.Signature(data.ArrayLayout(input_layout(config), folding.rows))),
                "steps": Out(stream.Signature(step_layout(config, folding))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        row_folds, column_folds = self.folding.row_folds(self.config), self.folding.column_folds(self.config)
        filling, draining = Signal(), Signal()
        full, last = Signal(2), Signal(2)
        row_in, row_out = Loop("row_in", self.config.row_tiles * row_folds), Loop("row_out", row_folds)
        column_fold, tile = Loop("column_fold", column_folds), Loop("tile", self.config.row_tiles, stride=row_folds)
        part = Loop("part", self.config.slices)
        part_out = Signal.like(part.counter)

        codes = data.ArrayLayout(shape_of(self.config.source), self.folding.rows)
        m.submodules.vectors = vectors = storage(codes, 2 << len(row_in.counter))
        write, read = vectors.write_port(), vectors.read_port()
        advance = ~self.steps.valid | self.steps.ready
        m.d.comb += [
            self.inputs.ready.eq(~full.bit_select(filling, 1)),
            write.addr.eq(Cat(row_in.counter, filling)),
            write.en.eq(self.inputs.valid & self.inputs.ready),
            read.addr.eq(Cat((tile.counter + row_out.counter)[: len(row_in.counter)], draining)),
            read.en.eq(advance),
        ]
        for row in range(self.folding.rows):
            applied = Value.cast(read.data[row]).word_select(part_out, self.config.dac_bits)
            m.d.comb += self.steps.p.codes[row].eq(applied)
        m.d.comb += [write.data[row].eq(self.inputs.payload[row].code) for row in range(self.folding.rows)]
        with m.If(step_through(m, write.en, row_in)):
            m.d.sync += [
                filling.eq(~filling),
                full.bit_select(filling, 1).eq(1),
                last.bit_select(filling, 1).eq(self.inputs.payload[-1].last),
            ]

        issue = Signal()
        m.d.comb += issue.eq(advance & full.bit_select(draining, 1))
        ends = step_through(m, issue, row_out, column_fold, tile, part)
        with m.If(advance):
            m.d.sync += [
                self.steps.valid.eq(issue),
                part_out.eq(part.counter),
                self.steps.p.opens.eq(row_out.at_start),
                self.steps.p.closes.eq(row_out.at_end),
                self.steps.p.last.eq(ends & last.bit_select(draining, 1)),
            ]
        with m.If(ends):
            m.d.sync += [draining.eq(~draining), full.bit_select(draining, 1).eq(0)]
        return m
