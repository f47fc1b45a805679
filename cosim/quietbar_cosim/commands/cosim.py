"""Hold the Verilog to the reference, bit for bit: two denoising blocks and a crossbar tile, of random integers.

Each runs through cocotb on Verilator, five times: without stalls, with random ones, with bursts, with a sink that waits
for data, and with a reset in the middle of a frame. Exit status 1 if any bit differs.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quietbar.contract.block import Kernel, Mode
    from quietbar_cosim.build import Design
    from quietbar_cosim.vectors import Job

FRAMES = 5
"""Frames through a block."""
VECTORS = 64
"""Input vectors through the tile."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--seed", type=int, default=1, help="of integers, stalls and noise (%(default)s)")


def execute(arguments: argparse.Namespace) -> int:
    """Build, run, compare, and print what was compared."""
    from quietbar.contract.seeds import check_seed
    from quietbar.experiment.results import text_table
    from quietbar_cosim.mismatch import MismatchError
    from quietbar_cosim.replay import verify

    seed = arguments.seed
    check_seed(seed)
    print(f"seed {seed}")
    rows = []
    try:
        for bench, design, listed in (
            _block("mean", "depthwise", seed),
            _block("sampling", "dense", seed),
            _tile(seed),
        ):
            for each in verify(bench, design, listed):
                counts = each.outputs, each.bits, each.differing_bits, each.cycles
                rows.append([each.name, *(f"{count:,}" for count in counts)])
    except MismatchError as error:
        print(error, file=sys.stderr)
        return 1
    print(text_table(["RTL against reference", "outputs", "bits", "differing", "cycles"], rows))
    return 0


def _block(mode: Mode, kernel: Kernel, seed: int) -> tuple[str, Design, list[Job]]:
    """A denoising block with random parameters, and random frames in every scenario."""
    from quietbar.contract import BlockConfig
    from quietbar.integer import random_parameters
    from quietbar_cosim.blocks import BlockSubject, block_vectors, choose_folding, denoiser_design, random_frames
    from quietbar_cosim.vectors import jobs, scenarios

    config = BlockConfig(8, 2, 8, 8, kernel=kernel, mode=mode)
    folding = choose_folding(config)
    parameters, frames = random_parameters(config, seed), random_frames(config, FRAMES, seed)
    vectors = block_vectors(parameters, frames, folding.lanes, seed)
    chosen = scenarios(seed, vectors.output_frame_beats)
    listed = jobs(f"block {mode} {kernel}", vectors, chosen, BlockSubject(parameters, frames, seed))
    return f"command_{mode}_{kernel}", denoiser_design(config, folding), listed


def _tile(seed: int) -> tuple[str, Design, list[Job]]:
    """A crossbar tile with random weights, programming noise, read noise and varied converters."""
    import torch

    from quietbar.contract import WEIGHT_LIMIT, CrossbarConfig, derive_seed
    from quietbar.integer.crossbar import converter_for_chip
    from quietbar.noise import Chip, presets
    from quietbar_cosim.crossbars import Tile, TileSubject, crossbar_design, crossbar_vectors
    from quietbar_cosim.vectors import jobs, scenarios
    from quietbar_hw.crossbar.folding import CrossbarFolding

    config, folding = CrossbarConfig(36, 8), CrossbarFolding(input_lanes=4, output_lanes=4, rows=4, columns=8)
    source = torch.Generator().manual_seed(seed)
    weights = torch.randint(-WEIGHT_LIMIT, WEIGHT_LIMIT + 1, (config.rows, config.columns), generator=source)
    codes = torch.randint(config.source.low, config.source.high + 1, (VECTORS, config.rows), generator=source)
    deviation = float((codes.double() @ (16 * weights).double()).std())
    chip = Chip(seed, presets.process_and_aging)
    converter = converter_for_chip(config, chip, "tile", 4 * deviation, reference=deviation)
    tile = Tile(config, weights, converter, *(derive_seed(seed, purpose) for purpose in ("programming", "reading")))
    vectors = crossbar_vectors(tile, codes, folding, frame_vectors=8)
    chosen = scenarios(seed, vectors.output_frame_beats)
    return (
        "command_tile",
        crossbar_design(config, folding),
        jobs("crossbar tile", vectors, chosen, TileSubject(tile, codes)),
    )
