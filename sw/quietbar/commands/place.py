"""Find a recipe's noise level and the taps where denoising blocks pay off under its budget."""

from __future__ import annotations

import argparse

from .recipes import add_recipe_arguments, software_line

add_arguments = add_recipe_arguments


def execute(arguments: argparse.Namespace) -> int:
    """Run the stages up to the placement."""
    from quietbar.experiment.results import describe_chip

    line = software_line(arguments)
    plan = line.plan
    print(describe_chip(line.noisy.chip(0), line.recipe.noise.conductance), end="\n\n")
    print(plan.table())
    return 0
