"""Make everything that belongs to a register map from its SystemRDL source.

For a map NAME there will be NAME.v (the bank behind an AXI4-Lite port, lint-clean, with NAME.vlt and NAME.json), NAME.h
(C), NAME.py (Python driver, needs only the standard library), NAME.md, and html/index.html.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("source", type=Path, help="SystemRDL 2.0 file with an addrmap")
    parser.add_argument("--out", type=Path, default=Path("build/registers"), help="where files go (%(default)s)")
    parser.add_argument("--top", help="name of the addrmap, if the file has several (the last one)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter of the addrmap (repeatable)"
    )
    parser.add_argument("--test", action="store_true", help="check every reset value and access kind on the Verilog")
    parser.add_argument("--seed", type=int, default=1, help="of the checks (%(default)s)")


def execute(arguments: argparse.Namespace) -> int:
    """Read, write, lint, and check where asked to."""
    from quietbar.contract.errors import require
    from quietbar.files import write_atomically
    from quietbar_hw.registers import RegisterBank, generate
    from quietbar_hw.registers.rdl import elaborate, to_map
    from quietbar_hw.verilog import lint, write_verilog

    parameters = {}
    for setting in arguments.set:
        name, _, value = setting.partition("=")
        try:
            parameters[name] = int(value, 0)
        except ValueError:
            require(False, "--set", setting, "NAME=VALUE, the value an integer")
    top = elaborate(arguments.source, parameters, arguments.top)
    registers = to_map(top)
    texts = {
        "h": generate.c_text(top),
        "py": generate.python_text(registers),
        "md": generate.markdown_text(registers, arguments.source.name),
    }
    for suffix, text in texts.items():
        write_atomically(arguments.out / f"{registers.name}.{suffix}", text)
    generate.write_html(top, arguments.out / "html")
    bank = RegisterBank(registers)
    files = write_verilog(bank, arguments.out, registers.name)
    lint(files)
    print(f"{arguments.out}: {len(registers.registers)} registers, {len(registers.windows)} windows")
    if arguments.test:
        from quietbar_cosim.build import Design
        from quietbar_cosim.registers import check_design

        design = Design(registers.name, files.verilog.read_text())
        for stall in (0.0, 0.5):
            count = check_design(design, registers, stall=stall, seed=arguments.seed)
            print(f"{count} checks passed, channels pausing in {stall:.0%} of all cycles")
    return 0
