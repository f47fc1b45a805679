"""A chip instance: a seed that fixes every random number of one piece of hardware."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quietbar.contract.errors import require
from quietbar.contract.gaussian import SAMPLE_FRACTION_BITS
from quietbar.contract.seeds import check_seed, derive_seed

from .variation import Variation


@dataclass(frozen=True)
class Chip:
    """One piece of hardware: the same seed gives the same variation in the float, integer and RTL engines.

    Attributes:
        seed: from 0 to 2**64 - 1.
        variation: how far the chip is from ideal. The numbers drawn do not depend on it: a chip with twice the
            mismatch has the same columns off, by twice as much.
    """

    seed: int
    variation: Variation = Variation()  # noqa: RUF009 - it is frozen

    def __post_init__(self) -> None:
        check_seed(self.seed, "chip.seed")
        allowed = "a Variation, e.g. quietbar.noise.presets.temporal or presets.by_name('temporal')"
        require(isinstance(self.variation, Variation), "chip.variation", self.variation, allowed)

    def static_draws(self, layer: str, kind: str, count: int) -> NDArray[np.float64]:
        """``count`` standard normal numbers that belong to this chip's ``layer`` for good.

        They are samples of the contract's integer source (11 fraction bits), so that the RTL can hold the same ones.

        Args:
            layer: name of the layer in the model.
            kind: what the numbers are for: ``"gain"`` or ``"offset"``, one number per output column.
            count: how many.
        """
        # torch comes with the reference; a chip that is only described needs neither.
        from quietbar.integer import gaussian

        samples = np.asarray(gaussian(derive_seed(self.seed, layer, kind), count))
        return samples.astype(np.float64) / (1 << SAMPLE_FRACTION_BITS)

    def temporal_seed(self, layer: str) -> int:
        """Seed of the layer's temporal noise; see :mod:`quietbar.noise.temporal`."""
        return derive_seed(self.seed, layer, "temporal")
