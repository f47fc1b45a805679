"""The part of a recipe that says what of the network on crossbar tiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from quietbar.contract.drift import FIRST_READ_SECONDS
from quietbar.contract.errors import require, require_integer, require_number
from quietbar.contract.seeds import check_seed


@dataclass(frozen=True)
class TilesRecipe:
    """The network on crossbar tiles, and the blocks that are trained on them.

    Attributes:
        rows: of a tile, at most.
        sigma: highest read noise of training, relative to each layer's results.
        seconds: oldest age of training, since programming.
        gain_mismatch, offset_mismatch: of the columns' converters, relative deviations.
        stuck_at_zero, stuck_at_full: share of devices.
        taps: stages that get a block.
        kernel: of their 3x3 stage.
        reduction: channels of a tap to one of its block's bottleneck.
        chips: how many chips training sees, one a batch, each at an age and a noise of its own.
        epochs, batch, learning_rate: of the training (Adam, one-cycle).
        seed: fixes chips, initial weights and batch order.
    """

    taps: tuple[str, ...]
    rows: int = 72
    sigma: float = 0.45
    seconds: float = 31_536_000.0
    gain_mismatch: float = 0.05
    offset_mismatch: float = 0.05
    stuck_at_zero: float = 0.0
    stuck_at_full: float = 0.0
    kernel: Literal["depthwise", "dense"] = "depthwise"
    reduction: int = 4
    chips: int = 48
    epochs: int = 20
    batch: int = 50
    learning_rate: float = 1e-2
    seed: int = 0

    def __post_init__(self) -> None:
        require(len(self.taps) > 0, "tiles.taps", self.taps, "at least one stage")
        require_number("tiles.sigma", self.sigma, 0, 10)
        require_number("tiles.seconds", self.seconds, FIRST_READ_SECONDS, 1e9)
        for name in ("gain_mismatch", "offset_mismatch", "stuck_at_zero", "stuck_at_full"):
            require_number(f"tiles.{name}", getattr(self, name), 0, 1)
        for name in ("rows", "reduction", "chips", "epochs", "batch"):
            require_integer(f"tiles.{name}", getattr(self, name), 1, 1 << 31)
        require_number("tiles.learning_rate", self.learning_rate, 1e-9, 10)
        check_seed(self.seed, "tiles.seed")
