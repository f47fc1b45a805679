"""Functional coverage: named bins, how often each was hit, and which that are required were not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence


class Coverage:
    """Hits by group and bin.

    Args:
        required: the bins of each group that a regression has to hit; others may turn up beside them.
    """

    def __init__(self, required: Mapping[str, Sequence[str]]) -> None:
        self.required = {group: tuple(bins) for group, bins in required.items()}
        self.hits: Counter[tuple[str, str]] = Counter()

    def add(self, notes: Iterable[tuple[str, str]]) -> None:
        """Count a hit for each (group, bin)."""
        self.hits.update((group, name) for group, name in notes)

    @property
    def missing(self) -> list[tuple[str, str]]:
        """Required bins without a hit."""
        return [(group, name) for group, bins in self.required.items() for name in bins if not self.hits[group, name]]

    def rows(self) -> list[list[str]]:
        """A row for each group: its name, how many required bins were hit, and all bins with their hits."""
        rows = []
        for group, bins in self.required.items():
            extra = sorted(name for known, name in self.hits if known == group and name not in bins)
            listed = ", ".join(f"{name}: {self.hits[group, name]}" for name in (*bins, *extra))
            hit = sum(self.hits[group, name] > 0 for name in bins)
            rows.append([group, f"{hit} of {len(bins)}", listed])
        return rows
