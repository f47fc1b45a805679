"""Where denoising blocks pay off, under budgets of parameters, multiplications and engine cycles."""

from .candidates import find_candidates
from .exploration import search
from .greedy import search_greedily
from .plan import Plan, PlannedTap
from .sensitivity import Sensitivity, measure_sensitivity
from .trained import search_exhaustively, search_jointly
from .trials import BlockTraining

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
