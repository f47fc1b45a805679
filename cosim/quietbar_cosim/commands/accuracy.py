"""Measure a recipe's accuracy on test images with every bit of the denoised activations taken from the RTL.

Each output is compared with the integer reference's; exit status 1 if one differs.
"""

from __future__ import annotations

import argparse

from quietbar.commands.recipes import add_recipe_arguments, software_line

add_arguments = add_recipe_arguments


def execute(arguments: argparse.Namespace) -> int:
    """Run the stages up to the RTL's accuracy and print both columns."""
    from quietbar.experiment.stages import INTEGER
    from quietbar_cosim.line import HardwareLine

    software = software_line(arguments)
    line = HardwareLine(software)
    column, reference = line.column, software.columns[INTEGER]
    print(f"{reference.name}: {reference.text()} %\n{column.name}: {column.text()} %")
    outputs, differing = line.compared
    print(f"{outputs} outputs compared, {differing} bits differ")
    return 1 if differing or not line.same_predictions else 0
