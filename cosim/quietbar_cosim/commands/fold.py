"""Choose the engine for a network: how parallel it has to be for a frame rate, and whether a device holds it.

Taps are those of a recipe (stages up to the placement are run or read back), of a bundle's folder, or given with
--taps. A frame of the network is one frame of each tap. Cycles come from the cycle model; what an engine takes of the
device is an estimate, whose error band is told. --refit synthesises what the estimates are fitted on and checked
against.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quietbar.contract import BlockConfig
    from quietbar_hw.engine.choosing import Choice


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("source", type=Path, nargs="?", help="recipe (a TOML file) or folder of a bundle")
    parser.add_argument("--taps", nargs="+", default=[], metavar="CxHxW[xHIDDEN]", help="shapes instead of a source")
    parser.add_argument("--kernel", default="depthwise", help="of --taps: dense or depthwise (%(default)s)")
    parser.add_argument("--mode", default="mean", help="of --taps: mean or sampling (%(default)s)")
    parser.add_argument("--gaussian", default="box-muller", help="source, box-muller or inverse-cdf (%(default)s)")
    parser.add_argument("--frames-per-second", type=float, default=1000.0, help="of the network (%(default)g)")
    parser.add_argument("--device", default="ecp5-85", help="see quietbar_hw.synthesis.devices (%(default)s)")
    parser.add_argument("--clock", type=float, metavar="MHZ", help="of the engine (what the family is planned with)")
    parser.add_argument("--fill", type=float, default=0.8, help="share of LUTs and flip-flops to use (%(default)s)")
    parser.add_argument("--runners-up", type=int, default=2, help="how many more to show (%(default)s)")
    parser.add_argument("--save", type=Path, help="write the chosen engine's configuration to this JSON file")
    parser.add_argument("--refit", action="store_true", help="synthesise and fit the estimates anew (long; resumes)")


def execute(arguments: argparse.Namespace) -> int:
    """Choose and print."""
    if arguments.refit:
        return _refit()
    from quietbar.contract.errors import require
    from quietbar.files import write_atomically
    from quietbar_hw.engine.choosing import check_wish, choose
    from quietbar_hw.synthesis.devices import device_by_name

    device = device_by_name(arguments.device, "--device")
    one = (arguments.source is None) != (not arguments.taps)
    require(one, "--taps", arguments.taps, "given, or a recipe or bundle must be: one of the two")
    # What cannot be wished for is told before the stages of a recipe run.
    check_wish(arguments.frames_per_second, arguments.clock, arguments.fill, arguments.runners_up, arguments.gaussian)
    taps = taps_of(arguments.source) if arguments.source else shapes(arguments.taps, arguments.kernel, arguments.mode)
    choice = choose(
        list(taps.values()), arguments.frames_per_second, device,
        clock=arguments.clock, fill=arguments.fill, runners_up=arguments.runners_up, source=arguments.gaussian,
    )  # fmt: skip
    print(report(choice, taps))
    if arguments.save:
        write_atomically(arguments.save, json.dumps(choice.chosen.engine.to_dict(), indent=2) + "\n")
        print(f"{arguments.save}: the chosen engine")
    return 0


def shapes(given: Sequence[str], kernel: str, mode: str) -> dict[str, BlockConfig]:
    """Taps from words such as ``16x32x32`` and ``16x32x32x4``."""
    from quietbar.contract import BlockConfig
    from quietbar.contract.errors import require

    found = {}
    for number, word in enumerate(given):
        sizes = word.split("x")
        sound = len(sizes) in (3, 4) and all(size.isdecimal() for size in sizes)
        require(sound, "--taps", word, "channels, height, width and, if you like, hidden, such as 16x32x32x4")
        channels, height, width, *hidden = map(int, sizes)
        width_hidden = hidden[0] if hidden else max(1, channels // 4)
        found[f"tap {number}, {word}"] = BlockConfig(channels, width_hidden, height, width, kernel=kernel, mode=mode)  # type: ignore[arg-type]
    return found


def taps_of(source: Path) -> dict[str, BlockConfig]:
    """The taps of a recipe's plan or of a bundle."""
    if source.suffix != ".toml":
        from quietbar.integer import load

        return {name: tap.config for name, tap in load(source).taps.items()}
    from quietbar.experiment.line import SoftwareLine
    from quietbar.experiment.recipe import read_recipe

    return {tap.name: tap.config for tap in SoftwareLine(read_recipe(source)).plan.selected}


def report(choice: Choice, taps: dict[str, BlockConfig]) -> str:
    """The choice and the runners-up as text."""
    from quietbar.experiment.results import text_table
    from quietbar_hw.synthesis.devices import FAMILIES, RESOURCES
    from quietbar_hw.synthesis.estimate import BAND

    chosen = choice.chosen
    device = chosen.device
    head = ["", "lanes", "group", "outputs", "multipliers", "cycles a frame", "frames/s", "useful", *RESOURCES, "most"]
    rows = []
    for number, option in enumerate(choice.options):
        engine, shares = option.engine, option.shares()
        scarcest = max(shares, key=lambda name: shares[name])
        rows.append([
            "chosen" if number == 0 else "", str(engine.lanes), str(engine.group), str(engine.outputs),
            f"{engine.multipliers} = " + " + ".join(map(str, option.multipliers.values())),
            f"{option.cycles:,}", f"{option.frames_per_second:,.0f}", f"{option.useful:.1%}",
            *(f"{option.needs[name]:,}" for name in RESOURCES), f"{shares[scarcest]:.0%} {scarcest}",
        ])  # fmt: skip
    has = ", ".join(f"{device.has[name]:,} {name}" for name in RESOURCES)
    band = ", ".join(f"{name} {share:.0%}" for name, share in BAND.items())
    lines = [
        f"{len(taps)} taps: {', '.join(taps)}",
        f"{device.name} at {chosen.clock:g} MHz: {has} (RAM of {FAMILIES[device.family].ram}; {device.source})",
        text_table(head, rows),
        f"multipliers: {' + '.join(chosen.multipliers)}; resources are estimates, off by at most: {band}",
        "engine: " + ", ".join(f"{name}={value}" for name, value in chosen.engine.to_dict().items()),
    ]
    return "\n".join(lines)


def _refit() -> int:
    from quietbar_hw.synthesis.estimate import DATA
    from quietbar_hw.synthesis.fit import errors, refit

    content = refit(Path("build/fold"), tell=lambda line: print(line, flush=True))
    print(accuracy(content))
    off = [line for found in errors(content).values() for line in found]
    print(f"{DATA}; Yosys {content['tools']['yosys']}; {len(off)} outside of the band")
    return 1 if off else 0


def accuracy(content: dict[str, Any]) -> str:
    """Estimates against syntheses as text."""
    from quietbar.experiment.results import text_table
    from quietbar_hw.synthesis.devices import RESOURCES
    from quietbar_hw.synthesis.fit import fits

    rows = []
    for sample, estimated, found in fits(content):
        both = [f"{estimated[name]:,} / {found[name]:,}" for name in RESOURCES]
        off = [f"{estimated[name] / found[name] - 1:+.1%}" for name in ("LUT", "FF")]
        rows.append([sample.name, "held out" if sample.held_out else "fitted on", *both, *off])
    return text_table(["estimate / synthesis", "", *RESOURCES, "LUT off", "FF off"], rows)
