"""Hold the Verilog to the reference, bit for bit: one of each engine, the blocks of a bundle, or a Gaussian source.

Each runs on random frames through cocotb on Verilator, five times: without stalls, with random ones, with bursts, with
a sink that waits for data, and with a reset in the middle of a frame (which the bulk runner leaves out). A source that
is named runs on as many seeds and samples as asked for, with other stalls for each seed. Exit status 1 if any bit
differs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quietbar.contract.block import Kernel, Mode
    from quietbar.integer import BlockParameters
    from quietbar_cosim.build import Design
    from quietbar_cosim.vectors import Job

Bench = tuple[str, "Design", "list[Job]"]

FRAMES = 5
"""Frames through a block."""
VECTORS = 64
"""Input vectors through the tile."""
TRANSFERS = 1000
"""Of the sources."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("what", nargs="?", default="blocks", help="blocks (with the tile) or engine (%(default)s)")
    parser.add_argument("--sessions", type=int, default=1, help="of engines, from the seed on (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of integers, stalls and noise (%(default)s)")
    parser.add_argument("--bundle", type=Path, help="compare the denoising blocks of this bundle")
    parser.add_argument("--tap", action="append", metavar="NAME", help="only this tap of the bundle (repeatable)")
    parser.add_argument("--tier", default="cocotb", help="of simulation: cocotb or bulk (%(default)s)")
    source = parser.add_argument_group("Gaussian source")
    source.add_argument("--gaussian", metavar="KIND", help="compare this source: box-muller or inverse-cdf")
    source.add_argument("--lanes", type=int, help="samples a transfer (2)")
    source.add_argument("--seeds", type=int, help="how many (20)")
    source.add_argument("--count", help="samples in all (1e6)")


def execute(arguments: argparse.Namespace) -> int:
    """Build, run, compare, and print what was compared."""
    from quietbar.contract.errors import require, require_choice
    from quietbar.contract.seeds import check_seed
    from quietbar.experiment.results import text_table
    from quietbar_cosim.mismatch import MismatchError
    from quietbar_cosim.replay import TIERS, verify

    seed, tier = arguments.seed, arguments.tier
    check_seed(seed, "--seed")
    require_choice("--tier", tier, TIERS)
    require_choice("WHAT", arguments.what, ("blocks", "engine"))
    if arguments.what == "engine":
        return _sessions(seed, arguments.sessions)
    require(not arguments.tap or arguments.bundle is not None, "--tap", arguments.tap, "left out without --bundle")
    if arguments.gaussian is not None:
        require(arguments.bundle is None, "--bundle", str(arguments.bundle), "left out with --gaussian")
        benches = _source(arguments)
    else:
        for option in ("lanes", "seeds", "count"):
            value = getattr(arguments, option)
            require(value is None, f"--{option}", value, "left out without --gaussian")
        benches = _engines(seed) if arguments.bundle is None else _taps(arguments.bundle, arguments.tap, seed)
    print(f"seed {seed}")
    rows = []
    try:
        for bench, design, listed in benches:
            possible = [job for job in listed if tier == "cocotb" or job.scenario.reset_after is None]
            for each in verify(bench, design, possible, tier):
                counts = each.outputs, each.bits, each.differing_bits, each.cycles
                rows.append([each.name, *(f"{count:,}" for count in counts)])
    except MismatchError as error:
        print(error, file=sys.stderr)
        return 1
    header = ["RTL against reference", "outputs", "bits", "differing", "cycles"]
    if arguments.gaussian is not None:
        rows.append(["all", *(f"{sum(int(row[place].replace(',', '')) for row in rows):,}" for place in range(1, 5))])
    print(text_table(header, rows))
    return 0


def _sessions(first: int, count: int) -> int:
    """Sessions with random engines, and what they covered."""
    from quietbar.contract.errors import require_integer
    from quietbar.experiment.results import text_table
    from quietbar_cosim.coverage import Coverage
    from quietbar_cosim.engine_checks import SessionError, check, observe
    from quietbar_cosim.engine_coverage import REQUIRED, collect
    from quietbar_cosim.engine_sessions import random_session

    require_integer("--sessions", count, 1, 1 << 16)
    coverage, rows = Coverage(REQUIRED), []
    try:
        for seed in range(first, first + count):
            session = random_session(seed)
            observations = observe(session)
            rows.append([str(seed), str(len(session.steps)), f"{check(session, observations):,}"])
            collect(coverage, session, observations)
    except SessionError as error:
        print(error, file=sys.stderr)
        return 1
    print(text_table(["session", "steps", "beats compared, all equal"], rows))
    print()
    print(text_table(["exercised", "bins", "hits"], coverage.rows()))
    return 0


