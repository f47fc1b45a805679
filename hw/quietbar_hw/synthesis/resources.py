"""Resources of a design, counted by Yosys for FPGAs of three makers."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from .tools import run_yosys

COUNTED = {
    "LUT4": ("LUT4",),
    "carry": ("CCU2C",),
    "flip-flops": ("TRELLIS_FF",),
    "MULT18X18D": ("MULT18X18D",),
    "block RAM": ("DP16KD",),
    "distributed RAM": ("TRELLIS_DPR16X4",),
}
"""Lattice ECP5: names in reports -> Yosys' cells. A carry cell holds two LUT4 of its own."""

COUNTED_ICE40 = {
    "LUT4": ("SB_LUT4",),
    "carry": ("SB_CARRY",),
    "flip-flops": tuple(f"SB_DFF{kind}" for kind in ("", "E", "R", "S", "SR", "SS", "ER", "ES", "ESR", "ESS")),
    "SB_MAC16": ("SB_MAC16",),
    "block RAM": ("SB_RAM40_4K",),
}
"""Lattice iCE40."""

COUNTED_XILINX = {
    "LUT": ("LUT1", "LUT2", "LUT3", "LUT4", "LUT5", "LUT6"),
    "CARRY4": ("CARRY4",),
    "flip-flops": ("FDRE", "FDSE", "FDCE", "FDPE"),
    "DSP48E1": ("DSP48E1",),
    "RAMB18": ("RAMB18E1",),
    "RAMB36": ("RAMB36E1",),
    "distributed RAM": ("RAM32M", "RAM64M", "RAM32X1D", "RAM64X1D", "RAM128X1D", "RAM32X1S", "RAM64X1S"),
    "shift registers": ("SRL16E", "SRLC32E"),
}
"""Xilinx 7."""


def counted(cells: Mapping[str, int], kinds: Mapping[str, tuple[str, ...]]) -> dict[str, int]:
    """Cells added up under the names of reports."""
    return {name: sum(cells.get(cell, 0) for cell in cells_of) for name, cells_of in kinds.items()}


def ecp5_script(verilog: str, top: str, parts: Sequence[str] = ()) -> list[str]:
    """Yosys' commands for ECP5; the netlist is flat.

    With -dff: it saves a register bank 40 % of its LUTs, but ABC's time grows faster than the design. ``parts`` are
    instances, by name, whose logic ABC gets on its own each; only then are they flattened into the rest.
    """
    kept = " ".join(f"*_{part}" for part in parts)
    return [
        f"read_verilog {verilog}",
        *([f"setattr -mod -set keep_hierarchy 1 {kept}"] if parts else []),
        f"synth_ecp5 -abc9 -dff -top {top}",
        *(["setattr -mod -unset keep_hierarchy *", "flatten", "opt_clean"] if parts else []),
    ]


def xilinx7_commands(top: str) -> tuple[str, ...]:
    """Yosys' commands for Xilinx 7, after the Verilog is read; the netlist is flat.

    Wires that nothing reads go before ABC comes: with those of an engine there, Yosys 0.70 gives a wire of ABC's
    netlist a name that another one has, and ends with an assertion.
    """
    synthesize = f"synth_xilinx -family xc7 -flatten -noiopad -top {top} -run"
    return f"{synthesize} :map_luts", "opt_clean -purge", f"{synthesize} map_luts:"


def count_resources(verilog: Path, top: str) -> dict[str, int]:
    """ECP5 cells of the module ``top`` in the file ``verilog``, by the names of `COUNTED`.

    Counts depend on Yosys' version: quote it with them.

    Raises:
        MissingToolError: there is no Yosys that will do.
        SynthesisError: Yosys refused the design.
    """
    with tempfile.TemporaryDirectory(dir=verilog.parent) as folder:
        return counted(run_yosys(ecp5_script(f"../{verilog.name}", top), Path(folder), verilog.name), COUNTED)
