"""Train a recipe's network, or load its published weights, and tell its validation accuracy."""

from __future__ import annotations

import argparse

from .recipes import add_recipe_arguments, software_line

add_arguments = add_recipe_arguments


def execute(arguments: argparse.Namespace) -> int:
    """Run the stage."""
    result = software_line(arguments).network_result
    print(
        f"{result.values['parameters']} parameters, {result.values['validation accuracy']:.2f} % on validation images"
    )
    return 0
