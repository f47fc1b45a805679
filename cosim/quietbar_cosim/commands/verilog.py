"""Write Verilog: the denoisers of a bundle, or the engines with shapes given here.

For each design there will be NAME.v, NAME.vlt (Verilator's waivers, with reasons) and NAME.json (parameters, ports,
versions, hashes), and the Verilog has passed `verilator --lint-only -Wall` and Yosys' `check -assert`. Beside a
Gaussian source there will be the words of a SEED frame, NAME_seed.hex, as $readmemh reads them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quietbar.contract.engine import EngineConfig

STANDARD = ("denoiser", "crossbar", "gaussian")
ENGINES = (*STANDARD, "engine")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "engines",
        nargs="*",
        metavar="ENGINE",
        help="of denoiser, crossbar, gaussian, engine (default: all but the last, or the bundle's denoisers)",
    )
    parser.add_argument("--folder", type=Path, default=Path("build/verilog"), help="where the files go (%(default)s)")
    parser.add_argument("--bundle", type=Path, help="take the denoisers' shapes from this bundle")
    parser.add_argument("--tap", action="append", metavar="NAME", help="only this tap of the bundle (repeatable)")

    denoiser = parser.add_argument_group("denoiser")
    denoiser.add_argument("--channels", type=int, default=16, help="depth of the tap (%(default)s)")
    denoiser.add_argument("--hidden", type=int, help="width of the bottleneck (channels / 4)")
    denoiser.add_argument("--height", type=int, default=32, help="rows of a frame (%(default)s)")
    denoiser.add_argument("--width", type=int, default=32, help="columns of a frame (%(default)s)")
    denoiser.add_argument("--kernel", default="depthwise", help="of the 3x3 stage: depthwise or dense (%(default)s)")
    denoiser.add_argument("--mode", default="mean", help="what is subtracted: mean or sampling (%(default)s)")
    denoiser.add_argument("--signed", action="store_true", help="activations are signed")
    denoiser.add_argument("--fraction-bits", type=int, default=4, help="of the noise estimate (%(default)s)")
    denoiser.add_argument(
        "--lanes", type=int, help="channels to a beat (the first of 4, 2, 1 that divides them); gaussian: samples (2)"
    )
    denoiser.add_argument("--cycles-per-pixel", type=int, help="more than the streams need saves multipliers")

    crossbar = parser.add_argument_group("crossbar")
    crossbar.add_argument("--rows", type=int, default=64, help="inputs of the tile (%(default)s)")
    crossbar.add_argument("--columns", type=int, default=64, help="outputs of the tile (%(default)s)")
    crossbar.add_argument("--dac-bits", type=int, default=8, help="of an input code (%(default)s)")
    crossbar.add_argument("--adc-bits", type=int, default=8, help="of an output code (%(default)s)")
    crossbar.add_argument("--slices", type=int, default=1, help="parts of an input code (%(default)s)")
    crossbar.add_argument("--row-tiles", type=int, default=1, help="tiles whose codes are added up (%(default)s)")
    crossbar.add_argument("--column-tiles", type=int, default=1, help="tiles side by side (%(default)s)")
    crossbar.add_argument("--faults", action="store_true", help="devices can be stuck")
    crossbar.add_argument("--drift", action="store_true", help="devices drift")
    crossbar.add_argument("--output", default="sums", help="sums, signed or unsigned (%(default)s)")
    crossbar.add_argument("--rows-per-cycle", type=int, default=8, help="rows added in a cycle (%(default)s)")
    crossbar.add_argument(
        "--registers", action="store_true", help="AXI4-Lite registers in place of the configuration stream"
    )

    gaussian = parser.add_argument_group("gaussian")
    gaussian.add_argument("--kind", default="box-muller", help="of source: box-muller or inverse-cdf (%(default)s)")
    gaussian.add_argument("--seed", type=int, default=1, help="of the words in NAME_seed.hex (%(default)s)")

    engine = parser.add_argument_group("engine")
    engine.add_argument(
        "--with",
        dest="options",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="a field of quietbar.contract.engine.EngineConfig, e.g. lanes=8, noise=false, kernels=dense (repeatable)",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Write, lint and list the designs."""
    from quietbar.contract.errors import require, require_choice
    from quietbar.contract.seeds import check_seed
    from quietbar_hw.verilog import lint, write_verilog

    for engine in arguments.engines:
        require_choice("ENGINE", engine, ENGINES)
    require(not arguments.tap or arguments.bundle is not None, "--tap", arguments.tap, "left out without --bundle")
    check_seed(arguments.seed, "--seed")
    engines = arguments.engines or (["denoiser"] if arguments.bundle else STANDARD)

    for engine in engines:
        for name, component, extra in DESIGNS[engine](arguments):
            files = write_verilog(component, arguments.folder, name, extra=extra)
            lint(files)
            print(f"{files.verilog}: {_summary(component)}")
            if engine == "gaussian":
                _write_seed(component.config, arguments.seed, arguments.folder / f"{name}_seed.hex")
    return 0


