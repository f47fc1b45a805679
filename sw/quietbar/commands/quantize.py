"""Turn a recipe's trained blocks into integers and export them as a bundle."""

from __future__ import annotations

import argparse

from .recipes import add_recipe_arguments, software_line

add_arguments = add_recipe_arguments


def execute(arguments: argparse.Namespace) -> int:
    """Run the stages up to the bundle."""
    line = software_line(arguments)
    for name, tap in line.bundle.taps.items():
        config = tap.config
        print(f"{name}: {config.channels} x {config.height} x {config.width}, hidden {config.hidden}, {config.mode}")
    print(f"bundle: {line.bundle_result.folder / 'bundle'}")
    return 0
