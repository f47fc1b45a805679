"""Run a whole network on crossbar tiles and denoisers in RTL, over noise and time since programming.

Images go in and classes come out; every class is compared with the integer reference's. Each point is kept in FOLDER,
so that a sweep that was stopped goes on. Exit status 1 if any class differed. Denoisers are trained first, on tiles.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("recipe", type=Path, nargs="?", default=Path("recipes/digits-tiles.toml"), help="(%(default)s)")
    parser.add_argument("--sigma", type=float, action="append", help="read noise (repeatable)")
    parser.add_argument("--seconds", type=float, action="append", help="since programming (repeatable)")
    parser.add_argument("--chip", type=int, action="append", help="seed of a chip (repeatable)")
    parser.add_argument("--images", type=int, help="test images (500)")
    parser.add_argument(
        "--validation", action="store_true", help="validation images through the integer reference alone, to choose by"
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a key of the recipe")
    parser.add_argument("--folder", type=Path, default=Path("build/cosim-mixed"), help="for points (%(default)s)")
    parser.add_argument(
        "--output", type=Path, default=Path("build/cosim-mixed/results.json"), help="the plot beside it (%(default)s)"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Sweep, print the table, write results and plot."""
    from quietbar.experiment.line import SoftwareLine
    from quietbar.experiment.recipe import read_recipe
    from quietbar_cosim.mixed_sweep import Sweep, run, validate, write

    given = {"sigmas": arguments.sigma, "seconds": arguments.seconds, "chips": arguments.chip}
    chosen: dict[str, Any] = {name: tuple(values) for name, values in given.items() if values}
    if arguments.images is not None:
        chosen["images"] = arguments.images
    sweep = Sweep(**chosen)
    line = SoftwareLine(read_recipe(arguments.recipe, arguments.set))
    points = []
    for point in validate(line, sweep) if arguments.validation else run(line, sweep, arguments.folder):
        points.append(point)
        compared = "" if arguments.validation else (
            f", {point['differing']} of {point['images']} classes differ, {point['cycles']:,} cycles"
        )  # fmt: skip
        print(
            f"sigma {point['sigma']:g}, {point['seconds']:,.0f} s, chip {point['chip']}, "
            f"{'with' if point['denoised'] else 'without'} denoisers: {point['accuracy']:.2f} %{compared}",
            flush=True,
        )
    _print_table(points)
    if arguments.validation:
        return 0
    for path in write(line, sweep, points, arguments.output):
        print(path)
    return 1 if any(point["differing"] for point in points) else 0


def _print_table(points: list[dict[str, Any]]) -> None:
    """Mean and deviation over chips."""
    from quietbar.experiment.results import text_table
    from quietbar_cosim.mixed_sweep import curves

    rows = [
        [
            f"{each['seconds']:,.0f}",
            f"{each['sigma']:g}",
            "yes" if each["denoised"] else "no",
            f"{each['mean']:.2f} ± {each['deviation']:.2f}",
        ]
        for each in curves(points)
    ]
    print(text_table(["seconds", "sigma", "denoised", "accuracy %"], rows))
