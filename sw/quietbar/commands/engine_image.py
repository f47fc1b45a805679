"""Export a bundle as the image of an engine: memory contents, descriptors, and a C header with both and a loader.

The engine is the reference one, or that of --engine, a JSON file with the fields of EngineConfig; a bundle too large
for it is refused with what would fit.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("bundle", type=Path, help="folder of the bundle, as 'quietbar quantize' prints it")
    parser.add_argument("--engine", type=Path, help="JSON file of the engine's configuration (the reference engine)")
    parser.add_argument("--folder", type=Path, default=Path("build/engine-image"), help="of the image (%(default)s)")


def execute(arguments: argparse.Namespace) -> int:
    """Write the image and list its taps."""
    from quietbar.contract.engine import REFERENCE
    from quietbar.integer import load
    from quietbar.integer.image import engine_image, read_engine

    engine = REFERENCE if arguments.engine is None else read_engine(arguments.engine)
    image = engine_image(load(arguments.bundle), engine)
    path = image.save(arguments.folder)
    for number, (name, place) in enumerate(image.taps.items()):
        block = place.block
        print(f"tid {number}: {name}, {block.channels} x {block.height} x {block.width}, hidden {block.hidden}")
    print(f"{path}: {len(image.writes)} words of {len(image.taps)} blocks")
    return 0
