"""Export blocks as the image of an engine: memory contents, descriptors, and a C header with both and a loader.

The blocks are those of a bundle's folder or of a recipe, whose stages up to the bundle are run or read back. The engine
is that of --engine, a JSON file with the fields of EngineConfig; or the one that `quietbar fold` chooses for --device
and --frames-per-second, or for what a recipe says under hardware.target; without any of these, the reference engine.
Blocks too large for it are refused with what would fit.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quietbar.contract.engine import EngineConfig
    from quietbar.contract.sources import Kind
    from quietbar.experiment.hardware_recipe import HardwareRecipe, TargetRecipe
    from quietbar.integer import Bundle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("source", type=Path, help="recipe (a TOML file), or folder of a bundle")
    parser.add_argument("--engine", type=Path, help="JSON file of the engine's configuration")
    parser.add_argument("--device", help="choose the engine for this device, see 'quietbar fold'")
    parser.add_argument("--frames-per-second", type=float, help="of the network, with --device")
    parser.add_argument("--clock", type=float, metavar="MHZ", help="of the engine, with --device")
    parser.add_argument("--gaussian", help="source of a chosen engine: box-muller (the default) or inverse-cdf")
    parser.add_argument("--folder", type=Path, default=Path("build/engine-image"), help="of the image (%(default)s)")


def execute(arguments: argparse.Namespace) -> int:
    """Write the image and list its taps."""
    from quietbar.integer.image import engine_image

    # What is wrong with the options is told before the stages of a recipe run.
    given = _given(arguments)
    bundle, hardware = _source(arguments.source)
    engine = _engine(given or hardware.target, bundle, arguments.gaussian or hardware.source)
    image = engine_image(bundle, engine)
    path = image.save(arguments.folder)
    for number, (name, place) in enumerate(image.taps.items()):
        block = place.block
        print(f"tid {number}: {name}, {block.channels} x {block.height} x {block.width}, hidden {block.hidden}")
    print(f"{path}: {len(image.writes)} words of {len(image.taps)} blocks")
    return 0


def _source(source: Path) -> tuple[Bundle, HardwareRecipe]:
    """The blocks, and what a recipe says of their hardware."""
    if source.suffix != ".toml":
        from quietbar.experiment.hardware_recipe import HardwareRecipe
        from quietbar.integer import load

        return load(source), HardwareRecipe()
    from quietbar.experiment.line import SoftwareLine
    from quietbar.experiment.recipe import read_recipe

    recipe = read_recipe(source)
    return SoftwareLine(recipe).bundle, recipe.hardware


def _given(arguments: argparse.Namespace) -> EngineConfig | TargetRecipe | None:
    """The engine, or what one is to be chosen for, as the options say it; None where they do not."""
    from quietbar.contract.errors import require
    from quietbar.contract.sources import check_kind
    from quietbar.experiment.hardware_recipe import TargetRecipe
    from quietbar.integer.image import read_engine
    from quietbar_hw.synthesis.devices import device_by_name

    if arguments.gaussian is not None:
        check_kind(arguments.gaussian, "--gaussian")
    if arguments.device is not None:
        require(arguments.engine is None, "--engine", str(arguments.engine), "left out with --device")
        device_by_name(arguments.device, "--device")
        rate = arguments.frames_per_second
        require(rate is not None, "--frames-per-second", rate, "given with --device")
        return TargetRecipe(arguments.device, rate, arguments.clock)
    for name in ("frames_per_second", "clock"):
        value = getattr(arguments, name)
        require(value is None, "--" + name.replace("_", "-"), value, "left out without --device")
    if arguments.engine is None:
        return None
    require(arguments.gaussian is None, "--gaussian", arguments.gaussian, "left out with --engine, which says it")
    return read_engine(arguments.engine)


def _engine(given: EngineConfig | TargetRecipe | None, bundle: Bundle, source: Kind) -> EngineConfig:
    """The engine that is given, or chosen for what is given; the reference engine where nothing is."""
    from quietbar.contract.engine import REFERENCE, EngineConfig
    from quietbar_cosim.line import choose_engine

    if given is None:
        return replace(REFERENCE, source=source)
    if isinstance(given, EngineConfig):
        return given
    chosen = choose_engine(bundle, given, source)
    print(chosen.summary())
    return chosen.engine
