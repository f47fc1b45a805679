"""Make the bitstream of the ULX3S example: an engine behind the board's USB serial line. See docs/board.md.

Synthesis and placement are kept in the folder and taken from there while nothing has changed; a build that was
interrupted goes on behind the last of its steps. The exit status is 2 where the design is slower than its clock.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--engine", type=Path, help="JSON file of the engine's configuration (one that fits any ULX3S)")
    parser.add_argument("--device", default="25F", help="size of the board's ECP5: 12F, 25F, 45F, 85F (%(default)s)")
    parser.add_argument("--baud", type=int, default=3_000_000, help="of the serial line (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the placer (%(default)s)")
    parser.add_argument("--folder", type=Path, default=Path("build/board"), help="where results go (%(default)s)")


def execute(arguments: argparse.Namespace) -> int:
    """Build and print what came of it."""
    from quietbar.integer.image import read_engine
    from quietbar_hw.board.bitstream import NAME, Build, build
    from quietbar_hw.board.ulx3s import BOARD_ENGINE

    engine = BOARD_ENGINE if arguments.engine is None else read_engine(arguments.engine)
    what = Build(engine, arguments.device, baud=arguments.baud, seed=arguments.seed)
    found = build(what, arguments.folder, lambda line: print(line, flush=True))
    print(f"{found['board']}: " + ", ".join(f"{count} {kind}" for kind, count in found["resources"].items() if count))
    print("of the device: " + ", ".join(f"{used}/{of} {kind}" for kind, (used, of) in found["used_of_device"].items()))
    print(f"clock {found['clock_mhz']:g} MHz, Fmax {found['fmax_mhz']} MHz, {found['baud']} baud")
    print(f"{arguments.folder / NAME}.bit: {found['bytes']} bytes, sha256 {found['sha256']}")
    print(", ".join(f"{name} {version}" for name, version in found["tools"].items()))
    return 0
