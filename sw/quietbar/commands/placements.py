"""Compare ways to find places for denoising blocks, at several budgets, on a recipe's network and noise.

Every plan gets the same block training, the recipe's, and is measured on validation images on the recipe's chips. What
is finished is kept, so that a comparison that was stopped goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from quietbar.contract.errors import ConfigurationError

from .recipes import add_recipe_arguments, software_line

Number = TypeVar("Number", int, float)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_recipe_arguments(parser)
    parser.add_argument("--budgets", default="0.005,0.01,0.02,0.05", help="shares of the parameters (%(default)s)")
    parser.add_argument(
        "--searches",
        default="noise,gradient,joint,greedy,random",
        help="separated by commas (%(default)s); exhaustive, too, trains every set: for small networks",
    )
    parser.add_argument(
        "--widths",
        default="0.0625,0.125,0.25,0.5",
        help="that blocks may have, as shares of their tap's channels (%(default)s)",
    )
    parser.add_argument(
        "--seeds", help="for the blocks, and the network where the recipe trains one (default: the recipe's own)"
    )
    parser.add_argument(
        "--search-epochs", type=int, help="of the searches that train, each time (default: as for the plan's blocks)"
    )
    parser.add_argument("--output", type=Path, help="JSON file of the table")


def execute(arguments: argparse.Namespace) -> int:
    """Run the comparison and print it."""
    import json

    from quietbar.experiment.line import SoftwareLine
    from quietbar.experiment.placements import Freedom, compare, table, with_seed
    from quietbar.files import write_atomically

    budgets = numbers("--budgets", arguments.budgets, float)
    freedom = Freedom(tuple(numbers("--widths", arguments.widths, float)), arguments.search_epochs)
    line = software_line(arguments)
    lines = [line]
    if arguments.seeds is not None:
        seeds = numbers("--seeds", arguments.seeds, int)
        lines = [SoftwareLine(with_seed(line.recipe, seed), arguments.folder) for seed in seeds]
    found = compare(lines, arguments.searches.split(","), budgets, freedom)
    print(f"\n{table(found)}")
    if arguments.output is not None:
        write_atomically(arguments.output, json.dumps({"recipe": line.recipe.name, **found}, indent=1) + "\n")
    return 0


def numbers(option: str, text: str, kind: Callable[[str], Number]) -> list[Number]:
    """The numbers of an option's comma-separated text."""
    try:
        return [kind(number) for number in text.split(",")]
    except ValueError:
        what = "integers" if kind is int else "numbers"
        raise ConfigurationError(option, text, f"{what} separated by commas") from None
