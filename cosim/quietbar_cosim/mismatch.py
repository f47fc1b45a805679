"""Comparing what came out with what had to: counts, the first outputs that differ, and a report that names them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quietbar.contract.errors import QuietbarError, require
from quietbar.files import write_atomically

from .build import build_root

REPORTED = 5
"""Mismatches that a report lists."""

Explain = Callable[[Mapping[str, int]], str]


@dataclass(frozen=True)
class Mismatch:
    """One output that differs; ``position`` has an index for every axis of the output."""

    position: dict[str, int]
    expected: int
    got: int


@dataclass(frozen=True)
class Comparison:
    """How many outputs and bits were compared, how many differ, and the first of those.

    Attributes:
        name: what was compared, e.g. ``"block sampling dense, bursty stalls"``.
        outputs, bits: compared.
        differing, differing_bits: of those.
        first: the first mismatches, in stream order.
        cycles, seconds: of the run; 0 where they were not measured.
    """

    name: str
    outputs: int
    bits: int
    differing: int
    differing_bits: int
    first: tuple[Mismatch, ...] = ()
    cycles: int = 0
    seconds: float = 0.0

    @property
    def equal(self) -> bool:
        """Whether every output is equal, and there was at least one."""
        return self.outputs > 0 and self.differing == 0

    def report(self, explain: Explain | None = None, replay: str = "") -> str:
        """The comparison in words: one line when all is equal, else the first mismatches, one paragraph each.

        Args:
            explain: how the reference arrives at the output at a position.
            replay: the command that runs this case again.
        """
        if self.outputs == 0:
            return f"{self.name}: nothing was compared"
        counts = f"{self.differing} of {self.outputs} outputs differ ({self.differing_bits} of {self.bits} bits)"
        lines = [f"{self.name}: {counts}"]
        for mismatch in self.first:
            place = ", ".join(f"{axis} {index}" for axis, index in mismatch.position.items())
            lines.append(f"  {place}: expected {mismatch.expected}, got {mismatch.got}")
            if explain is not None:
                lines += [f"    {line}" for line in explain(mismatch.position).splitlines()]
        if self.differing > len(self.first):
            lines.append(f"  and {self.differing - len(self.first)} more")
        if replay:
            lines.append(f"  replay: {replay}")
        return "\n".join(lines)


class MismatchError(QuietbarError, AssertionError):
    """Outputs differ from the reference; the message is the report.

    Attributes:
        comparison: the counts and the first mismatches.
    """

    def __init__(self, comparison: Comparison, report: str) -> None:
        self.comparison = comparison
        super().__init__(report)


def compare(
    name: str,
    expected: NDArray[Any],
    got: NDArray[Any],
    bits: int,
    axes: Sequence[tuple[str, int]],
    cycles: int = 0,
    seconds: float = 0.0,
) -> Comparison:
    """Compare integers one by one; equal means equal.

    Args:
        name: of what is compared.
        expected, got: integers of any one shape, in stream order when flattened.
        bits: width of an integer.
        axes: names and sizes of the dimensions, slowest first.
        cycles, seconds: of the run, for the record.

    Raises:
        ConfigurationError: the shapes differ, or do not fit the axes.
    """
    require(expected.shape == got.shape, f"{name}.shape", got.shape, f"{expected.shape}, as expected")
    shape = tuple(size for _, size in axes)
    require(int(np.prod(shape)) == expected.size, f"{name}.axes", dict(axes), f"{expected.size} outputs in all")
    before, after = expected.reshape(-1), got.reshape(-1)
    places = np.flatnonzero(before != after)
    flipped = (before[places].astype(np.int64) ^ after[places].astype(np.int64)) & ((1 << bits) - 1)
    first = tuple(
        Mismatch(
            {axis: int(index) for (axis, _), index in zip(axes, np.unravel_index(place, shape), strict=True)},
            int(before[place]),
            int(after[place]),
        )
        for place in places[:REPORTED]
    )
    return Comparison(
        name, before.size, before.size * bits, len(places), int(np.bitwise_count(flipped).sum()), first, cycles, seconds
    )


def record(bench: str, comparisons: Sequence[Comparison], folder: Path) -> Path:
    """Write one JSON line a comparison to ``<bench>.jsonl`` in ``folder``, in place of what an earlier run left there.

    Fields of a line: name, outputs, bits, differing, differing_bits, cycles, seconds, time (seconds since 1970).
    """
    lines = []
    for comparison in comparisons:
        values = asdict(comparison)
        del values["first"]
        lines.append(json.dumps({"bench": bench, **values, "time": round(time.time())}))
    path = folder / f"{bench}.jsonl"
    write_atomically(path, "\n".join(lines) + "\n")
    return path


def read_records(folder: Path | None = None) -> list[dict[str, Any]]:
    """Every recorded line under ``build/cosim``, bench by bench."""
    folder = build_root() / "cosim" if folder is None else folder
    return [
        json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines() if line
    ]
