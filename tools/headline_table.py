"""The table of all networks: ``python tools/headline_table.py docs/results/*.json``.

Reads results of ``quietbar evaluate`` (files of another kind are passed over) and prints Markdown: for each, and for
its ages, the points lost to the noise, without and with blocks, in float and in integers, and what the blocks cost.
"""

from __future__ import annotations

import functools
import json
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from quietbar.contract import BlockConfig
from quietbar.experiment.aging import age_text
from quietbar.models import create

SHAPES = {"digits": (10, 1, 8, 8), "cifar10": (10, 3, 32, 32), "imagenet-sample": (1000, 3, 224, 224)}
"""Classes and image of each data set."""

HEAD = ("network", "what varies", "clean %", "noisy", "blocks, float", "blocks, integers", "parameters", "MACs")


@functools.cache
def multiplications_of(network: str, data: str) -> int:
    """Multiplications of a network for one image."""
    classes, *shape = SHAPES[data]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        create(network, classes).eval()(torch.zeros(1, *shape))
    return int(counter.get_total_flops()) // 2


def variation_of(result: dict[str, Any]) -> str:
    """What the chips of a result do, in a few words."""
    noise = result["recipe"]["noise"]
    if noise.get("conductance"):
        age = f"tuned at {age_text(noise['seconds'])}" if noise.get("seconds") else "fresh"
        columns = " and columns" if noise["gain_mismatch"] or noise["offset_mismatch"] else ""
        return f"{noise['conductance']} devices{columns}, {age}"
    return "every result, all the time" if result["variation"]["sigma"] else "columns, chip by chip"


def network_of(recipe: dict[str, Any]) -> str:
    """Network and data of a recipe, and how many of the test images, if not all."""
    images = recipe["evaluation"].get("images")
    return f"{recipe['model']['name']}, {recipe['data']['name']}" + (f", {images:,} test images" if images else "")


def lost(values: Sequence[float] | None, clean: float) -> str:
    """Mean and deviation of accuracies, in points from clean."""
    if values is None:
        return ""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.fmean(values) - clean:.2f} ± {deviation:.2f}"


def kind_of(accuracies: Mapping[str, Any]) -> str:
    """Which blocks a result is about: those tuned to each chip, where there are some."""
    return "tuned" if any(column.startswith("tuned") for column in accuracies) else "denoised"


def rows_of(result: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """A row for the fresh chips, and one for each age."""
    recipe, accuracies = result["recipe"], result["accuracies"]
    clean = statistics.fmean(accuracies["clean"])
    kind = kind_of(accuracies)
    blocks = [BlockConfig.from_dict(tap["config"]) for tap in result["blocks"]["taps"] if tap["selected"]]
    parameters = sum(block.parameters for block in blocks) / result["blocks"]["backbone"]
    share = sum(block.multiplications for block in blocks) / multiplications_of(
        recipe["model"]["name"], recipe["data"]["name"]
    )
    ages = [column.removeprefix("noisy") for column in accuracies if column.startswith("noisy")]
    for age in ages:
        first = not age
        columns = [accuracies.get(f"{name}{age}") for name in ("noisy", f"{kind}, float", f"{kind}, integer")]
        yield (
            network_of(recipe) if first else "",
            variation_of(result) if first else f"... after {age.removeprefix(', ')}",
            f"{clean:.2f}" if first else "",
            *(lost(values, clean) for values in columns),
            f"+{parameters:.2%}" if first else "",
            f"+{share:.1%}" if first else "",
        )


def table_of(paths: Sequence[Path]) -> str:
    """The table of the results in ``paths``: those of one kind of variation together, in the order of the paths."""
    results = [json.loads(path.read_text()) for path in paths]
    results = [result for result in results if "accuracies" in result and "blocks" in result]
    results.sort(key=lambda result: (bool(result["recipe"]["noise"].get("seconds")), variation_of(result)))
    rows = [row for result in results for row in rows_of(result)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (HEAD, ("---",) * len(HEAD), *rows))


def averages_of(paths: Sequence[Path], data: str = "cifar10") -> dict[str, tuple[float, float, float]]:
    """For each kind of variation points from clean, mean over networks: noisy, blocks in float, in integers."""
    rows: dict[str, list[tuple[float, ...]]] = {}
    for result in map(json.loads, (path.read_text() for path in paths)):
        if "accuracies" not in result or "blocks" not in result or result["recipe"]["data"]["name"] != data:
            continue
        accuracies, variation = result["accuracies"], variation_of(result)
        kind = kind_of(accuracies)
        clean = statistics.fmean(accuracies["clean"])
        columns = ("noisy", f"{kind}, float", f"{kind}, integer")
        rows.setdefault(variation, []).append(tuple(statistics.fmean(accuracies[name]) - clean for name in columns))
    means = {variation: tuple(map(statistics.fmean, zip(*found, strict=True))) for variation, found in rows.items()}
    return {variation: (noisy, floating, integer) for variation, (noisy, floating, integer) in means.items()}


if __name__ == "__main__":
    results = [Path(path) for path in sys.argv[1:]]
    print(table_of(results))
    for variation, means in averages_of(results).items():
        print(f"\ncifar10, {variation}, mean over networks: " + " | ".join(f"{mean:.2f}" for mean in means), end="")
    print()
