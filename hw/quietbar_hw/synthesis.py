"""Resources of a design, counted by Yosys for Lattice ECP5."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

from quietbar import toolchain
from quietbar.contract import QuietbarError

COUNTED = {
    "LUT4": ("LUT4",),
    "carry": ("CCU2C",),
    "flip-flops": ("TRELLIS_FF",),
    "MULT18X18D": ("MULT18X18D",),
    "block RAM": ("DP16KD",),
    "distributed RAM": ("TRELLIS_DPR16X4",),
}
"""Names in reports -> Yosys' cells. A carry cell holds two LUT4 of its own."""


class SynthesisError(QuietbarError):
    """Yosys refused the design; the message ends with its last lines."""


def count_resources(verilog: Path, top: str) -> dict[str, int]:
    """ECP5 cells of the module ``top`` in the file ``verilog``, by the names of `COUNTED`.

    Counts depend on Yosys' version: quote it with them.

    Raises:
        MissingToolError: there is no Yosys that will do.
        SynthesisError: Yosys refused the design.
    """
    yosys = toolchain.yosys().require()
    with tempfile.TemporaryDirectory(dir=verilog.parent) as folder:
        # The log of the wheel's Yosys loses text after ABC when it is redirected; a file of its own does not.
        # Without -dff, the ABC of the wheel gives up on the largest designs.
        synthesize = f"synth_ecp5 -abc9 -dff -top {top}"
        script = f"read_verilog ../{verilog.name}; {synthesize}; tee -q -o stat.json stat -json -top {top}"
        done = subprocess.run(
            [yosys, "-q", "-p", script], cwd=folder, env=toolchain.environment(), capture_output=True, text=True
        )
        report = Path(folder) / "stat.json"
        if done.returncode or not report.exists():
            last = "\n".join((done.stdout + done.stderr).splitlines()[-5:])
            raise SynthesisError(f"Yosys refused {verilog.name}: {last}")
        cells = json.loads(report.read_text())["design"]["num_cells_by_type"]
    return {name: sum(cells.get(cell, 0) for cell in kinds) for name, kinds in COUNTED.items()}
