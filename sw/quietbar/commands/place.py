"""Find a recipe's noise level and the taps where denoising blocks pay off under its budget."""

from __future__ import annotations

import argparse

from .recipes import add_recipe_arguments, software_line

add_arguments = add_recipe_arguments


def execute(arguments: argparse.Namespace) -> int:
    """Run the stages up to the placement."""
    line = software_line(arguments)
    plan = line.plan
    print(f"sigma {line.noisy.variation.sigma:.4g} of each layer's {line.noisy.variation.reference}\n")
    print(plan.table())
    return 0
