"""Compare ways to find places for denoising blocks, at several budgets, on a recipe's network and noise.

Every plan gets the same block training, the recipe's, and is measured on validation images on the recipe's chips. What
is finished is kept, so that a comparison that was stopped goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from quietbar.contract.errors import ConfigurationError

from .recipes import add_recipe_arguments, software_line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_recipe_arguments(parser)
    parser.add_argument("--budgets", default="0.005,0.01,0.02,0.05", help="shares of the parameters (%(default)s)")
    parser.add_argument(
        "--searches",
        default="noise,gradient,joint,greedy,random",
        help="separated by commas (%(default)s); exhaustive, too, trains every set: for small networks",
    )
    parser.add_argument("--output", type=Path, help="JSON file of the table")


def execute(arguments: argparse.Namespace) -> int:
    """Run the comparison and print it."""
    import json

    from quietbar.experiment.placements import compare, table
    from quietbar.files import write_atomically

    try:
        budgets = [float(budget) for budget in arguments.budgets.split(",")]
    except ValueError:
        raise ConfigurationError("--budgets", arguments.budgets, "numbers separated by commas") from None
    found = compare(software_line(arguments), arguments.searches.split(","), budgets)
    print(f"\n{table(found)}")
    if arguments.output is not None:
        write_atomically(arguments.output, json.dumps(found, indent=1) + "\n")
    return 0
