"""Estimate the denoising engine's share of latency, energy and area, next to the network's analog arrays.

RESULT is the JSON of a finished run, such as docs/results/cifar10-resnet20.json: its network, and the blocks that were
placed. The arrays' costs are those of `quietbar estimate`; the engine's cycles come from its cycle model, its energy
and area from published constants and from synthesis. All assumptions and sources are printed.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the run, the engine and the arrays."""
    parser.add_argument("result", type=Path, metavar="RESULT", help="JSON of a run")
    parser.add_argument("--engine", type=Path, help="JSON file of its configuration (just large enough, mean only)")
    parser.add_argument("--lanes", type=int, default=4, help="of the engine that is just large enough (%(default)s)")
    parser.add_argument("--group", type=int, default=4, help="hidden channels at a time in that one (%(default)s)")
    parser.add_argument("--clock-mhz", type=float, default=500.0, help="of the engine (%(default)s)")
    parser.add_argument("--slice-bits", type=int, help="bits of the arrays' inputs applied at a time (default: all)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all counts and costs there")


def execute(arguments: argparse.Namespace) -> int:
    """Print the table."""
    from quietbar import models
    from quietbar.analog import Converter, Interface
    from quietbar.contract.engine_size import fitting
    from quietbar.estimates import estimate
    from quietbar.estimates.denoiser import EngineHardware, denoiser_estimate
    from quietbar.files import write_atomically
    from quietbar.integer.image import read_engine
    from quietbar_hw.engine.timing import predict

    network, blocks = read_result(arguments.result)
    smallest = smallest_engine(arguments.lanes, arguments.group)
    engine = read_engine(arguments.engine) if arguments.engine else fitting(smallest, list(blocks.values()))
    interface = Interface(Converter(8), Converter(8), slice_bits=arguments.slice_bits)
    shape = (1, 8, 8) if network == "digits" else (3, 32, 32)
    arrays = estimate(models.create(network), shape, interface=interface)
    cycles = [int(predict(engine, [block], [0]).left[-1]) + 1 for block in blocks.values()]
    found = denoiser_estimate(arrays, engine, blocks, cycles, EngineHardware(clock_mhz=arguments.clock_mhz))
    print(found.table())
    if arguments.json:
        write_atomically(arguments.json, json.dumps(found.to_dict(), indent=1) + "\n")
    return 0


def smallest_engine(lanes: int, group: int) -> Any:
    """Depthwise, without a Gaussian source; everything but its parallelism is to be grown to the blocks."""
    from quietbar.contract.engine import EngineConfig

    return EngineConfig(
        lanes=lanes, group=group, channels=lanes, hidden=group, height=1, width=1, blocks=1, matrix_rows=1,
        window_rows=1, hidden_rows=1, channel_rows=1, noise=False, kernels="depthwise",
    )  # fmt: skip


def read_result(path: Path) -> tuple[str, dict[str, Any]]:
    """The network of a run, and its blocks by tap.

    Raises:
        QuietbarError: the file is not there, or no run's.
    """
    from quietbar.contract import BlockConfig
    from quietbar.contract.errors import QuietbarError

    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        options = result["recipe"]["blocks"]
        blocks = {}
        for entry in result["blocks"]:
            size, hidden = entry["shape"].split(", hidden ")
            channels, height, width = (int(part) for part in size.split(" x "))
            blocks[entry["tap"]] = BlockConfig(channels, int(hidden), height, width, options["kernel"], options["mode"])
        return str(result["network"]), blocks
    except OSError as error:
        raise QuietbarError(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise QuietbarError(f"{path}: not the JSON of a run, such as its results.json: {reason}") from error
