"""The outcome of a placement search: which taps get a block, how wide, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from quietbar.contract.block import BlockConfig
from quietbar.contract.errors import require


@dataclass(frozen=True)
class PlannedTap:
    """A place for a block, and the verdict on it.

    Attributes:
        name: of the submodule.
        score: the damage that is new at this tap, see :class:`quietbar.placement.Sensitivity`.
        config: of the chosen block, or of the cheapest one where none was chosen.
        removes: share of the noise energy that this block is expected to remove.
        selected: whether it gets a block.
    """

    name: str
    score: float
    config: BlockConfig
    removes: float
    selected: bool

    @property
    def cost(self) -> int:
        """Parameters of the block."""
        return self.config.parameters

    @property
    def hidden(self) -> int:
        """Width of the block."""
        return self.config.hidden

    @property
    def verdict(self) -> str:
        """In words."""
        return "block" if self.selected else "none"


@dataclass(frozen=True)
class Plan:
    """All candidates in the order in which the network reaches them; iterating gives :class:`PlannedTap`.

    Attributes:
        taps: the candidates.
        budget: share of the backbone's parameters that blocks may add.
        backbone: the backbone's parameters.
        remaining: share of the damage that is expected to be left.
    """

    taps: tuple[PlannedTap, ...]
    budget: float
    backbone: int
    remaining: float

    def __iter__(self) -> Iterator[PlannedTap]:
        return iter(self.taps)

    def __len__(self) -> int:
        return len(self.taps)

    @property
    def selected(self) -> tuple[PlannedTap, ...]:
        """The taps that get a block."""
        return tuple(tap for tap in self.taps if tap.selected)

    @property
    def parameters(self) -> int:
        """Parameters of all the blocks."""
        return sum(tap.cost for tap in self.selected)

    @property
    def overhead(self) -> float:
        """Parameters of all the blocks as a share of the backbone's."""
        return self.parameters / self.backbone

    @property
    def multiplications(self) -> int:
        """Multiply-accumulates that the blocks add to a frame."""
        return sum(tap.config.multiplications for tap in self.selected)

    def table(self) -> str:
        """The candidates as text, one a line, and a line of totals."""
        whole = sum(tap.score for tap in self.taps)
        head = ("tap", "frame", "score", "share", "hidden", "removes", "parameters", "verdict")
        rows = [
            (
                tap.name,
                f"{tap.config.channels}x{tap.config.height}x{tap.config.width}",
                f"{tap.score:.3g}",
                f"{tap.score / whole:.1%}",
                f"{tap.hidden}",
                f"{tap.removes:.0%}",
                f"{tap.cost:,}",
                tap.verdict,
            )
            for tap in self.taps
        ]
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if title in ("tap", "verdict") else cell.rjust(width)
                for title, cell, width in zip(head, row, widths, strict=True)
            )
            for row in (head, *rows)
        ]
        total = (
            f"{len(self.selected)} of {len(self.taps)} taps, {self.parameters:,} parameters = {self.overhead:.2%} of "
            f"{self.backbone:,} (budget {self.budget:.2%}), {self.multiplications:,} multiplications a frame, "
            f"expected damage {self.remaining:.0%}"
        )
        return "\n".join([*(line.rstrip() for line in lines), total])

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "budget": self.budget,
            "backbone": self.backbone,
            "remaining": self.remaining,
            "taps": [
                {
                    "name": tap.name,
                    "score": tap.score,
                    "removes": tap.removes,
                    "selected": tap.selected,
                    "config": tap.config.to_dict(),
                }
                for tap in self.taps
            ],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Plan:
        """The inverse of :meth:`to_dict`.

        Raises:
            ConfigurationError: a field is missing, unknown, or a block's is outside what is allowed.
        """
        _require_fields("plan", values, ("budget", "backbone", "remaining", "taps"))
        taps = []
        for number, tap in enumerate(values["taps"]):
            _require_fields(f"plan.taps[{number}]", tap, ("name", "score", "removes", "selected", "config"))
            taps.append(PlannedTap(**{**tap, "config": BlockConfig.from_dict(tap["config"])}))
        return cls(tuple(taps), values["budget"], values["backbone"], values["remaining"])


def _require_fields(where: str, values: Any, names: tuple[str, ...]) -> None:
    fits = isinstance(values, Mapping) and set(values) == set(names)
    shown = sorted(values) if isinstance(values, Mapping) else values
    require(fits, where, shown, "a table of " + ", ".join(names))
