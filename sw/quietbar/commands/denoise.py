"""Insert denoising blocks at a recipe's planned taps and train them on the frozen network."""

from __future__ import annotations

import argparse

from .recipes import add_recipe_arguments, software_line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_recipe_arguments(parser)
    parser.add_argument(
        "--sweep",
        action="store_true",
        help="measure validation accuracy at the recipe's noise levels (noise.sweep), too, without and with the blocks",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Run the stages up to the trained blocks."""
    line = software_line(arguments)
    for number, epoch in enumerate(line.blocks_result.values["epochs"], start=1):
        print(
            f"epoch {number}: loss {epoch['loss']:.4f}, {epoch['validation accuracy']:.2f} % on noisy validation images"
        )
    if arguments.sweep:
        from quietbar.experiment.results import sweep_table

        print(f"\n{sweep_table(line.sweep)}")
    return 0
