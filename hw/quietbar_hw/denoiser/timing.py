"""The cycle model of a block."""

from __future__ import annotations

from quietbar.contract import BlockConfig

from .folding import Folding


def skip_depth(config: BlockConfig, folding: Folding) -> int:
    """Beats that wait for their noise at full speed: those of a row and a few pixels, and of the pipeline's latency."""
    return folding.beats_per_pixel(config) * (config.width + 10) + 80
