"""The plots of docs/devices: ``python tools/plot_devices.py [folder]``.

Points are devices of chip 1 as the analog layers program them, lines the formulas of the page. A second run writes the
same files.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from quietbar.analog.mapping import Mapped
from quietbar.analog.programming import conductances
from quietbar.files import atomic_file
from quietbar.noise import Chip, Conductance, Variation, devices, presets

COUNT = 2000
"""Devices at each target."""


def devices_at(conductance: Conductance, targets: NDArray[np.float64]) -> NDArray[np.float64]:
    """Conductances, in microsiemens, (targets, COUNT)."""
    wanted = torch.from_numpy(targets).repeat_interleave(COUNT).reshape(1, -1, 1, 1)
    mapped = Mapped(conductance, 1, torch.ones(1, dtype=torch.float64), wanted)
    found, _ = conductances(mapped, Chip(1, conductance=conductance), "plot")
    values: NDArray[np.float64] = found.reshape(len(targets), COUNT).numpy()
    return values


def draw_programming(axes: Any, conductance: Conductance) -> None:
    """Deviation of programmed devices by their target."""
    low = -conductance.g_max if conductance.mapping == "signed" else conductance.g_min
    line = np.linspace(low, conductance.g_max, 200)
    axes.plot(line, devices.programming_deviation(conductance, torch.from_numpy(line)).numpy(), label="formula")
    targets = np.linspace(low, conductance.g_max, 21)
    error = devices_at(conductance, targets) - targets[:, None]
    axes.plot(targets, np.sqrt((error**2).mean(axis=1)), "o", markersize=3, label=f"{COUNT} devices")
    axes.set(xlabel="target, microsiemens", ylabel="deviation, microsiemens", ylim=(0, None))
    axes.legend()


def draw_time(axes: Any, conductance: Conductance) -> None:
    """Middle and spread of devices over time since programming, at three targets."""
    times = conductance.retention.times
    last = times[-1] if times else 365 * presets.DAY
    seconds = np.geomspace(conductance.t0, last, 25)
    seconds[0], seconds[-1] = conductance.t0, last
    span = conductance.g_max - conductance.g_min
    targets = conductance.g_min + span * np.array([0.2, 0.5, 1.0])
    found = np.stack([devices_at(dataclasses.replace(conductance, seconds=float(each)), targets) for each in seconds])
    for number, target in enumerate(targets):
        low, middle, high = np.percentile(found[:, number], [16, 50, 84], axis=1)
        (line,) = axes.plot(seconds, middle, label=f"target {target:.3g}")
        axes.fill_between(seconds, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
    axes.set(xscale="log", xlabel="seconds since programming", ylabel="median and 68 %, microsiemens", ylim=(0, None))
    axes.legend()


def plot_conductance(figure: Figure, name: str) -> None:
    """A preset: programming, and time where it does anything."""
    conductance = presets.conductance_by_name(name)
    if conductance.drift.is_active or conductance.retention.is_active:
        left, right = figure.subplots(1, 2)
        draw_time(right, conductance)
    else:
        left = figure.subplots()
    draw_programming(left, conductance)


def plot_activation(figure: Figure) -> None:
    """Columns of a chip, and what age does."""
    left, right = figure.subplots(1, 2)
    columns = 1 + 0.1 * Chip(1).static_draws("plot", "gain", COUNT)
    left.hist(columns, bins=40, density=True, label=f"{COUNT} columns")
    line = np.linspace(0.6, 1.4, 200)
    left.plot(line, np.exp(-((line - 1) ** 2) / 0.02) / (0.1 * math.sqrt(2 * math.pi)), label="formula")
    left.set(xlabel="gain, gain_mismatch 0.1", ylabel="density")
    left.legend()
    seconds = np.geomspace(20, 365 * presets.DAY, 50)
    aged = [Variation(sigma=0.2, nu=0.05, noise_growth=0.1, seconds=float(max(each, 20.0))) for each in seconds]
    right.plot(seconds, [each.drift for each in aged], label="gain, nu 0.05")
    right.plot(seconds, [each.noise for each in aged], label="noise, sigma 0.2, noise_growth 0.1")
    right.set(xscale="log", xlabel="seconds since programming", ylim=(0, None))
    right.legend()


def main(folder: Path) -> None:
    """Write all plots into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    settings: Any = {"svg.hashsalt": "quietbar", "svg.fonttype": "none", "font.size": 9}
    # What is exact has nothing to plot, and the devices of "pcm_columns" are those of "pcm".
    for name in ("activation", *(name for name in presets.CONDUCTANCES if name not in ("exact", "pcm_columns"))):
        with matplotlib.rc_context(settings):
            figure = Figure(figsize=(8, 3.2), layout="constrained")
            if name == "activation":
                plot_activation(figure)
            else:
                plot_conductance(figure, name)
            with atomic_file(folder / f"{name}.svg") as stream:
                figure.savefig(stream, format="svg", metadata={"Date": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("docs/devices"))
