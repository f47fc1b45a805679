"""What is known of each block of the hardware: specified, linted, simulated, random, covered, proven, synthesised.

All of it is read from what coverage, mutate, synth and the proofs recorded, here or in the committed results. Where
there is no record the table says "not run".
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--root", type=Path, default=Path("."), help="the repository (the working folder)")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the table as Markdown")


def execute(arguments: argparse.Namespace) -> int:
    """Read and print."""
    from quietbar.contract.errors import require
    from quietbar.files import write_atomically
    from quietbar_cosim.status import COLUMNS, markdown, table

    require((arguments.root / "docs").is_dir(), "--root", str(arguments.root), "the folder of the repository")
    for title, *cells in table(arguments.root):
        print(title)
        for column, cell in zip(COLUMNS, cells, strict=True):
            print(f"    {column:12} {cell}")
    if arguments.write:
        write_atomically(arguments.write, markdown(arguments.root))
    return 0
