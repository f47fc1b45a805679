"""Variation models, and chip instances that fix them for every engine."""

from . import presets
from .chip import Chip
from .variation import Variation

__all__ = ["Chip", "Variation", "presets"]
