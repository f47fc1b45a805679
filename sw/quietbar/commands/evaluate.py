"""Measure a recipe's accuracy on test images in software: clean, noisy, with blocks in float and in exact integers.

The integers are those of the RTL (`quietbar accuracy` takes every bit from it, and compares).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from .recipes import add_recipe_arguments, software_line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_recipe_arguments(parser)
    parser.add_argument("--output", type=Path, help="JSON file of the recipe, the variation and every chip's accuracy")


def execute(arguments: argparse.Namespace) -> int:
    """Run the stages up to the accuracy and print the table."""
    import json

    from quietbar.configuration import to_mapping
    from quietbar.experiment.evaluation import test_images
    from quietbar.experiment.results import accuracy_table, describe_chip
    from quietbar.files import write_atomically

    line = software_line(arguments)
    columns = (*line.columns.values(), *line.aged.values())
    evaluation = line.recipe.evaluation
    print(
        f"{line.recipe.model.name} on {test_images(evaluation, line.data)} test images, {len(evaluation.chips)} chips, "
        f"{describe_chip(line.noisy.chip(0), line.recipe.noise.conductance)}\n\n{accuracy_table(columns)}"
    )
    if arguments.output is not None:
        found = {
            "recipe": to_mapping(line.recipe),
            "variation": line.noisy.variation.to_dict(),
            "blocks": line.plan.to_dict(),
            "accuracies": {column.name: column.accuracies for column in columns},
        }
        write_atomically(arguments.output, json.dumps(found, indent=1) + "\n")
    return 0
