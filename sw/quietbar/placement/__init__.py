"""Where denoising blocks pay off, under a budget of parameters."""

from .candidates import find_candidates
from .exploration import search
from .plan import Plan, PlannedTap
from .sensitivity import Sensitivity, measure_sensitivity

__all__ = ["Plan", "PlannedTap", "Sensitivity", "find_candidates", "measure_sensitivity", "search"]
