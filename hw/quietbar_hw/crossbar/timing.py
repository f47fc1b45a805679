"""How many cycles a tile takes, to the cycle, while neither end stalls."""

from __future__ import annotations

from quietbar.contract import CrossbarConfig, require_integer

from ..stream import Queue
from .column_sum import ColumnSum
from .converter import Converter
from .folding import CrossbarFolding
from .partial_sums import PartialSums, Scaler
from .replay import Replay


def interval(config: CrossbarConfig, folding: CrossbarFolding) -> int:
    """Cycles from one vector to the next: what the busiest of input, column sums and converter needs."""
    return max(config.inputs // folding.input_lanes, folding.steps(config), config.conversions)


def cycles(config: CrossbarConfig, folding: CrossbarFolding, vectors: int = 1) -> int:
    """Cycles from the one in which the first of ``vectors`` vectors is offered to that of the last code, both counted.

    The source must have samples ready, as it has some twenty cycles after its seed.
    """
    require_integer("vectors", vectors, 1, 1 << 60)
    folding.check(config)
    row_folds = folding.row_folds(config)
    filling = max(config.inputs // folding.input_lanes, config.row_tiles * row_folds)
    # Either the converter waits for the last group of columns, or the groups wait for the converter.
    summing = max(folding.steps(config) + folding.columns, row_folds + config.conversions)
    passing = Replay.LATENCY + ColumnSum.LATENCY + Queue.LATENCY + Converter.LATENCY - 2
    if config.slices * config.row_tiles > 1:
        passing += PartialSums.LATENCY
    if config.output != "sums":
        passing += Scaler.LATENCY
    return filling + summing + passing + (vectors - 1) * interval(config, folding)
