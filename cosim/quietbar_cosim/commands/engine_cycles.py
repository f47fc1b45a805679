"""Where the multipliers' cycles of the engine go: one row for each block, from the cycle model.

Steady rows are of a frame among others of its block; run rows of all frames from an engine at rest on. Losses are in
percent of the multipliers' cycles.
"""

from __future__ import annotations

import argparse

TAPS = ("16x32x32", "32x16x16", "64x8x8")
"""Of ResNet-20 on CIFAR-10."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("blocks", nargs="*", metavar="CxHxW", help=f"shapes of taps (default: {' '.join(TAPS)})")
    parser.add_argument("--hidden", type=int, help="width of the bottleneck (channels / 4)")
    parser.add_argument("--kernel", default="dense", help="of the 3x3 stage: dense or depthwise (%(default)s)")
    parser.add_argument("--mode", default="sampling", help="what is subtracted: mean or sampling (%(default)s)")
    parser.add_argument("--frames", type=int, default=10, help="of a run (%(default)s)")
    parser.add_argument("--stall", type=float, default=0.0, help="probability of a stall at both ends (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the stalls (%(default)s)")
    parser.add_argument(
        "--with", dest="options", action="append", default=[], metavar="FIELD=VALUE", help="a field of the engine"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Run the model and print the table."""
    from quietbar.contract import BlockConfig
    from quietbar.contract.errors import require
    from quietbar.experiment.results import text_table
    from quietbar_cosim.stalls import random_stalls
    from quietbar_hw.engine.losses import ITEMS, losses, steady_losses

    from .verilog import engine_config

    engine = engine_config(arguments.options)
    rows = []
    for shape in arguments.blocks or TAPS:
        sizes = shape.split("x")
        sound = len(sizes) == 3 and all(size.isdecimal() for size in sizes)
        require(sound, "CxHxW", shape, "channels, height and width, such as 16x32x32")
        channels, height, width = map(int, sizes)
        hidden = max(1, channels // 4) if arguments.hidden is None else arguments.hidden
        block = BlockConfig(channels, hidden, height, width, kernel=arguments.kernel, mode=arguments.mode)
        stalls = [
            random_stalls(arguments.stall, arguments.seed + end).cycles() if arguments.stall else None for end in (0, 1)
        ]
        run = losses(engine, block, arguments.frames, *stalls)
        for name, each, count in (("steady", steady_losses(engine, block), 1), ("run", run, arguments.frames)):
            shares = [f"{each.lost[item] / each.available:.2%}" for item in ITEMS]
            rows.append([f"{shape}, {name}", f"{each.cycles / count:,.0f}", f"{each.share:.2%}", *shares])
    print(f"{engine.multipliers} multipliers; runs of {arguments.frames} frames, stalls {arguments.stall:g}")
    print(text_table(["frames", "cycles a frame", "useful", *ITEMS], rows))
    return 0
