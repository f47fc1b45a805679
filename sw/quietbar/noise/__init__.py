"""Variation models, and chip instances that fix them for every engine."""

from . import presets
from .chip import Chip
from .conductance import Conductance, Drift, Faults, LogLevel, Programming, ReadNoise, Retention
from .variation import Variation

__all__ = [
    "Chip",
    "Conductance",
    "Drift",
    "Faults",
    "LogLevel",
    "Programming",
    "ReadNoise",
    "Retention",
    "Variation",
    "presets",
]
