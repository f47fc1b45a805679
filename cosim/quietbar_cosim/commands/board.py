"""Denoise frames on a board over its serial port, and compare every bit with the reference.

The bundle's blocks are loaded into the engine; the frames are random ones, or those of --frames, integers as the tap's
activations are. With --simulate the board is one in simulation, with a short bit time; nothing has to be plugged in.
The exit status is 1 where an output differs.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("bundle", type=Path, help="folder of the bundle, as 'quietbar quantize' prints it")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--port", help="serial port of the board, e.g. /dev/ttyUSB0")
    where.add_argument("--simulate", action="store_true", help="a board in simulation")
    parser.add_argument("--baud", type=int, default=3_000_000, help="of the port (%(default)s)")
    parser.add_argument("--engine", type=Path, help="the board's engine, as 'quietbar bitstream' wrote engine.json")
    parser.add_argument("--tap", action="append", metavar="NAME", help="only this tap (repeatable)")
    parser.add_argument("--random", type=int, default=2, metavar="N", help="random frames of each tap (%(default)s)")
    parser.add_argument("--frames", type=Path, metavar="FILE", help=".npy of frames [N, C, H, W] of one --tap")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the denoised --frames there, .npy")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the Gaussian source, and of random frames (%(default)s)"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Load, denoise, compare."""
    import numpy as np
    import torch

    from quietbar.contract.errors import QuietbarError, require, require_integer
    from quietbar.contract.seeds import check_seed
    from quietbar.integer import load
    from quietbar.integer.image import engine_image, read_engine
    from quietbar_cosim.blocks import random_frames
    from quietbar_cosim.board import BoardEngine, simulated
    from quietbar_hw.board.ulx3s import BOARD_ENGINE

    require_integer("--random", arguments.random, 1, 1 << 20)
    check_seed(arguments.seed)
    bundle = load(arguments.bundle)
    engine = BOARD_ENGINE if arguments.engine is None else read_engine(arguments.engine)
    image = engine_image(bundle, engine)
    taps = arguments.tap or list(bundle.taps)
    for tap in taps:
        bundle.tap(tap)
    given = None
    if arguments.frames is not None:
        require(len(taps) == 1, "--frames", len(taps), "with one --tap")
        try:
            given = torch.from_numpy(np.load(arguments.frames))
        except (OSError, ValueError, TypeError) as error:
            raise QuietbarError(f"--frames {arguments.frames}: {error}") from error
    require(arguments.output is None or given is not None, "--output", str(arguments.output), "used with --frames")

    port: Any = simulated(engine) if arguments.simulate else _open(arguments.port, arguments.baud)
    different = 0
    try:
        board = BoardEngine(port, image)
        print(f"loaded {len(image.writes)} words of {len(image.taps)} blocks")
        for tap in taps:
            block = bundle.tap(tap).config
            frames = random_frames(block, arguments.random, arguments.seed) if given is None else given
            start, first = time.perf_counter(), getattr(port, "cycles", 0)
            denoised = board.denoise(tap, frames, arguments.seed)
            took = f"{time.perf_counter() - start:.2f} s"
            if arguments.simulate:
                took = f"{port.cycles - first} cycles"
            wrong = int((denoised != bundle.run(tap, frames, arguments.seed, source=engine.source)).sum())
            different += wrong
            print(f"{tap}: {len(frames)} frames of {block.channels} x {block.height} x {block.width} in {took}; "
                  f"{wrong} of {denoised.numel()} outputs differ from the reference")  # fmt: skip
            if arguments.output is not None:
                np.save(arguments.output, denoised.numpy())
    finally:
        port.close()
    return 1 if different else 0


def _open(name: str, baud: int) -> Any:
    from quietbar.contract.errors import QuietbarError
    from quietbar.toolchain import pip_command

    try:
        import serial
    except ModuleNotFoundError as error:
        raise QuietbarError(f"pyserial is not installed: {pip_command('pyserial')}") from error
    try:
        return serial.Serial(name, baud, timeout=1.0)
    except (serial.SerialException, ValueError) as error:
        raise QuietbarError(f"--port {name}: {error}") from error
