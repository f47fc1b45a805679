"""Prove the properties of the hardware with Yosys and ABC.

A table of properties, methods (induction: for ever; bounded: for so many cycles; equivalence: no registers), depths,
verdicts and seconds of processor time. Verdicts are kept in build/formal and taken from there while nothing has
changed; an interrupted run goes on where it stopped. The exit status is 1 where a property is broken or not proven.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("property", nargs="*", metavar="NAME", help="only properties whose name begins so")
    parser.add_argument("--fast", action="store_true", help="only those that `make test` proves, too")
    parser.add_argument("--list", action="store_true", help="list the properties, and prove nothing")
    parser.add_argument("--folder", type=Path, default=Path("build/formal"), help="where results go (%(default)s)")


def execute(arguments: argparse.Namespace) -> int:
    """Prove, print, write the results."""
    from dataclasses import asdict

    from quietbar.contract.errors import require
    from quietbar.experiment.results import text_table
    from quietbar.files import write_atomically
    from quietbar.toolchain import yosys
    from quietbar_hw.formal.properties.catalogue import PROPERTIES
    from quietbar_hw.formal.suite import Result, prove_all, table

    for name in arguments.property:
        known = any(each.startswith(name) for each in PROPERTIES)
        require(known, "NAME", name, "the beginning of a property's name; --list has them")
    chosen = [
        each
        for each in PROPERTIES.values()
        if (each.fast or not arguments.fast)
        and (not arguments.property or any(each.name.startswith(name) for name in arguments.property))
    ]
    if arguments.list:
        for each in chosen:
            print(f"{each.name}: {each.says} ({each.method})")
        return 0

    def tell(result: Result) -> None:
        if result.verdict != "proven":
            print(f"{result.name}: {result.verdict}\n{result.detail}", flush=True)

    results = prove_all(chosen, arguments.folder / "kept", tell)
    print(text_table(["property", "method", "depth", "verdict", "seconds"], list(map(list, table(results)))))
    proven = sum(result.verdict == "proven" for result in results)
    total = sum(result.seconds for result in results)
    report = {
        "command": "quietbar formal",
        "yosys": yosys().version,
        "proven": proven,
        "of": len(results),
        "seconds": round(total, 1),
        "properties": [{**asdict(result), "holds": result.verdict == "proven"} for result in results],
    }
    write_atomically(arguments.folder / "formal.json", json.dumps(report, indent=2) + "\n")
    print(f"{proven} of {len(results)} proven, {total:.0f} s of processor time, Yosys {yosys().version}")
    print(arguments.folder / "formal.json")
    return 0 if proven == len(results) else 1
