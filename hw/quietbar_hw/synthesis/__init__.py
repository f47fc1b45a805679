"""Synthesis with open tools: resources, placement and timing of a design, for FPGAs and standard cells."""

from .resources import COUNTED, count_resources
from .tools import SynthesisError

__all__ = ["COUNTED", "SynthesisError", "count_resources"]
