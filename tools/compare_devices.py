"""Device statistics beside those of other simulators, whose source code lies in CHECKOUT::

    python tools/compare_devices.py aihwkit CHECKOUT        phase-change memory, programmed and read at four times
    python tools/compare_devices.py crosssim CHECKOUT       programming error of the RRAM of Milo et al.

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


def heading(other: str) -> None:
    """Print what the columns are."""
    print(f"{'':36s} {'mean':>9s} {other:>9s} {'std':>9s} {other:>9s}   microsiemens")


def with_aihwkit(checkout: Path) -> bool:
    """Compare phase-change memory at five levels, just programmed, and read at four times."""
    torch.manual_seed(0)
    model = load(checkout, "aihwkit.inference.noise.pcm").PCMLikeNoiseModel(g_max=25.0)
    heading("aihwkit")
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
    return agree


def with_crosssim(checkout: Path) -> bool:
    """Compare RRAM just programmed to five conductances."""
    sys.path.insert(0, str(checkout))
    importlib.import_module("simulator.backend").ComputeBackend(use_gpu=False)
    np.random.seed(0)
    high, least = presets.rram_milo.g_max, presets.rram_milo.g_min / presets.rram_milo.g_max
    parameters = types.SimpleNamespace(
        Gmin_norm=least,
        Gmax_norm=1.0,
        Grange_norm=1.0 - least,
        clip_conductance=False,
        cell_bits=0,
        time=0,
        Rmin=1e6 / high,
        Vread=0.1,
        nonlinear_IV=types.SimpleNamespace(enable=False),
    )
    module = importlib.import_module("simulator.devices.custom.RRAM_Milo")
    model = module.RRAMMilo(parameters, types.SimpleNamespace(magnitude=1.0))
    heading("CrossSim")
    agree = True
    for level in (50.0, 80.0, 120.0, 170.0, 225.0):
        theirs = high * model.programming_error(np.full(COUNT, level / high))
        agree &= compare(f"rram_milo, {level:g} uS, programmed", ours(presets.rram_milo, level), theirs)
    return agree


if __name__ == "__main__":
    others = {"aihwkit": with_aihwkit, "crosssim": with_crosssim}
    if len(sys.argv) != 3 or sys.argv[1] not in others:
        sys.exit(f"usage: {sys.argv[0]} {'|'.join(others)} CHECKOUT")
    sys.exit(0 if others[sys.argv[1]](Path(sys.argv[2])) else 1)
