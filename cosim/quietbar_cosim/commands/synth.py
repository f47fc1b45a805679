"""Synthesise with open tools: the watched designs, or the ECP5 resources of Verilog files.

Without files, every design of quietbar_hw.synthesis.designs goes through its targets: Lattice ECP5 and iCE40UP5K,
placed and routed with several seeds, Xilinx 7, and standard cells where a Liberty file is found (QUIETBAR_LIBERTY names
one; OpenSTA adds timing and power where `sta` is there). Results are kept in build/synth and taken from there while
nothing has changed. The exit status is 1 where something is worse than the baseline by more than the margins.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

BASELINE = Path("hw/synth/baseline.json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("verilog", type=Path, nargs="*", help="count NAME.v with a top module NAME, for ECP5 alone")
    parser.add_argument("--design", action="append", metavar="NAME", help="only this watched design (repeatable)")
    parser.add_argument("--target", action="append", metavar="NAME", help="only ecp5, ice40, xilinx7 or cells")
    parser.add_argument("--seeds", type=int, default=3, help="placements of each FPGA design, 0 for none (%(default)s)")
    parser.add_argument("--baseline", type=Path, help=f"compare with this file ({BASELINE}, if it is there)")
    parser.add_argument("--write-baseline", action="store_true", help="make these results the baseline")
    parser.add_argument("--folder", type=Path, default=Path("build/synth"), help="where results go (%(default)s)")


def execute(arguments: argparse.Namespace) -> int:
    """Count or synthesise, and print."""
    return _count(arguments) if arguments.verilog else _suite(arguments)


def _count(arguments: argparse.Namespace) -> int:
    from quietbar.contract.errors import QuietbarError
    from quietbar.experiment.results import text_table
    from quietbar.toolchain import yosys
    from quietbar_hw.synthesis import COUNTED, count_resources

    rows = []
    for file in arguments.verilog:
        if not file.is_file():
            raise QuietbarError(f"{file}: no such file")
        resources = count_resources(file, file.stem)
        rows.append([file.stem, *(str(resources[name]) for name in COUNTED)])
    print(text_table(["ECP5", *COUNTED], rows))
    print(f"counted by Yosys {yosys().version}")
    return 0


def _suite(arguments: argparse.Namespace) -> int:
    from quietbar.contract.errors import require_choice, require_integer
    from quietbar.files import write_atomically
    from quietbar_hw.synthesis.designs import DESIGNS
    from quietbar_hw.synthesis.suite import TARGETS, regressions, run_suite, table, tool_versions

    require_integer("--seeds", arguments.seeds, 0, 100)
    for target in arguments.target or ():
        require_choice("--target", target, TARGETS)
    # A baseline that cannot be read is told before hours of placing.
    file = arguments.baseline or (BASELINE if BASELINE.is_file() else None)
    baseline = None if file is None or arguments.write_baseline else _results(file)
    names, wanted = arguments.design or list(DESIGNS), arguments.target or TARGETS
    seeds = range(1, arguments.seeds + 1)
    results = run_suite(names, wanted, seeds, arguments.folder / "kept", lambda line: print(line, flush=True))

    for name, target, takes, speed in table(results):
        print(f"{name:18} {target:8} {takes}" + (f"; Fmax {speed} MHz" if speed else ""))
    for name, by_target in results.items():
        result = by_target.get("ecp5", {})
        if "reached" in result:
            verdict = "reached" if result["reached"] else "missed"
            print(f"{name}: goal of {result['goal']} {verdict}")
            if not result["reached"]:
                print("  critical path: " + ", ".join(result["critical_path"]))
    command = "quietbar synth" + f" --seeds {arguments.seeds}"
    report = {"command": command, "tools": tool_versions(), "results": results}
    write_atomically(arguments.folder / "synth.json", json.dumps(report, indent=2) + "\n")
    print(f"{arguments.folder / 'synth.json'}; " + ", ".join(f"{name} {v}" for name, v in tool_versions().items() if v))

    if arguments.write_baseline:
        before = json.loads(BASELINE.read_text()) if BASELINE.is_file() else {"tools": {}, "results": {}}
        kept = before["results"]
        for name, by_target in results.items():
            kept[name] = {**kept.get(name, {}), **by_target}
        # What was not run keeps its figures, and so the version of a tool that is not here now.
        tools = before["tools"] | {name: version for name, version in tool_versions().items() if version}
        write_atomically(BASELINE, json.dumps({**report, "tools": tools, "results": kept}, indent=2) + "\n")
        return 0
    if baseline is None:
        return 0
    worse = list(regressions(results, baseline))
    print("\n".join(worse) if worse else f"nothing worse than {file}")
    return 1 if worse else 0


def _results(file: Path) -> dict[str, Any]:
    """Those of an earlier call, by design and target."""
    from quietbar.contract.errors import QuietbarError

    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))["results"]
    except OSError as error:
        raise QuietbarError(f"{file}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise QuietbarError(f"{file}: not what quietbar synth writes: {error}") from error
    return found
