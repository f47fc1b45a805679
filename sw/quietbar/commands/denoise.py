"""Insert denoising blocks at a recipe's planned taps and train them on the frozen network."""

from __future__ import annotations

import argparse

from .recipes import add_recipe_arguments, software_line

add_arguments = add_recipe_arguments


def execute(arguments: argparse.Namespace) -> int:
    """Run the stages up to the trained blocks."""
    result = software_line(arguments).blocks_result
    for number, epoch in enumerate(result.values["epochs"], start=1):
        print(
            f"epoch {number}: loss {epoch['loss']:.4f}, {epoch['validation accuracy']:.2f} % on noisy validation images"
        )
    return 0
