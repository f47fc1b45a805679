"""A process of its own for one run: reads what to do as JSON from standard input, leaves the results in the folder."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from quietbar.configuration import from_mapping
from quietbar.contract.errors import QuietbarError
from quietbar.data import load

from .recipe import StudyRecipe
from .run import Run, Runner


def main() -> int:
    """Run and return the exit status: 0 when all is well, 2 after a mistake of the user."""
    order = json.load(sys.stdin)
    try:
        recipe = from_mapping(StudyRecipe, order["recipe"])
        torch.set_num_threads(recipe.threads)
        runner = Runner(recipe, load(recipe.data.name, recipe.data.seed), Path(order["folder"]), lambda text: None)
        method = next(method for method in recipe.methods if method.name == order["method"])
        run = Run(method, order["strength"], order["seed"])
        for stage in order["stages"]:
            getattr(runner, stage)(run)
    except QuietbarError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