def _denoisers(arguments: argparse.Namespace) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    from quietbar.contract import BlockConfig
    from quietbar_cosim.blocks import choose_folding
    from quietbar_hw.denoiser import AxiDenoiser, Folding

    def folding(config: BlockConfig) -> Folding:
        lanes = choose_folding(config).lanes if arguments.lanes is None else arguments.lanes
        return Folding.choose(config, lanes, arguments.cycles_per_pixel)

    if arguments.bundle is None:
        hidden = max(1, arguments.channels // 4) if arguments.hidden is None else arguments.hidden
        names = ("channels", "height", "width", "kernel", "mode", "signed", "fraction_bits")
        config = BlockConfig(hidden=hidden, **{name: getattr(arguments, name) for name in names})
        yield "quietbar_denoiser", AxiDenoiser(config, folding(config)), {}
        return

    from quietbar.integer import load

    bundle = load(arguments.bundle)
    for tap in arguments.tap or bundle.taps:
        config = bundle.tap(tap).config
        name = "quietbar_denoiser_" + "".join(letter if letter.isalnum() else "_" for letter in tap.lower())
        yield name, AxiDenoiser(config, folding(config)), {"bundle": str(arguments.bundle), "tap": tap}


def _crossbars(arguments: argparse.Namespace) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    from quietbar.contract import CrossbarConfig
    from quietbar_hw.crossbar.controlled_top import AxiLiteCrossbar
    from quietbar_hw.crossbar.folding import CrossbarFolding
    from quietbar_hw.crossbar.top import AxiCrossbar

    names = (
        "rows", "columns", "dac_bits", "adc_bits", "slices", "row_tiles", "column_tiles", "faults", "drift", "output",
    )  # fmt: skip
    config = CrossbarConfig(**{name: getattr(arguments, name) for name in names})
    folding = CrossbarFolding(rows=arguments.rows_per_cycle)
    folding.check(config)
    top = AxiLiteCrossbar if arguments.registers else AxiCrossbar
    yield "quietbar_crossbar", top(config, folding), {}


def _gaussians(arguments: argparse.Namespace) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    from quietbar.contract.sources import SourceConfig
    from quietbar_hw.gaussian import AxiGaussianSource

    config = SourceConfig(arguments.kind, 2 if arguments.lanes is None else arguments.lanes)
    yield "quietbar_gaussian", AxiGaussianSource(config), {}


def _engines(arguments: argparse.Namespace) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    from quietbar_hw.engine.top import AxiEngine

    yield "quietbar_engine", AxiEngine(engine_config(arguments.options)), {}


def engine_config(options: Sequence[str]) -> EngineConfig:
    """The reference engine with fields changed, each written as FIELD=VALUE."""
    from quietbar.contract.engine import REFERENCE, EngineConfig
    from quietbar.contract.errors import require

    values = REFERENCE.to_dict()
    words = {"true": True, "false": False}
    for option in options:
        name, equals, text = option.partition("=")
        require(bool(equals), "--with", option, "FIELD=VALUE")
        values[name] = words.get(text.lower(), int(text) if text.isdecimal() else text)
    return EngineConfig.from_dict(values)


def _write_seed(config: Any, seed: int, path: Path) -> None:
    """The words of a SEED frame, one to a line."""
    from quietbar.files import write_atomically

    write_atomically(path, "".join(f"{word:08x}\n" for word in config.seed_frame(seed)))
    print(f"{path}: the SEED frame of seed {seed}")


DESIGNS = {"denoiser": _denoisers, "crossbar": _crossbars, "gaussian": _gaussians, "engine": _engines}


def _summary(component: Any) -> str:
    from quietbar_hw.denoiser import AxiDenoiser
    from quietbar_hw.engine.top import AxiEngine
    from quietbar_hw.gaussian import AxiGaussianSource

    if isinstance(component, AxiEngine):
        engine = component.config
        source = f"Gaussian source {engine.source}" if engine.noise else "without Gaussian source"
        return f"{engine.multipliers} multipliers, {engine.blocks} blocks, {source}"
    if isinstance(component, AxiGaussianSource):
        words = len(component.config.seed_frame(0))
        return f"{component.config.kind}, {component.config.lanes} samples a transfer; {words} words seed it"
    config, folding = component.config, component.folding
    if isinstance(component, AxiDenoiser):
        from quietbar_hw.denoiser.timing import cycles

        shape = f"{config.channels} x {config.height} x {config.width}, hidden {config.hidden}, {config.mode}"
        return (
            f"{shape}; {cycles(config, folding).per_frame} cycles a frame, "
            f"{folding.multipliers(config)} multipliers, {folding.utilization(config):.1%} used"
        )
    from quietbar_hw.crossbar.timing import interval

    return f"{config.inputs} x {config.outputs}; {interval(config, folding)} cycles a vector"
