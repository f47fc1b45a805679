"""FPGA targets: a design to its resources and, placed and routed in the pin harness, to its fastest clock."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from quietbar import toolchain

from ..verilog import to_verilog
from .harness import PinHarness
from .packing import pack_registers
from .resources import COUNTED, COUNTED_ICE40, COUNTED_XILINX, counted, ecp5_script, xilinx7_commands
from .tools import NoRouteError, critical_path, fmax, run_nextpnr, run_yosys

ECP5_DEVICE = ("--85k", "--package", "CABGA381")
ECP5_ROUTER = "router2"
"""Not nextpnr's default for ECP5: `router1` minds the clock better, but does not come to an end on some placements of
the 3x3 core and the denoiser, and has no bound but time, by which the machine would choose the router."""
ICE40_DEVICE = ("--up5k", "--package", "sg48")

Keep = Callable[[str, Callable[[], dict[str, Any]]], dict[str, Any]]
"""Makes a step of that name, or has kept what it gave before."""

NARROW_FACTOR = 9
"""Bits of a factor up to which a product is made of LUTs on iCE40, whose largest UltraPlus has eight multipliers."""


def write_verilog_of(component: Any, folder: Path, name: str) -> str:
    """The Verilog of a component in ``folder``; the name of the file."""
    (folder / f"{name}.v").write_text(to_verilog(component, name))
    return f"{name}.v"


def at_once(name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A `Keep` that keeps nothing."""
    return make()


def ecp5(
    component: Any,
    folder: Path,
    *,
    seeds: Sequence[int],
    frequency: float,
    parts: Sequence[str] = (),
    keep: Keep = at_once,
) -> dict[str, Any]:
    """Lattice ECP5-85: resources without the harness; Fmax of each seed, placed and routed inside it.

    Resources are what Yosys makes of the design. What is placed has registers packed into its multipliers, see
    `pack_registers`: fewer flip-flops, and a faster clock.

    Args:
        component: of any number of ports.
        folder: for the tools' files.
        seeds: of the placer; none leaves placement out.
        frequency: in MHz, that the tools aim at.
        parts: of the component, that ABC gets one by one, see `ecp5_script`.
        keep: of the count and of each placement.
    """

    def count() -> dict[str, Any]:
        file = write_verilog_of(component, folder, "top")
        return counted(run_yosys(ecp5_script(file, "top", parts), folder, file), COUNTED)

    def place(seed: int) -> dict[str, Any]:
        file = "harness.v"
        if not (folder / "harness.json").is_file():
            write_verilog_of(PinHarness(component), folder, "harness")
            run_yosys([*ecp5_script(file, "harness", parts), "write_json netlist.json"], folder, file)
            netlist = json.loads((folder / "netlist.json").read_text())
            pack_registers(netlist)
            (folder / "harness.json").write_text(json.dumps(netlist))
        options = [*ECP5_DEVICE, "--json", "harness.json", "--seed", str(seed), "--freq", f"{frequency:g}"]
        options += ["--router", ECP5_ROUTER, "--lpf-allow-unconstrained"]
        return report_or_refusal(lambda: run_nextpnr(toolchain.nextpnr(), options, folder, file))

    found = {"resources": keep("resources", count)}
    placed = timing({seed: keep(f"seed {seed}", partial(place, seed)) for seed in seeds})
    return {**found, **({"router": ECP5_ROUTER} if placed else {}), **placed}


def ice40(
    component: Any, folder: Path, *, seeds: Sequence[int], frequency: float, keep: Keep = at_once
) -> dict[str, Any]:
    """Lattice iCE40UP5K; narrow products in LUTs, because its eight multipliers are soon used up."""
    file = write_verilog_of(PinHarness(component), folder, "harness")
    narrow = f"t:$mul r:A_WIDTH<={NARROW_FACTOR} %i r:B_WIDTH<={NARROW_FACTOR} %i"
    script = [
        f"read_verilog {file}",
        "hierarchy -top harness",
        "proc",
        "flatten",
        "opt",
        "wreduce",
        f"booth {narrow}",
        "synth_ice40 -abc9 -dsp -top harness",
        "write_json harness.json",
    ]

    def count() -> dict[str, Any]:
        return counted(run_yosys(script, folder, file), COUNTED_ICE40)

    def place(seed: int) -> dict[str, Any]:
        if not (folder / "harness.json").is_file():
            count()
        options = [*ICE40_DEVICE, "--json", "harness.json", "--seed", str(seed), "--freq", f"{frequency:g}"]
        options += ["--pcf-allow-unconstrained"]
        return report_or_refusal(lambda: run_nextpnr(toolchain.nextpnr_ice40(), options, folder, file))

    resources = {"resources, harness included": keep("resources", count)}
    return {**resources, **timing({seed: keep(f"seed {seed}", partial(place, seed)) for seed in seeds})}


def xilinx7(component: Any, folder: Path) -> dict[str, Any]:
    """Xilinx 7: resources alone, since there is no open placer from a package registry."""
    file = write_verilog_of(component, folder, "top")
    script = [f"read_verilog {file}", *xilinx7_commands("top")]
    return {"resources": counted(run_yosys(script, folder, file), COUNTED_XILINX)}


def report_or_refusal(place: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Nextpnr's report, or ``{"refused": ...}`` where a seed has no route; any other failure is no result."""
    try:
        return place()
    except NoRouteError as error:
        return {"refused": str(error)}


def timing(reports: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """Fmax over the seeds, the critical path of the median one, what was used of the device, and seeds without a route.

    Raises:
        NoRouteError: no seed has one.
    """
    if not reports:
        return {}
    refused = {seed: report["refused"] for seed, report in reports.items() if "refused" in report}
    speeds = {seed: fmax(report) for seed, report in reports.items() if seed not in refused}
    if not speeds:
        raise NoRouteError(next(iter(refused.values())))
    middle = statistics.median_low(speeds.values())
    median = reports[next(seed for seed, speed in speeds.items() if speed == middle)]
    used = {kind: [count["used"], count["available"]] for kind, count in median["utilization"].items() if count["used"]}
    return {
        "fmax_mhz": {"min": min(speeds.values()), "median": middle, "max": max(speeds.values()), "seeds": speeds},
        **({"refused": refused} if refused else {}),
        "critical_path": critical_path(median),
        "used_of_device": used,
    }
