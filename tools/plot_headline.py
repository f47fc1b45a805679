"""The picture of all networks: ``python tools/plot_headline.py docs/results/*.json``.

Reads the results that ``tools/headline_table.py`` makes its table of and writes ``headline.svg`` beside the first:
points from the clean network's accuracy, mean and deviation over the chips, without blocks and with them in the
hardware's integers. A second run writes the same file; its description says by a hash which figures it shows.
"""

from __future__ import annotations

import hashlib
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from quietbar.files import atomic_file

NETWORKS = ("resnet20", "resnet32", "resnet44", "resnet56", "vgg11", "mobilenetv2-0.35", "efficientnet-lite0")
MARKERS = "os^vDPX"
WITHOUT, WITH = "0.6", "tab:blue"
"""Colors: without blocks, with them."""


@dataclass(frozen=True)
class Entry:
    """A result: network, what varies, and points from clean of the chips, age by age, without and with blocks."""

    network: str
    variation: str
    ages: tuple[str, ...]
    noisy: tuple[tuple[float, ...], ...]
    blocks: tuple[tuple[float, ...], ...]


def entry_of(result: Mapping[str, Any]) -> Entry | None:
    """What the picture shows of a result of ``quietbar evaluate``; None where it has no place there."""
    if "accuracies" not in result or "blocks" not in result:
        return None
    noise, accuracies = result["recipe"]["noise"], result["accuracies"]
    network = result["recipe"]["model"]["name"]
    if network not in NETWORKS or noise.get("seconds"):
        return None
    clean = statistics.fmean(accuracies["clean"])
    kind = "tuned" if "tuned, integer" in accuracies else "denoised"
    ages = [column.removeprefix("noisy") for column in accuracies if column.startswith("noisy")]

    def points(name: str) -> tuple[tuple[float, ...], ...]:
        return tuple(tuple(value - clean for value in accuracies[f"{name}{age}"]) for age in ages)

    variation = "devices" if noise.get("conductance") else "temporal" if result["variation"]["sigma"] else "columns"
    named = tuple(age.removeprefix(", ") or "fresh" for age in ages)
    return Entry(network, variation, named, points("noisy"), points(f"{kind}, integer"))


def entries_of(paths: Sequence[Path]) -> list[Entry]:
    """What the picture shows, network by network."""
    found = [entry_of(json.loads(path.read_text(encoding="utf-8"))) for path in paths]
    return sorted((entry for entry in found if entry), key=lambda entry: NETWORKS.index(entry.network))


def description(entries: Sequence[Entry]) -> str:
    """By which a picture is known to show these figures."""
    return f"entries {hashlib.sha256(repr(list(entries)).encode()).hexdigest()}"


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample deviation."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def draw_networks(axes: Any, entries: Sequence[Entry], title: str) -> None:
    """A line for each network, from where noise puts it to where its blocks do."""
    for entry in entries:
        height = -NETWORKS.index(entry.network)
        (noisy, noisy_deviation), (blocks, blocks_deviation) = spread(entry.noisy[0]), spread(entry.blocks[0])
        axes.plot([noisy, blocks], [height, height], color="0.88", lw=3, zorder=1)
        axes.errorbar(noisy, height, xerr=noisy_deviation, fmt="o", color=WITHOUT, elinewidth=0.8)
        axes.errorbar(blocks, height, xerr=blocks_deviation, fmt="o", color=WITH, elinewidth=0.8)
    axes.axvline(0, color="black", lw=0.8, zorder=0)
    axes.set_yticks([-number for number in range(len(NETWORKS))], NETWORKS)
    axes.set(title=title, xlabel="points from clean")


def draw_ages(axes: Any, entries: Sequence[Entry], title: str) -> None:
    """A pair of lines for each network, over the ages."""
    for entry in entries:
        marker = MARKERS[NETWORKS.index(entry.network)]
        for values, color in ((entry.noisy, WITHOUT), (entry.blocks, WITH)):
            means = [spread(chips)[0] for chips in values]
            axes.plot(entry.ages, means, color=color, marker=marker, fillstyle="none", lw=0.8)
        axes.plot([], [], color="black", marker=marker, fillstyle="none", ls="", label=entry.network)
    axes.axhline(0, color="black", lw=0.8)
    axes.set(title=title, ylabel="points from clean")
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)


def write(entries: Sequence[Entry], target: Path) -> None:
    """Draw the picture."""
    settings: Any = {"svg.hashsalt": "quietbar", "svg.fonttype": "none", "font.size": 9, "axes.titlesize": 9}
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(11, 3.6), layout="constrained")
        columns, temporal, devices = figure.subplots(1, 3, width_ratios=(1, 1, 1.1))
        temporal.sharey(columns)
        temporal.sharex(columns)
        draw_networks(columns, [e for e in entries if e.variation == "columns"], "each chip's columns")
        draw_networks(temporal, [e for e in entries if e.variation == "temporal"], "every result, all the time")
        temporal.tick_params(labelleft=False)
        draw_ages(devices, [e for e in entries if e.variation == "devices"], "devices that age")
        columns.plot([], [], "o", color=WITHOUT, label="without blocks")
        columns.plot([], [], "o", color=WITH, label="with blocks, in the hardware's integers")
        figure.legend(*columns.get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
        with atomic_file(target) as stream:
            metadata = {"Date": None, "Description": description(entries)}
            figure.savefig(stream, format="svg", metadata=metadata)


def main(paths: Sequence[Path]) -> None:
    """Read, draw, write."""
    target = paths[0].with_name("headline.svg")
    write(entries_of(paths), target)
    print(target)


if __name__ == "__main__":
    main([Path(path) for path in sys.argv[1:]])
