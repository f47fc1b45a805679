"""Device statistics beside aihwkit's: ``python tools/compare_aihwkit.py CHECKOUT``, with its source code in CHECKOUT.

aihwkit's noise models are plain Python: its packages are entered without their initialization, so nothing is compiled.
Both sides draw their own numbers. Exit status 1 where a mean or deviation differs by more than 4.5 standard errors and
0.5 %, which is what aihwkit does otherwise: exponents drawn below 0 become positive, 1/f noise is that of the
programmed conductance instead of the target's.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
import sys
import types
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from quietbar.analog.mapping import Mapped
from quietbar.analog.programming import conductances
from quietbar.noise import Chip, Conductance, presets

COUNT = 200_000
LEVELS = (0.1, 0.25, 0.5, 0.75, 1.0)
Z, BOUND = 4.5, 0.005


def load(checkout: Path, module: str) -> types.ModuleType:
    """A module of aihwkit, the packages above it empty."""
    names = module.split(".")
    for length in range(1, len(names)):
        package = types.ModuleType(".".join(names[:length]))
        package.__path__ = [str(checkout.joinpath("src", *names[:length]))]
        sys.modules.setdefault(package.__name__, package)
    return importlib.import_module(module)


def ours(conductance: Conductance, target: float) -> NDArray[np.float64]:
    """Conductances of COUNT devices, one reading included."""
    wanted = torch.full((1, COUNT, 1, 1), target, dtype=torch.float64)
    read = dataclasses.replace(conductance.read, redraw="time")
    conductance = dataclasses.replace(conductance, read=read)
    mapped = Mapped(conductance, 1, torch.ones(1, dtype=torch.float64), wanted)
    return np.asarray(conductances(mapped, Chip(1, conductance=conductance), "compared")[0].flatten().numpy())


def compare(what: str, found: NDArray[np.float64], expected: NDArray[np.float64]) -> bool:
    """Print both; whether they agree."""
    deviation = expected.std()
    error = Z * math.sqrt(2 / COUNT) * deviation
    mean_fits = abs(found.mean() - expected.mean()) <= error + BOUND * abs(expected.mean())
    spread_fits = abs(found.std() - deviation) <= error + BOUND * deviation
    verdict = "" if mean_fits and spread_fits else "  DIFFERENT"
    print(
        f"{what:36s} {found.mean():9.4f} {expected.mean():9.4f} {found.std():9.4f} {deviation:9.4f}{verdict}",
        flush=True,
    )
    return bool(mean_fits and spread_fits)


def main(checkout: Path) -> int:
    """Compare phase-change memory at five levels, just programmed, and read at four times."""
    torch.manual_seed(0)
    model = load(checkout, "aihwkit.inference.noise.pcm").PCMLikeNoiseModel(g_max=25.0)
    print(f"{'':36s} {'mean':>9s} {'aihwkit':>9s} {'std':>9s} {'aihwkit':>9s}   microsiemens")
    agree = True
    for level in LEVELS:
        target = torch.full((COUNT,), 25 * level, dtype=torch.float64)
        programmed = model.apply_programming_noise_to_conductance(target.clone())
        alone = Conductance(reference=25.0, programming=presets.pcm.programming)
        agree &= compare(f"pcm, g = {level:g}, programmed", ours(alone, 25 * level), programmed.numpy())
        exponents = model.generate_drift_coefficients(target)
        for seconds in (20.0, 3600.0, presets.DAY, presets.YEAR):
            now = model.apply_drift_noise_to_conductance(programmed, exponents, seconds - 20.0)
            aged = dataclasses.replace(presets.pcm, seconds=seconds)
            agree &= compare(f"pcm, g = {level:g}, read at {seconds:g} s", ours(aged, 25 * level), now.numpy())
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
