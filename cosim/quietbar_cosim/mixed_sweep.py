"""Accuracy of a network of tiles in RTL over noise and time since programming, with and without denoising.

Each point is kept in a file of its own, so that a sweep that was stopped goes on. The classes of every point are held
to the integer reference's, image by image.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from statistics import mean, pstdev
from typing import Any

from torch import Tensor

from quietbar.contract.drift import FIRST_READ_SECONDS, time_of
from quietbar.contract.errors import require, require_integer, require_number
from quietbar.experiment.line import SoftwareLine
from quietbar.experiment.tiles import codes_of, network_on_chip, tiles_of
from quietbar.files import write_atomically
from quietbar.models import accuracy

from .tile_networks import classify


@dataclass(frozen=True)
class Sweep:
    """What is swept.

    Attributes:
        sigmas: read noise of every layer's results, relative to their deviation.
        seconds: since programming.
        chips: seeds.
        images: test images, the first so many.
    """

    sigmas: tuple[float, ...] = (0.2, 0.4)
    seconds: tuple[float, ...] = (20.0, 31_536_000.0)
    chips: tuple[int, ...] = (1, 2, 3)
    images: int = 500

    def __post_init__(self) -> None:
        for name in ("sigmas", "seconds", "chips"):
            require(len(getattr(self, name)) > 0, f"sweep.{name}", getattr(self, name), "at least one")
        for sigma in self.sigmas:
            require_number("sweep.sigmas", sigma, 0, 10)
        for seconds in self.seconds:
            require_number("sweep.seconds", seconds, FIRST_READ_SECONDS)
            time_of(seconds)
        for chip in self.chips:
            require_integer("sweep.chips", chip, 0, (1 << 63) - 1)
        for name in ("sigmas", "seconds", "chips"):
            values = getattr(self, name)
            require(len(set(values)) == len(values), f"sweep.{name}", values, "different values")
        require_integer("sweep.images", self.images, 1, 1 << 20)

    @property
    def points(self) -> Iterator[tuple[float, float, int, bool]]:
        """Sigma, seconds, chip, whether denoised."""
        # The innermost two last, so that a sweep cut short has whole curves of its first chips.
        for chip, seconds, sigma, denoised in itertools.product(self.chips, self.seconds, self.sigmas, (False, True)):
            yield sigma, seconds, chip, denoised


def run(line: SoftwareLine, sweep: Sweep, folder: Path) -> Iterator[dict[str, Any]]:
    """The points one by one, computed or read back.

    Raises:
        ConfigurationError: there are fewer test images.
    """
    tiles_of(line.recipe)
    data, least = line.data, len(line.data.test)
    require(sweep.images <= least, "sweep.images", sweep.images, f"at most the {least} test images")
    bundle, trained = line.tile_blocks
    images = codes_of(data.test.images[: sweep.images], data.normalization.largest)
    labels = data.test.labels[: sweep.images]

    def percent(classes: Tensor) -> float:
        return 100 * float((classes == labels).double().mean())

    for sigma, seconds, chip, denoised in sweep.points:
        facts = {"sigma": sigma, "seconds": seconds, "chip": chip, "denoised": denoised, "images": sweep.images}
        key = json.dumps([facts, trained.key], sort_keys=True)
        path = folder / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
        if not path.is_file():
            network = network_on_chip(line.recipe, data, line.network, sigma, seconds, chip, bundle)
            network = network if denoised else network.without_denoising()
            expected = network.classes(images)
            got, cycles = classify(network, images)
            values = {
                **facts,
                "accuracy": percent(got),
                "reference": percent(expected),
                "differing": int((got != expected).sum()),
                "cycles": cycles,
            }
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(path, json.dumps(values) + "\n")
        yield json.loads(path.read_text())


def validate(line: SoftwareLine, sweep: Sweep) -> Iterator[dict[str, Any]]:
    """The points on validation images, all of them, by the integer reference alone: what choices are made on."""
    data, bundle = line.data, line.tile_blocks[0]
    images, labels = codes_of(data.validation.images, data.normalization.largest), data.validation.labels
    for sigma, seconds, chip, denoised in sweep.points:
        network = network_on_chip(line.recipe, data, line.network, sigma, seconds, chip, bundle)
        classes = (network if denoised else network.without_denoising()).classes(images)
        facts = {"sigma": sigma, "seconds": seconds, "chip": chip, "denoised": denoised, "images": len(images)}
        yield {**facts, "accuracy": 100 * float((classes == labels).double().mean())}


def curves(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean and deviation over chips of each combination of sigma, seconds and denoised."""
    found: dict[tuple[float, float, bool], list[float]] = {}
    for point in points:
        found.setdefault((point["sigma"], point["seconds"], point["denoised"]), []).append(point["accuracy"])
    names = ("sigma", "seconds", "denoised")
    return [
        {**dict(zip(names, key, strict=True)), "mean": mean(all_chips), "deviation": pstdev(all_chips)}
        for key, all_chips in sorted(found.items())
    ]


def write(line: SoftwareLine, sweep: Sweep, points: list[dict[str, Any]], json_file: Path) -> list[Path]:
    """The sweep as JSON, and beside it a plot (SVG) where matplotlib is."""
    values = {
        "recipe": line.recipe.name,
        "tiles": asdict(tiles_of(line.recipe)),
        "clean": accuracy(line.network, line.data.batches("test", 100, limit=sweep.images)),
        "blocks' share of parameters, %": line.tile_blocks[1].values["share"],
        "sweep": asdict(sweep),
        "points": points,
        "curves": curves(points),
        "predictions": sum(point["images"] for point in points),
        "differing": sum(point["differing"] for point in points),
    }
    json_file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(json_file, json.dumps(values, indent=1) + "\n")
    try:
        drawing = _plot(curves(points))
    except ModuleNotFoundError:
        return [json_file]
    plot = json_file.with_suffix(".svg")
    write_atomically(plot, drawing)
    return [json_file, plot]


def _plot(found: list[dict[str, Any]]) -> bytes:
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": "quietbar", "svg.fonttype": "none", "font.family": "sans-serif"}):
        times = sorted({curve["seconds"] for curve in found})
        figure = Figure(figsize=(3.4 * len(times), 3.2), layout="constrained")
        for axes, seconds in zip(figure.subplots(1, len(times), sharey=True, squeeze=False).flat, times, strict=True):
            for denoised, label in ((False, "tiles alone"), (True, "tiles and denoisers")):
                chosen = [each for each in found if each["seconds"] == seconds and each["denoised"] == denoised]
                sigmas = [each["sigma"] for each in chosen]
                means, deviations = ([each[name] for each in chosen] for name in ("mean", "deviation"))
                axes.errorbar(sigmas, means, deviations, marker="o", capsize=3, label=label)
            axes.set_title(f"{seconds:,.0f} s after programming", fontsize="medium")
            axes.set_xlabel("read noise, relative to results")
            axes.grid(alpha=0.3)
        figure.axes[0].set_ylabel("test accuracy, %")
        figure.axes[0].legend()
        buffer = BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
