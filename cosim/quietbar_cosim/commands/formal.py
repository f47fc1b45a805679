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
    parser.add_argument("--jobs", type=int, default=1, help="proofs at a time (%(default)s)")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the record of all properties there, too")


def execute(arguments: argparse.Namespace) -> int:
    """Prove, print, write the results."""
    from quietbar.contract.errors import require, require_integer
    from quietbar.experiment.results import text_table
    from quietbar.files import write_atomically
    from quietbar_hw.formal.properties.catalogue import PROPERTIES
    from quietbar_hw.formal.suite import Result, families, prove_all, record, table

    require_integer("--jobs", arguments.jobs, 1, 256)
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
            print(f"{result.name}: {result.verdict}\n{shortened(result.detail)}", flush=True)

    results = prove_all(chosen, arguments.folder / "kept", tell, arguments.jobs)
    facts = record(results)
    print(text_table(["property", "method", "depth", "verdict", "seconds"], list(map(list, table(results)))))
    print()
    print(text_table(["family", "proven", "method", "depth", "seconds"], list(map(list, families(facts)))))
    details = {each.name: each.detail for each in results if each.detail}
    remembered = sum(each.known for each in results)
    write_atomically(arguments.folder / "formal.json", json.dumps({**facts, "details": details}, indent=2) + "\n")
    if arguments.write:
        require(len(chosen) == len(PROPERTIES), "--write", str(arguments.write), "for all properties at once")
        write_atomically(arguments.write, json.dumps(facts, indent=1) + "\n")
    print(
        f"\n{facts['proven']} of {facts['of']} proven, {facts['seconds']:.0f} s of processor time, "
        f"Yosys {facts['yosys']}; {remembered} verdicts were known"
    )
    print(arguments.write or arguments.folder / "formal.json")
    return 0 if facts["proven"] == facts["of"] else 1


def shortened(detail: str) -> str:
    """A trace without what lies inside the component; the whole of it is in the report."""
    return "\n".join(line for line in detail.splitlines() if "." not in line.split()[0])
