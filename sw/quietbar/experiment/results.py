"""The results of a run, gathered: what the final table and the report show."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from quietbar.configuration import from_mapping
from quietbar.contract.errors import QuietbarError
from quietbar.files import write_atomically
from quietbar.noise import Chip

FILE = "results.json"


@dataclass(frozen=True)
class Column:
    """One column of the final table: a way to run the network, and its accuracy in percent on each chip.

    The clean network knows no chip and has one figure.
    """

    name: str
    accuracies: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over the chips."""
        return statistics.fmean(self.accuracies)

    @property
    def deviation(self) -> float:
        """Sample standard deviation over the chips; 0 for a single figure."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else 0.0

    def text(self) -> str:
        """``mean +- deviation``, or the single figure."""
        return f"{self.mean:.2f}" + (f" +- {self.deviation:.2f}" if len(self.accuracies) > 1 else "")


@dataclass(frozen=True)
class SweepPoint:
    """Validation accuracy in percent at one noise level, one figure a chip.

    ``sigma`` is that of the temporal noise, ``factor`` the level in units of the final table's.
    """

    sigma: float
    noisy: tuple[float, ...]
    denoised: tuple[float, ...]
    factor: float | None = None


@dataclass(frozen=True)
class TapRow:
    """One line of the placement table."""

    name: str
    score: float
    cost: int
    hidden: int
    verdict: str


@dataclass(frozen=True)
class BlockRow:
    """A block in hardware: shape, cycles as simulated and as predicted, multipliers, and Yosys' resource counts."""

    tap: str
    shape: str
    frames: int
    cycles_per_frame: float
    cycles_predicted: float
    multipliers: int
    utilization: float
    resources: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """Outputs of the RTL held against the reference."""

    name: str
    outputs: int
    bits: int
    differing: int
    cycles: int = 0


@dataclass(frozen=True)
class Results:
    """Everything a run found out.

    ``sigma`` and ``reference`` are those of the temporal noise, ``variation`` is all of it in words.
    ``target`` tells, where the recipe has one, which engine was chosen for it and where the image lies.
    """

    name: str
    command: str
    network: str
    sigma: float
    reference: Literal["std", "range"]
    chips: tuple[int, ...]
    test_images: int
    network_parameters: int
    block_parameters: int
    columns: tuple[Column, ...]
    sweep: tuple[SweepPoint, ...]
    placement: tuple[TapRow, ...]
    blocks: tuple[BlockRow, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    variation: str = ""
    target: str = ""

    @property
    def share(self) -> float:
        """Parameters of the blocks in percent of the network's."""
        return 100.0 * self.block_parameters / self.network_parameters

    @property
    def bits(self) -> int:
        """Output bits of the RTL that were compared with the reference."""
        return sum(comparison.bits for comparison in self.comparisons)

    @property
    def differing(self) -> int:
        """Output bits that differed."""
        return sum(comparison.differing for comparison in self.comparisons)

    def save(self, folder: Path) -> Path:
        """Write ``results.json`` into ``folder``."""
        path = folder / FILE
        write_atomically(path, json.dumps(asdict(self), indent=1) + "\n")
        return path


def load_results(folder: Path | str) -> Results:
    """The results saved in ``folder``; a missing or damaged file is refused by name."""
    path = Path(folder) / FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise QuietbarError(f"{path}: {error.strerror}; a finished run writes it") from error
    except json.JSONDecodeError as error:
        raise QuietbarError(f"{path} is damaged: {error}") from error
    return from_mapping(Results, values)


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows of text under a header, the first column flush left and the others flush right."""
    widths = [max(len(row[index]) for row in (header, *rows)) for index in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cells[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)),
        ]
        return "  ".join(padded).rstrip()

    return "\n".join([line(header), line(["-" * width for width in widths]), *(line(row) for row in rows)])


def describe_chip(chip: Chip, devices: str | None = None) -> str:
    """The parts of its variation in words, for one line; ``devices`` is the name of its conductances."""
    variation = chip.variation
    named = {
        "temporal noise": variation.sigma,
        "gain mismatch": variation.gain_mismatch,
        "offset mismatch": variation.offset_mismatch,
    }
    parts = [f"{name} of {value:.3g}" for name, value in named.items() if value]
    text = f"{', '.join(parts) or 'no variation'} (of each analog layer's {variation.reference})"
    if variation.nu or variation.noise_growth:
        text += (
            f", {variation.seconds:,.0f} s old (drift {variation.nu:.3g}, noise growth {variation.noise_growth:.3g})"
        )
    if chip.conductance is not None:
        text += f", weights on {devices or 'devices'} of {chip.conductance.seconds:,.0f} s"
    return text


def accuracy_table(columns: Sequence[Column]) -> str:
    """Accuracy of each column and its distance from the first one."""
    clean = columns[0].mean
    rows = [
        [column.name, column.text(), "" if index == 0 else f"{column.mean - clean:+.2f}"]
        for index, column in enumerate(columns)
    ]
    return text_table(["", "accuracy %", "points from clean"], rows)


def sweep_table(points: Sequence[SweepPoint]) -> str:
    """Validation accuracy at each noise level, without and with blocks: mean and deviation over the chips."""
    rows = [
        [
            f"{point.sigma:.3f}" if point.factor is None else f"{point.factor:g}",
            Column("", point.noisy).text(),
            Column("", point.denoised).text(),
        ]
        for point in points
    ]
    return text_table(["noise level", "validation, without blocks", "with blocks"], rows)


def summary(results: Results) -> str:
    """The table that a run ends in."""
    lines = [
        f"{results.network} on {results.test_images} test images, {len(results.chips)} chips, {results.variation}",
        "",
        accuracy_table(results.columns),
        "",
        f"parameters      {results.network_parameters} in the network, {results.block_parameters} in the blocks "
        f"({results.share:.2f} %)",
    ]
    if results.comparisons:
        lines.append(f"bits compared   {results.bits}")
        lines.append(f"bits differing  {results.differing}")
    if results.target:
        lines.append(f"engine          {results.target}")
    return "\n".join(lines)
