"""The two Gaussian sources by name: which generator, which samples, which seed frame."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from . import gaussian, inverse_cdf
from .errors import require, require_choice, require_integer
from .stream import SEED_WORDS_PER_LANE, seed_frame

Kind = Literal["box-muller", "inverse-cdf"]
KINDS: tuple[Kind, ...] = get_args(Kind)

SAMPLES_PER_DRAW: dict[Kind, int] = {"box-muller": 2, "inverse-cdf": 1}
"""Samples come in groups of so many: a sequence can be entered at a multiple of it."""

LANES_HIGH = 64
"""Most samples of a transfer."""


@dataclass(frozen=True)
class SourceConfig:
    """A Gaussian source.

    Attributes:
        kind: ``box-muller`` or ``inverse-cdf``.
        lanes: samples a transfer, 1 to 64; of Box-Muller, whose samples come in pairs, 1 or an even number.
    """

    kind: Kind
    lanes: int

    def __post_init__(self) -> None:
        check_kind(self.kind, "gaussian.kind")
        require_integer("gaussian.lanes", self.lanes, 1, LANES_HIGH)
        if self.kind == "box-muller":
            whole = self.lanes == 1 or self.lanes % 2 == 0
            require(whole, "gaussian.lanes", self.lanes, "1 or an even number: Box-Muller's samples come in pairs")

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values."""
        return asdict(self)

    @property
    def seed_words(self) -> int:
        """Words of a SEED frame behind its kind."""
        if self.kind == "inverse-cdf":
            return inverse_cdf.seed_words(self.lanes)
        return SEED_WORDS_PER_LANE * max(1, self.lanes // SAMPLES_PER_DRAW[self.kind])

    def seed_frame(self, seed: int, start: int = 0) -> list[int]:
        """The SEED frame after which the source begins with sample ``start`` of ``seed``.

        Raises:
            ConfigurationError: ``start`` is negative, or odd for Box-Muller.
        """
        require_integer("start", start, 0, (1 << 62) - 1)
        if self.kind == "inverse-cdf":
            return inverse_cdf.seed_frame(seed, self.lanes, start)
        require(start % 2 == 0, "start", start, "even: Box-Muller's samples come in pairs")
        return seed_frame(seed, self.seed_words // SEED_WORDS_PER_LANE, start // 2)


def check_kind(kind: str, field: str = "kind") -> None:
    """Refuse what names no source."""
    require_choice(field, kind, KINDS)


def source_samples(kind: Kind, seed: int, count: int, start: int = 0) -> list[int]:
    """Samples ``start`` to ``start + count - 1`` of ``seed``: the specification, slow on purpose."""
    check_kind(kind)
    return (gaussian if kind == "box-muller" else inverse_cdf).samples(seed, count, start)
