"""The watched designs through all their targets: results kept, printed, and compared with a baseline."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from quietbar import toolchain
from quietbar.contract import require_choice
from quietbar.files import write_atomically

from ..verilog import to_verilog
from . import targets
from .cells import liberty, standard_cells
from .designs import DESIGNS, Watched

Results = dict[str, dict[str, Any]]

TARGETS = ("ecp5", "ice40", "xilinx7", "cells")
STEPS = ("targets", "packing", "cells", "tools", "resources")
"""Modules that results depend on, beside the design and the tools."""
CELLS_MHZ = 100.0
COUNT_MARGIN, SPEED_MARGIN = 0.02, 0.08
"""What counts as a regression: more than 2 % more of a resource or of area; more than 8 % less median Fmax (seeds
alone move a median of three by several percent)."""


def run_suite(
    names: Sequence[str],
    wanted: Sequence[str],
    seeds: Sequence[int],
    cache: Path,
    tell: Callable[[str], None] = lambda line: None,
) -> Results:
    """Results by design and target; counts and placements are kept in ``cache`` and taken from it if nothing changed.

    A target whose tool or library is not on this machine is left out, and that is told.
    """
    results: Results = {}
    for name in names:
        require_choice("design", name, tuple(DESIGNS))
        design = DESIGNS[name]
        for target in design.targets:
            if target not in wanted:
                continue
            if target == "cells" and liberty() is None:
                tell("cells: left out, there is no Liberty file (name one in QUIETBAR_LIBERTY)")
                continue
            results.setdefault(name, {})[target] = _made(name, target, seeds, cache, tell)
    return results


def _made(name: str, target: str, seeds: Sequence[int], cache: Path, tell: Callable[[str], None]) -> dict[str, Any]:
    """The result of a design on a target, each step of it from ``cache`` if it was made before."""
    design = DESIGNS[name]
    component = design.make()
    verilog = to_verilog(component, "top")
    material = [verilog, target, repr(tool_versions()), repr(design.frequency), repr(design.parts)]
    material += [Path(targets.__file__).with_name(f"{part}.py").read_text() for part in STEPS]

    def keep(step: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        file = cache / (hashlib.sha256("\0".join([*material, step]).encode()).hexdigest()[:16] + ".json")
        if not file.is_file():
            tell(f"{name}: {target}, {step}")
            write_atomically(file, json.dumps(make(), indent=2) + "\n")
        stored: dict[str, Any] = json.loads(file.read_text())
        return stored

    with tempfile.TemporaryDirectory(prefix="quietbar-synth-") as folder:
        return {"verilog": digest(verilog), **_run(design, component, target, seeds, Path(folder), keep)}


def digest(verilog: str) -> str:
    """What tells one Verilog from another, for results."""
    return hashlib.sha256(verilog.encode()).hexdigest()[:16]


def _run(
    design: Watched, component: Any, target: str, seeds: Sequence[int], folder: Path, keep: targets.Keep
) -> dict[str, Any]:
    if target == "xilinx7":
        return keep("resources", lambda: targets.xilinx7(component, folder))
    if target == "cells":
        library = liberty()
        assert library is not None
        step = f"cells of {hashlib.sha256(library.read_bytes()).hexdigest()}"
        return keep(step, lambda: standard_cells(component, folder, library=library, frequency=CELLS_MHZ))
    place = partial(targets.ecp5, parts=design.parts) if target == "ecp5" else partial(targets.ice40)
    found = place(component, folder, seeds=seeds, frequency=design.frequency, keep=keep)
    if target == "ecp5" and design.multipliers:
        found["lut4_per_multiplier"] = round(found["resources"]["LUT4"] / design.multipliers, 1)
        found["lut4_with_carry_per_multiplier"] = round(
            (found["resources"]["LUT4"] + 2 * found["resources"]["carry"]) / design.multipliers, 1
        )
    if target == "ecp5" and design.goal and seeds:
        found["goal"] = {"mhz": design.goal.mhz, "lut4_per_multiplier": design.goal.lut4_per_multiplier}
        found["reached"] = (
            found["fmax_mhz"]["median"] >= design.goal.mhz
            and found["lut4_per_multiplier"] <= design.goal.lut4_per_multiplier
        )
    return found


def tool_versions() -> dict[str, str | None]:
    """Versions of the tools that results depend on."""
    tools = (toolchain.yosys(), toolchain.nextpnr(), toolchain.nextpnr_ice40(), toolchain.static_timing())
    return {tool.name: tool.version for tool in tools}


def figures(results: Results) -> dict[tuple[str, str, str], float]:
    """The numbers of results that are watched, by design, target and name."""
    found: dict[tuple[str, str, str], float] = {}
    for name, by_target in results.items():
        for target, result in by_target.items():
            for key, value in result.items():
                if key.startswith("resources"):
                    found |= {(name, target, kind): float(count) for kind, count in value.items()}
                elif key == "fmax_mhz":
                    found[name, target, "fmax"] = float(value["median"] if isinstance(value, dict) else value)
                elif key in ("area_um2", "memory_bits"):
                    found[name, target, key] = float(value)
    return found


def regressions(results: Results, baseline: Results) -> Iterator[str]:
    """What has become worse than the baseline by more than the margins, one line each."""
    before = figures(baseline)
    for key, now in figures(results).items():
        if key not in before:
            continue
        worse = now < before[key] * (1 - SPEED_MARGIN) if key[2] == "fmax" else now > before[key] * (1 + COUNT_MARGIN)
        if worse:
            change = f"{now / before[key] - 1:+.1%}" if before[key] else "new"
            yield f"{key[0]}, {key[1]}: {key[2]} {before[key]:g} -> {now:g} ({change})"


def table(results: Results) -> Iterator[tuple[str, str, str, str]]:
    """Rows of text: design, target, what it takes, how fast it is."""
    for name, by_target in results.items():
        for target, result in by_target.items():
            counts = next((value for key, value in result.items() if key.startswith("resources")), None)
            takes = (
                ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
                if counts is not None
                else f"{result['area_um2']:,.0f} um2, {result['cells']} cells, {result['memory_bits']} memory bits"
            )
            if "lut4_per_multiplier" in result:
                with_carry = result["lut4_with_carry_per_multiplier"]
                takes += f"; {result['lut4_per_multiplier']} LUT4 a multiplier ({with_carry} with those of carry cells)"
            speed = result.get("fmax_mhz")
            text = "" if speed is None else f"{speed}"
            if isinstance(speed, dict):
                text = f"{speed['min']} / {speed['median']} / {speed['max']}"
            if refused := result.get("refused"):
                text += f", no route with seed {', '.join(map(str, refused))}"
            yield name, target, takes, text
