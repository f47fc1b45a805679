"""How a matrix-vector stage is folded over time, and what that costs."""

from __future__ import annotations

from dataclasses import dataclass

from quietbar.contract import Stage, require, require_integer
from quietbar.contract.number import WEIGHT
from quietbar.contract.requantize import MULTIPLIER_BITS

ADDENDS = 2
"""Terms added up between two registers of an adder tree."""


def tree_levels(terms: int) -> tuple[int, ...]:
    """Number of sums in each level of an adder tree over so many terms."""
    if terms == 1:
        return ()
    sums = -(-terms // ADDENDS)
    return (sums, *tree_levels(sums))


@dataclass(frozen=True)
class StageFolding:
    """``pe`` outputs are worked on at a time, ``simd`` of their inputs in each cycle."""

    simd: int
    pe: int

    def __post_init__(self) -> None:
        require_integer("folding.simd", self.simd, 1, 1 << 16)
        require_integer("folding.pe", self.pe, 1, 1 << 16)

    def check(self, stage: Stage) -> None:
        """Refuse a folding that does not divide the stage evenly."""
        require(stage.inputs % self.simd == 0, f"{stage.name}.simd", self.simd, f"a divisor of {stage.inputs} inputs")
        require(stage.outputs % self.pe == 0, f"{stage.name}.pe", self.pe, f"a divisor of {stage.outputs} outputs")

    def input_folds(self, stage: Stage) -> int:
        """Cycles for ``pe`` outputs."""
        return stage.inputs // self.simd

    def output_folds(self, stage: Stage) -> int:
        """How many times ``pe`` outputs make all of them."""
        return stage.outputs // self.pe

    def cycles(self, stage: Stage) -> int:
        """Cycles a vector."""
        return self.input_folds(stage) * self.output_folds(stage)

    @property
    def multipliers(self) -> int:
        """Multipliers of the matrix product."""
        return self.simd * self.pe

    def requantizers(self, stage: Stage) -> int:
        """The fewest requantisers that keep up with ``pe`` results every `input_folds` cycles."""
        return next(
            count
            for count in range(1, self.pe + 1)
            if self.pe % count == 0 and self.pe // count <= self.input_folds(stage)
        )

    def replayed(self, stage: Stage) -> bool:
        """Whether each input vector is read more than once."""
        return stage.shared_input and self.output_folds(stage) > 1

    def flip_flops(self, stage: Stage) -> int:
        """Estimate of the stage's registers, to rank foldings by."""
        accumulator = stage.accumulator.bits
        product = stage.source.bits + WEIGHT.bits
        operands = self.simd * stage.source.bits * (1 if stage.shared_input else self.pe)
        sums = self.simd + sum(tree_levels(self.simd))
        accumulators = accumulator * (2 if self.input_folds(stage) > 1 else 1)
        requantizer = 2 * accumulator + 3 * (accumulator + MULTIPLIER_BITS)
        return operands + self.pe * (sums * product + accumulators) + self.requantizers(stage) * requantizer
