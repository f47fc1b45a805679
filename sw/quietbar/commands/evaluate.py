"""Measure a recipe's accuracy on test images in software: clean, noisy, with blocks in float and in exact integers.

The integers are those of the RTL (`quietbar accuracy` takes every bit from it, and compares).
"""

from __future__ import annotations

import argparse

from .recipes import add_recipe_arguments, software_line

add_arguments = add_recipe_arguments


def execute(arguments: argparse.Namespace) -> int:
    """Run the stages up to the accuracy and print the table."""
    from quietbar.experiment.evaluation import test_images
    from quietbar.experiment.results import accuracy_table, describe_variation

    line = software_line(arguments)
    columns = tuple(line.columns.values())
    evaluation = line.recipe.evaluation
    print(
        f"{line.recipe.model.name} on {test_images(evaluation, line.data)} test images, {len(evaluation.chips)} chips, "
        f"{describe_variation(line.noisy.variation)}\n\n{accuracy_table(columns)}"
    )
    return 0
