"""Tiles with all that makes them what they are: weights, seeds, faults, age, converters, scale."""

from __future__ import annotations

import functools
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from quietbar.contract.crossbar import CrossbarConfig
from quietbar.contract.drift import TIME
from quietbar.contract.errors import require, require_integer
from quietbar.contract.seeds import check_seed
from quietbar.contract.stream import seed_frame

from .conductances import Pair, check_faults, check_weights, draw_exponents, drift, program, stick
from .converters import Converter, Scale
from .crossbar import (
    convert,
    converter_frame,
    exponents_frame,
    faults_frame,
    program_frame,
    scale_frame,
    time_frame,
)


@dataclass(frozen=True, eq=False)
class Tiles:
    """Tiles as they stand on a chip, in integers; and the frames that make the hardware the same.

    Attributes:
        config: their shape.
        weights: integers (inputs, outputs), -127 to 127.
        converter: offsets, gains, shifts and read noise.
        programming_seed, reading_seed: of their noise.
        scale: of the sums, where ``config.output`` is not ``"sums"``.
        drift_seed: of the exponents, where they drift.
        time: the time step they have drifted to.
        faults: integers (inputs, outputs, 2), where there can be any; None is none.
    """

    config: CrossbarConfig
    weights: Tensor
    converter: Converter
    programming_seed: int
    reading_seed: int
    scale: Scale | None = None
    drift_seed: int = 0
    time: int = 0
    faults: Tensor | None = None

    def __post_init__(self) -> None:
        check_weights(self.config, self.weights)
        for field in ("programming_seed", "reading_seed", "drift_seed"):
            check_seed(getattr(self, field), f"tiles.{field}")
        require_integer("tiles.time", self.time, TIME.low, TIME.high)
        require(self.config.drift or not self.time, "tiles.time", self.time, "0 where crossbar.drift is False")
        if self.faults is not None:
            require(self.config.faults, "tiles.faults", "given", "None where crossbar.faults is False")
            check_faults(self.config, self.faults)

    @functools.cached_property
    def _fault_map(self) -> Tensor:
        none = torch.zeros(self.config.inputs, self.config.outputs, 2, dtype=torch.int64)
        return none if self.faults is None else self.faults

    @functools.cached_property
    def conductances(self) -> Pair:
        """G+ and G- as they are now, int64 (inputs, outputs)."""
        pair = program(self.config, self.weights, self.programming_seed)
        if self.config.drift:
            pair = drift(self.config, pair, draw_exponents(self.config, self.weights, self.drift_seed), self.time)
        return stick(self.config, pair, self._fault_map) if self.config.faults else pair

    def at(self, time: int) -> Tiles:
        """The same tiles at another time step."""
        return replace(self, time=time)

    @property
    def frames(self) -> list[list[int]]:
        """The configuration frames that make the hardware these tiles, ready to read."""
        config, noisy = self.config, self.config.noisy_programming
        frames = [
            *([seed_frame(self.programming_seed)] if noisy else []),
            program_frame(config, self.weights),
            converter_frame(config, self.converter),
        ]
        if config.drift:
            frames += [seed_frame(self.drift_seed)] if noisy else []
            frames += [exponents_frame(config, self.weights), time_frame(self.time)]
        if config.faults:
            frames.append(faults_frame(config, self._fault_map))
        if self.scale is not None:
            frames.append(scale_frame(config, self.scale))
        return [*frames, seed_frame(self.reading_seed)]

    def outputs(self, x: Tensor, seed: int | None = None, start_vector: int = 0) -> Tensor:
        """The outputs (..., outputs) of input codes (..., inputs), from a vector of the reading seed on.

        Args:
            x: input codes, the vectors in stream order.
            seed: another one than ``reading_seed``.
            start_vector: vectors converted since the seed was set.
        """
        start = start_vector * self.config.conversions
        seed = self.reading_seed if seed is None else seed
        return convert(self.config, *self.conductances, self.converter, x, seed, start, self.scale)

    def to_dict(self) -> dict[str, Any]:
        """Tensors and plain values, for storage."""
        scale = None if self.scale is None else asdict(self.scale)
        fields = {name: getattr(self, name) for name in ("programming_seed", "reading_seed", "drift_seed", "time")}
        tensors = {"weights": self.weights, "faults": self.faults}
        return {
            "config": self.config.to_dict(),
            "converter": asdict(self.converter),
            "scale": scale,
            **fields,
            **tensors,
        }

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Tiles:
        """The inverse of :meth:`to_dict`."""
        return cls(
            **{
                **stored,
                "config": CrossbarConfig(**stored["config"]),
                "converter": Converter(**stored["converter"]),
                "scale": None if stored["scale"] is None else Scale(**stored["scale"]),
            }
        )
