"""quietbar: accurate neural networks on noisy analog crossbars, proved down to the bit.

Subpackages load when they are first used, so that ``import quietbar.contract`` stays free of PyTorch::

    import quietbar as qb
    chip = qb.noise.Chip(seed=7)
    noisy = qb.analog.convert(model, chip)
"""

from __future__ import annotations

import importlib
from types import ModuleType

__version__ = "0.1.0"

SUBMODULES = (
    "analog",
    "contract",
    "data",
    "denoise",
    "doctor",
    "experiment",
    "files",
    "integer",
    "models",
    "noise",
    "placement",
    "sharpness",
    "toolchain",
    "training",
)


def __getattr__(name: str) -> ModuleType:
    if name in SUBMODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *SUBMODULES])
