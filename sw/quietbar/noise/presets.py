"""Variations by name.

The levels are chosen here, round, and near the drop that denoising blocks are there to mend (``docs/noise.md`` has what
they do to ResNet-20); no preset is a measurement of a particular device.
"""

from __future__ import annotations

from quietbar.contract.errors import require_choice

from .variation import Variation

DAY = 86_400.0

quiet = Variation()
"""An ideal device."""

temporal = Variation(sigma=0.35)
"""Noise on every result, new each time."""

process = Variation(gain_mismatch=0.1, offset_mismatch=0.2)
"""Every column has a gain and an offset of its own, for good."""

process_and_aging = Variation(sigma=0.15, gain_mismatch=0.1, offset_mismatch=0.15, seconds=DAY, nu=0.005)
"""Mismatch, some temporal noise, and a day of the drift that is left (nu 0.005) when its mean is compensated."""

NAMES = ("quiet", "temporal", "process", "process_and_aging")


def by_name(name: str) -> Variation:
    """The preset called ``name``.

    Raises:
        ConfigurationError: there is none.
    """
    require_choice("preset", name, NAMES)
    found: Variation = globals()[name]
    return found