def _engines(seed: int) -> Iterator[Bench]:
    """One of each engine, with random integers."""
    yield _random_block("mean", "depthwise", seed)
    yield _random_block("sampling", "dense", seed)
    yield _tile(seed)
    yield from _sources(seed)


def _sources(seed: int) -> Iterator[Bench]:
    """Both Gaussian sources in every scenario."""
    from quietbar.contract.sources import KINDS, SourceConfig
    from quietbar_cosim.gaussian import SourceSubject, source_design, source_vectors
    from quietbar_cosim.vectors import jobs, scenarios

    for kind in KINDS:
        config = SourceConfig(kind, 2)
        vectors = source_vectors(config, seed, TRANSFERS)
        listed = jobs(f"gaussian {kind}", vectors, scenarios(seed, TRANSFERS), SourceSubject(config, seed, 0))
        yield f"command_gaussian_{kind}", source_design(config), listed


def _source(arguments: argparse.Namespace) -> Iterator[Bench]:
    """A source on many seeds, one job at a time, so that a billion samples take no memory."""
    from quietbar.commands.arguments import whole_number
    from quietbar.contract.sources import SourceConfig
    from quietbar_cosim.gaussian import source_design, stretches

    config = SourceConfig(arguments.gaussian, 2 if arguments.lanes is None else arguments.lanes)
    seeds = 20 if arguments.seeds is None else arguments.seeds
    count = whole_number(arguments.count or "1e6")
    for job in stretches(config, seeds, count, arguments.seed):  # type: ignore[arg-type]
        yield f"command_gaussian_{config.kind}", source_design(config), [job]


def _taps(bundle: Path, names: list[str] | None, seed: int) -> Iterator[Bench]:
    """The blocks of a bundle, with the integers that are in it."""
    from quietbar.integer import load

    loaded = load(bundle)
    for name in names or loaded.taps:
        yield _block(f"tap {name}", loaded.tap(name).parameters, seed)


def _random_block(mode: Mode, kernel: Kernel, seed: int) -> Bench:
    from quietbar.contract import BlockConfig
    from quietbar.integer import random_parameters

    parameters = random_parameters(BlockConfig(8, 2, 8, 8, kernel=kernel, mode=mode), seed)
    return _block(f"block {mode} {kernel}", parameters, seed)


def _block(name: str, parameters: BlockParameters, seed: int) -> Bench:
    """A denoising block and random frames in every scenario."""
    from quietbar_cosim.blocks import BlockSubject, block_vectors, choose_folding, denoiser_design, random_frames
    from quietbar_cosim.vectors import jobs, scenarios

    config = parameters.config
    folding, frames = choose_folding(config), random_frames(config, FRAMES, seed)
    vectors = block_vectors(parameters, frames, folding.lanes, seed)
    chosen = scenarios(seed, vectors.output_frame_beats)
    listed = jobs(name, vectors, chosen, BlockSubject(parameters, frames, seed))
    return f"command_{name.replace(' ', '_')}", denoiser_design(config, folding), listed


def _tile(seed: int) -> Bench:
    """A crossbar tile with random weights, programming noise, read noise and varied converters."""
    import torch

    from quietbar.contract import WEIGHT_LIMIT, CrossbarConfig, derive_seed
    from quietbar.integer.crossbar import converter_for_chip
    from quietbar.integer.tiles import Tiles
    from quietbar.noise import Chip, presets
    from quietbar_cosim.crossbars import TileSubject, crossbar_design, crossbar_vectors
    from quietbar_cosim.vectors import jobs, scenarios
    from quietbar_hw.crossbar.folding import CrossbarFolding

    config, folding = CrossbarConfig(36, 8), CrossbarFolding(input_lanes=4, output_lanes=4, rows=4, columns=8)
    source = torch.Generator().manual_seed(seed)
    weights = torch.randint(-WEIGHT_LIMIT, WEIGHT_LIMIT + 1, (config.rows, config.columns), generator=source)
    codes = torch.randint(config.source.low, config.source.high + 1, (VECTORS, config.rows), generator=source)
    deviation = float((codes.double() @ (16 * weights).double()).std())
    chip = Chip(seed, presets.process_and_aging)
    converter = converter_for_chip(config, chip, "tile", 4 * deviation, reference=deviation)
    programming, reading = derive_seed(seed, "programming"), derive_seed(seed, "reading")
    tile = Tiles(config, weights, converter, programming, reading)
    vectors = crossbar_vectors(tile, codes, folding, frame_vectors=8)
    chosen = scenarios(seed, vectors.output_frame_beats)
    return (
        "command_tile",
        crossbar_design(config, folding),
        jobs("crossbar tile", vectors, chosen, TileSubject(tile, codes)),
    )
