"""quietbar: accurate neural networks on noisy analog crossbars, proved down to the bit.

Subpackages load when they are first used, so that ``import quietbar.contract`` stays free of PyTorch::

    import quietbar as qb
    chip = qb.noise.Chip(seed=7)
    noisy = qb.analog.convert(model, chip)
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import analog as analog
    from . import contract as contract
    from . import data as data
    from . import denoise as denoise
    from . import estimates as estimates
    from . import experiment as experiment
    from . import integer as integer
    from . import models as models
    from . import noise as noise
    from . import placement as placement
    from . import sharpness as sharpness

__version__ = "0.1.0"


def __getattr__(name: str) -> ModuleType:
    module = f"{__name__}.{name}"
    if not name.startswith("_"):
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *(module.name for module in pkgutil.iter_modules(__path__))})
