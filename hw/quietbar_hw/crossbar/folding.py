"""How much of a tile works at once."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from quietbar.contract import CrossbarConfig, require, require_integer


@dataclass(frozen=True)
class CrossbarFolding:
    """The parallelism of tiles in hardware, which they use in turn; the codes that come out do not depend on it.

    Attributes:
        input_lanes: input codes to a beat, of consecutive rows.
        output_lanes: ADC codes to a beat, of consecutive columns.
        rows: rows of a tile that add to the column sums in one cycle.
        columns: columns summed at the same time.
    """

    input_lanes: int = 1
    output_lanes: int = 1
    rows: int = 1
    columns: int = 1

    def __post_init__(self) -> None:
        for field in ("input_lanes", "output_lanes", "rows", "columns"):
            require_integer(f"folding.{field}", getattr(self, field), 1, 1024)

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, for manifests."""
        return asdict(self)

    def check(self, config: CrossbarConfig) -> None:
        """Refuse a folding that does not divide the tile evenly."""
        for field, size in (
            ("input_lanes", config.inputs),
            ("output_lanes", config.outputs),
            ("rows", config.rows),
            ("columns", config.outputs),
        ):
            value = getattr(self, field)
            require(size % value == 0, f"folding.{field}", value, f"a divisor of {size}")
        multiple = self.input_lanes % self.rows == 0 or self.rows % self.input_lanes == 0
        require(multiple, "folding.rows", self.rows, f"a multiple or divisor of input_lanes, {self.input_lanes}")

    def steps(self, config: CrossbarConfig) -> int:
        """Cycles that the column sums of a vector take."""
        return config.slices * self.depth(config)

    def depth(self, config: CrossbarConfig) -> int:
        """Words of the memory of conductances, each with ``rows * columns`` pairs."""
        return config.row_tiles * self.column_folds(config) * self.row_folds(config)

    def row_folds(self, config: CrossbarConfig) -> int:
        """Cycles that one column's sum takes in a tile."""
        return config.rows // self.rows

    def column_folds(self, config: CrossbarConfig) -> int:
        """Groups of columns, summed one after the other."""
        return config.outputs // self.columns
