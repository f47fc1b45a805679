"""The folding of a denoising block: how many multipliers each stage has, so that none waits for another."""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass
from typing import Any

from quietbar.contract import BlockConfig, Stage, require, require_integer

from ..conv.folding import StageFolding

LANES_HIGH = 64
CANDIDATES = 12
"""Foldings of a stage, the cheapest ones, that the chooser combines with those of the other stages."""


@dataclass(frozen=True)
class Folding:
    """Parallelism of a block.

    Attributes:
        lanes: channels to a beat of the data streams.
        reduce, spatial: folding of these stages.
        head: folding of ``mean`` and ``log_sigma``, which run side by side.
    """

    lanes: int
    reduce: StageFolding
    spatial: StageFolding
    head: StageFolding

    def __post_init__(self) -> None:
        require_integer("folding.lanes", self.lanes, 1, LANES_HIGH)

    def of(self, stage: Stage) -> StageFolding:
        """The folding of a stage."""
        return {"reduce": self.reduce, "spatial": self.spatial}.get(stage.name, self.head)

    @property
    def noise_lanes(self) -> int:
        """Pairs of Gaussian samples that are made at a time (sampling mode)."""
        return max(1, self.lanes // 2)

    def group(self, config: BlockConfig) -> int:
        """Channels whose windows leave the line buffer side by side."""
        return config.hidden if config.kernel == "dense" else self.spatial.pe

    def check(self, config: BlockConfig) -> None:
        """Refuse a folding that does not fit ``config``: uneven divisions, or widths that do not convert."""
        require(
            config.channels % self.lanes == 0, "folding.lanes", self.lanes, f"a divisor of {config.channels} channels"
        )
        if config.mode == "sampling":
            require(
                self.lanes == 1 or self.lanes % 2 == 0, "folding.lanes", self.lanes, "1 or even: samples come in pairs"
            )
        for stage in config.stages:
            self.of(stage).check(stage)
        for edge, before, after in self._edges(config):
            require(
                before % after == 0 or after % before == 0,
                f"folding.{edge}",
                after,
                f"a divisor or a multiple of {before}, the number of elements that come at a time",
            )

    def _edges(self, config: BlockConfig) -> tuple[tuple[str, int, int], ...]:
        """Where widths are converted: what for, elements at a time before, and after."""
        reduce, spatial, mean = config.stages[:3]
        return (
            ("reduce.simd", self.lanes, self.reduce.simd),
            ("spatial.pe", self.reduce.requantizers(reduce), self.group(config)),
            ("head.simd", self.spatial.requantizers(spatial), self.head.simd),
            ("lanes", self.head.requantizers(mean), self.lanes),
        )

    def beats_per_pixel(self, config: BlockConfig) -> int:
        """Beats of the data streams for a pixel."""
        return config.channels // self.lanes

    def cycles_per_pixel(self, config: BlockConfig) -> int:
        """Cycles a pixel in steady state: those of the slowest part."""
        return max(
            self.beats_per_pixel(config),
            config.hidden // self.group(config),
            *(self.of(stage).cycles(stage) for stage in config.stages),
        )

    def multipliers(self, config: BlockConfig) -> int:
        """8 x 8 bit multipliers of all stages."""
        return sum(self.of(stage).multipliers for stage in config.stages)

    def utilization(self, config: BlockConfig) -> float:
        """Part of all multiplier cycles that do a multiplication of the block, in steady state."""
        offered = self.multipliers(config) * self.cycles_per_pixel(config) * config.pixels
        return config.multiplications / offered

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, for manifests."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Folding:
        """The inverse of :meth:`to_dict`."""
        known = {"lanes", "reduce", "spatial", "head"}
        require(set(values) == known, "folding", sorted(values), "the fields " + ", ".join(sorted(known)))
        return cls(values["lanes"], *(StageFolding(**values[name]) for name in ("reduce", "spatial", "head")))

    @classmethod
    def choose(cls, config: BlockConfig, lanes: int = 4, cycles_per_pixel: int | None = None) -> Folding:
        """The cheapest folding that keeps up with the data streams, or with ``cycles_per_pixel`` if that is slower.

        Cheapest: fewest multipliers (requantisers count as two), then fewest registers.
        """
        require_integer("folding.lanes", lanes, 1, LANES_HIGH)
        require(config.channels % lanes == 0, "folding.lanes", lanes, f"a divisor of {config.channels} channels")
        target = config.channels // lanes if cycles_per_pixel is None else cycles_per_pixel
        require_integer("folding.cycles_per_pixel", target, config.channels // lanes, 1 << 24)

        def cost(stage: Stage, folding: StageFolding) -> tuple[int, int]:
            return folding.multipliers + 2 * folding.requantizers(stage), folding.flip_flops(stage)

        def candidates(stage: Stage) -> list[StageFolding]:
            foldings = (StageFolding(simd, pe) for simd in _divisors(stage.inputs) for pe in _divisors(stage.outputs))
            in_time = [folding for folding in foldings if folding.cycles(stage) <= target]
            cheapest = sorted(in_time, key=lambda folding: cost(stage, folding))
            return [*cheapest[:CANDIDATES], StageFolding(stage.inputs, stage.outputs)]

        stages = config.stages[:3]

        def total(folding: Folding) -> tuple[int, int]:
            costs = [cost(stage, folding.of(stage)) for stage in config.stages]
            widening = sum(8 * max(0, after - before) for _, before, after in folding._edges(config))
            return sum(first for first, _ in costs), sum(second for _, second in costs) + widening

        combined = (cls(lanes, *parts) for parts in itertools.product(*(candidates(stage) for stage in stages)))
        fitting = (
            folding
            for folding in combined
            if folding.cycles_per_pixel(config) <= target
            and all(before % after == 0 or after % before == 0 for _, before, after in folding._edges(config))
        )
        chosen = min(fitting, key=total)
        chosen.check(config)
        return chosen


def _divisors(number: int) -> list[int]:
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]
