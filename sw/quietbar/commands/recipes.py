"""What commands that work on a recipe have in common: their arguments, and the line these ask for."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quietbar.experiment.line import SoftwareLine


def add_recipe_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the recipe, its overrides and the run's folder."""
    parser.add_argument("recipe", type=Path, help="TOML file, e.g. recipes/digits.toml")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="put VALUE (TOML) in the recipe's place, e.g. --set blocks.epochs=1; may be repeated",
    )
    parser.add_argument("--folder", type=Path, help="where the run is kept (default: build/runs/<recipe's name>)")


def software_line(arguments: argparse.Namespace) -> SoftwareLine:
    """The line of the recipe that the arguments name."""
    from quietbar.experiment.line import SoftwareLine
    from quietbar.experiment.recipe import read_recipe

    return SoftwareLine(read_recipe(arguments.recipe, arguments.overrides), arguments.folder)
