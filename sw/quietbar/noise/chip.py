"""A chip instance: a seed that fixes every random number of one piece of hardware."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quietbar.configuration import from_mapping, to_mapping
from quietbar.contract.crossbar import Fault
from quietbar.contract.errors import require, require_number
from quietbar.contract.gaussian import SAMPLE_FRACTION_BITS
from quietbar.contract.seeds import check_seed, derive_seed

from .conductance import Conductance
from .variation import Variation


@dataclass(frozen=True)
class Chip:
    """One piece of hardware: the same seed gives the same variation in the float, integer and RTL engines.

    Attributes:
        seed: from 0 to 2**64 - 1.
        variation: how far the chip is from ideal. The numbers drawn do not depend on it: a chip with twice the
            mismatch has the same columns off, by twice as much.
        conductance: how its arrays hold weights, and how well; None is exactly.
    """

    seed: int
    variation: Variation = Variation()  # noqa: RUF009 - it is frozen
    conductance: Conductance | None = None

    def __post_init__(self) -> None:
        check_seed(self.seed, "chip.seed")
        allowed = "a Variation, e.g. quietbar.noise.presets.temporal or presets.by_name('temporal')"
        require(isinstance(self.variation, Variation), "chip.variation", self.variation, allowed)
        allowed = "None or a Conductance, e.g. quietbar.noise.presets.pcm or presets.conductance_by_name('pcm')"
        is_known = self.conductance is None or isinstance(self.conductance, Conductance)
        require(is_known, "chip.conductance", self.conductance, allowed)

    @property
    def ages(self) -> bool:
        """Whether anything depends on the time since programming."""
        return self.variation.ages or (self.conductance is not None and self.conductance.ages)

    def static_draws(self, layer: str, kind: str, count: int, start: int = 0) -> NDArray[np.float64]:
        """Standard normal numbers ``start`` to ``start + count - 1`` of this chip's ``layer``, the same for good.

        They are samples of the contract's integer source (11 fraction bits), so that the RTL can hold the same ones.

        Args:
            layer: name of the layer in the model.
            kind: what the numbers are for: ``"gain"`` or ``"offset"``, one number per output column; ``"programming"``,
                ``"drift"``, ``"retention"`` or ``"read ..."``, one per device (:mod:`quietbar.analog.mapping` has
                their order).
            count: how many.
            start: number of the first.
        """
        # torch comes with the reference; a chip that is only described needs neither.
        from quietbar.integer import gaussian

        samples = np.asarray(gaussian(derive_seed(self.seed, layer, kind), count, start))
        return samples.astype(np.float64) / (1 << SAMPLE_FRACTION_BITS)

    def faults(self, layer: str, count: int, at_min: float, at_max: float, start: int = 0) -> NDArray[np.uint8]:
        """Which devices ``start`` to ``start + count - 1`` of ``layer`` are stuck: values of the contract's ``Fault``.

        One 64-bit word of the contract's uniform source (kind ``"faults"``) belongs to each device; the lowest words
        are stuck at minimum, the highest at maximum. So rates are exact to 2**-64, and a chip with more faults has
        those of the same chip with fewer.

        Args:
            layer: name of the layer in the model.
            count: how many devices.
            at_min, at_max: chances, 0 to 1 together.
            start: number of the first device.
        """
        from quietbar.integer.uniform import draws

        require_number("faults.at_min", at_min, 0.0, 1.0)
        require_number("faults.at_max", at_max, 0.0, 1.0)
        require(at_min + at_max <= 1, "faults.at_max", at_max, f"at most 1 - faults.at_min ({at_min:g})")
        words = draws(derive_seed(self.seed, layer, "faults"), count, start)
        found = np.zeros(count, np.uint8)
        low, high = round(at_min * (1 << 64)), (1 << 64) - round(at_max * (1 << 64))
        if high < 1 << 64:
            found[words >= np.uint64(high)] = Fault.STUCK_AT_FULL
        found[words < np.uint64(low) if low < 1 << 64 else slice(None)] = Fault.STUCK_AT_ZERO
        return found

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, for TOML and JSON."""
        return to_mapping(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Chip:
        """The inverse of :meth:`to_dict`; fields left out take their defaults, unknown ones are refused by name."""
        return from_mapping(cls, values, "chip")

    def temporal_seed(self, layer: str) -> int:
        """Seed of the layer's temporal noise; see :mod:`quietbar.noise.temporal`."""
        return derive_seed(self.seed, layer, "temporal")
