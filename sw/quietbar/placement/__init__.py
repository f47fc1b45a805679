"""Where denoising blocks pay off, under budgets of parameters, multiplications and engine cycles."""

from .candidates import find_candidates
from .exploration import search
from .plan import Plan, PlannedTap
from .sensitivity import Sensitivity, measure_sensitivity
from .trained import BlockTraining, search_exhaustively, search_greedily, search_jointly

__all__ = [
    "BlockTraining",
    "Plan",
    "PlannedTap",
    "Sensitivity",
    "find_candidates",
    "measure_sensitivity",
    "search",
    "search_exhaustively",
    "search_greedily",
    "search_jointly",
]
