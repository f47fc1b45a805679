"""Standard cells: area by Yosys from a Liberty file, timing and power by OpenSTA where it is there.

Memories are no matter of standard cells: their ports are led out of the design, and their bits are counted.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

from quietbar import toolchain

from .targets import write_verilog_of
from .tools import SynthesisError, run_yosys

LIBERTY_VARIABLE = "QUIETBAR_LIBERTY"
KNOWN_LIBRARIES = (
    Path("/usr/share/qflow/tech/osu018/osu018_stdcells.lib"),
    Path("/usr/share/qflow/tech/osu035/osu035_stdcells.lib"),
)
"""Where Debian's packages qflow-tech-osu018 and qflow-tech-osu035 put theirs."""

DRIVING_CELLS = ("BUFX2", "sky130_fd_sc_hd__buf_2", "sg13g2_buf_2")
LOAD_PF = 0.05
"""Load of every output for ABC and OpenSTA."""
EDGE_NS = 0.1
"""Transition of the clock and of every input."""


def liberty() -> Path | None:
    """The Liberty file: named by the variable QUIETBAR_LIBERTY, else a known one on this system, else None.

    Raises:
        SynthesisError: the variable names no file.
    """
    named = os.environ.get(LIBERTY_VARIABLE)
    if named:
        if not Path(named).is_file():
            raise SynthesisError(f"{LIBERTY_VARIABLE} = {named!r}: must be a Liberty file")
        return Path(named)
    return next((path for path in KNOWN_LIBRARIES if path.is_file()), None)


def memory_bits(dump: str) -> int:
    """Bits of the memories in Yosys' dump of their cells."""
    sizes, widths = (re.findall(rf"^ *parameter .{name} (\d+)$", dump, re.M) for name in ("SIZE", "WIDTH"))
    return sum(int(size) * int(width) for size, width in zip(sizes, widths, strict=True))


def standard_cells(component: Any, folder: Path, *, library: Path, frequency: float) -> dict[str, Any]:
    """Area, and where OpenSTA is there the slowest path and the power at ``frequency`` MHz.

    Power counts every net as toggling in a tenth of the cycles; memories and wires are left out.
    """
    file = write_verilog_of(component, folder, "top")
    cells = re.findall(r"^\s*cell\s*\(\s*\"?(\w+)\"?\s*\)", library.read_text(), re.M)
    driving = next((cell for cell in DRIVING_CELLS if cell in cells), None)
    constraint = f"set_driving_cell {driving}\n" if driving else ""
    (folder / "abc.constr").write_text(constraint + f"set_load {LOAD_PF * 1000:g} [all_outputs]\n")
    (folder / "cells.lib").write_bytes(library.read_bytes())
    picoseconds = round(1e6 / frequency)
    # Memories that are written leave the design: what feeds them becomes outputs, what they drive becomes inputs.
    script = [
        f"read_verilog {file}",
        "hierarchy -top top",
        "proc",
        "flatten",
        "opt",
        "memory -nomap",
        "opt_clean",
        "select -set ram t:$mem_v2 r:WR_PORTS>0 %i",
        "tee -q -o memories.txt dump @ram",
        "rename -enumerate -pattern memory_port_% @ram %ci1 @ram %d",
        "expose @ram %ci1 @ram %d",
        "delete @ram",
        "setundef -undriven -expose",
        "synth -noabc -flatten -top top",
        "dfflibmap -liberty cells.lib",
        f"abc -D {picoseconds} -liberty cells.lib -constr abc.constr",
        "setundef -zero",
        "splitnets -ports -format _",
        "opt_clean -purge",
        "write_verilog -noattr -noexpr -nohex cells.v",
        "tee -q -o area.json stat -json -liberty cells.lib",
    ]
    kinds = run_yosys(script, folder, file)
    area = json.loads((folder / "area.json").read_text())["design"]["area"]
    found: dict[str, Any] = {
        "library": library.stem,
        "cells": sum(kinds.values()),
        "area_um2": round(float(area), 1),
        "memory_bits": memory_bits((folder / "memories.txt").read_text()),
    }
    if toolchain.static_timing().found:
        found |= _static_timing(folder, frequency)
    return found


def _static_timing(folder: Path, frequency: float) -> dict[str, Any]:
    period = 1000 / frequency
    (folder / "timing.tcl").write_text(
        "read_liberty cells.lib\nread_verilog cells.v\nlink_design top\n"
        f"create_clock -name clk -period {period:g} [get_ports clk]\n"
        f"set_input_transition {EDGE_NS} [all_inputs]\n"
        f"set_load {LOAD_PF:g} [all_outputs]\n"
        "set_power_activity -global -activity 0.1 -duty 0.5\n"
        "report_worst_slack\nreport_power\nexit\n"
    )
    sta = str(toolchain.static_timing().require())
    done = subprocess.run([sta, "-no_splash", "-exit", "timing.tcl"], cwd=folder, capture_output=True, text=True)
    said = done.stdout + done.stderr
    slack = re.search(r"worst slack\s+(-?[\d.]+)", said)
    power = re.search(r"^Total\s+(\S+)\s+(\S+)\s+(\S+)\s+(\S+)", done.stdout, re.M)
    if done.returncode or slack is None or "Error:" in said:
        raise SynthesisError(f"OpenSTA refused cells.v: {said[-500:]}")
    found: dict[str, Any] = {"fmax_mhz": round(1000 / (period - float(slack[1])), 1)}
    if power:
        found["power_mw"] = {"at_mhz": frequency, "total": round(1000 * float(power[4]), 3)}
    return found
