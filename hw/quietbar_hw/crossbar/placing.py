"""Where pairs of conductances lie in the memory that the column sums read."""

from __future__ import annotations

from amaranth.hdl import Const, Module, Mux
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract import CrossbarConfig
from quietbar.contract.crossbar import CONDUCTANCE

from ..arithmetic import shape_of
from ..counting import Loop, step_through
from .folding import CrossbarFolding

PAIR = data.StructLayout({"plus": shape_of(CONDUCTANCE), "minus": shape_of(CONDUCTANCE)})
"""The two conductances of a weight."""

PAIRS = stream.Signature(PAIR, always_ready=True)
"""Pairs in the order of the weights: row by row."""


class WriteSignature(wiring.Signature):
    """One pair of conductances into the memory.

    ``address`` is ``(tile * column folds + column fold) * row folds + row fold``; in ``lanes`` the bit
    ``row * columns + column`` is set.
    """

    def __init__(self, config: CrossbarConfig, folding: CrossbarFolding) -> None:
        super().__init__(
            {
                "address": Out(range(max(2, folding.depth(config)))),
                "lanes": Out(folding.rows * folding.columns),
                "pair": Out(PAIR),
            }
        )


class Placer(wiring.Component):
    """Writes pairs that come in the order of the weights to their places.

    Members:
        restart: In(1), the next pair is that of the first weight.
        pairs: In(`PAIRS`).
        write: Out(`WriteSignature`), in the same cycle.
    """

    def __init__(self, config: CrossbarConfig, folding: CrossbarFolding) -> None:
        self.config, self.folding = config, folding
        super().__init__({"restart": In(1), "pairs": In(PAIRS), "write": Out(WriteSignature(config, folding))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, folding = self.config, self.folding
        row_folds, column_folds = folding.row_folds(config), folding.column_folds(config)
        # Column by column within a row, each counted as fold and lane.
        column_lane = Loop("column_lane", folding.columns)
        column_fold = Loop("column_fold", column_folds, stride=row_folds)
        row_lane = Loop("row_lane", folding.rows, stride=folding.columns)
        row_fold = Loop("row_fold", row_folds)
        tile = Loop("tile", config.row_tiles, stride=row_folds * column_folds)
        loops = (column_lane, column_fold, row_lane, row_fold, tile)
        step_through(m, self.pairs.valid, *loops)
        with m.If(self.restart):
            m.d.sync += [loop.counter.eq(0) for loop in loops]
        lane = Const(1, folding.rows * folding.columns) << (row_lane.counter + column_lane.counter)
        m.d.comb += [
            self.write.address.eq(tile.counter + column_fold.counter + row_fold.counter),
            self.write.pair.eq(self.pairs.payload),
            self.write.lanes.eq(Mux(self.pairs.valid, lane, 0)),
        ]
        return m
