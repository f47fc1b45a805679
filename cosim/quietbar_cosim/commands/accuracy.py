"""Measure a recipe's accuracy on test images with every bit of the denoised activations taken from the RTL.

Each output is compared with the integer reference's; exit status 1 if one differs. Where the recipe has an engine
(`hardware.engine`), all blocks run on its RTL, `hardware.threads` chunks of test images side by side. Where it tunes
blocks to chips (`blocks.tuning`), each chip's own are run. Called again, the measurement goes on where it stopped.
"""

from __future__ import annotations

import argparse

from quietbar.commands.recipes import add_recipe_arguments, software_line

add_arguments = add_recipe_arguments


def execute(arguments: argparse.Namespace) -> int:
    """Run the stages up to the RTL's accuracy; print it, and what was compared."""
    from quietbar_cosim.line import HardwareLine

    software = software_line(arguments)
    line = HardwareLine(software)
    # Nothing else is measured for an engine: where every activation is the reference's, so is every prediction.
    same = line.engine is not None or line.same_predictions
    if line.engine is None:
        reference = software.columns[line.reference]
        print(f"{reference.name}: {reference.text()} %")
    print(f"{line.column.name}: {line.column.text()} %")
    tally = line.tally
    print(f"{tally.cycles:,} cycles of the RTL for {tally.frames:,} frames; the cycle model says {tally.predicted:,}")
    if line.milliseconds:
        parts = ", ".join(f"{part} {value:.2f}" for part, value in line.milliseconds.items())
        print(f"processor time an image: {sum(line.milliseconds.values()):.2f} ms ({parts})")
    print(f"{tally.outputs} outputs compared, {tally.differing} bits differ")
    return 1 if tally.differing or not same else 0
