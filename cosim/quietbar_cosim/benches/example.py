"""The bench for the example of docs/hardware.md: beats of ``beats.txt`` in, what comes out to ``came.txt``.

Runs inside the simulator. The environment variable ``QUIETBAR_EXAMPLE`` names the folder of both files.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cocotb

from quietbar_cosim.stream import Bench

PATIENCE = 20_000
"""Cycles in which the engine has to be loaded and all beats have to come."""


@cocotb.test()
async def run_frames(design: Any) -> None:
    """From reset on: the example loads the engine, and frames wait for it."""
    bench, folder = Bench(design), Path(os.environ["QUIETBAR_EXAMPLE"])
    waiting = [tuple(map(int, line.split())) for line in (folder / "beats.txt").read_text().splitlines()]
    count, came = len(waiting), list[str]()
    design.in_valid.value = 0
    design.out_ready.value = 1
    await bench.reset()
    offering = False
    for _ in range(PATIENCE):
        if not offering and waiting:
            design.in_data.value, design.in_block.value, design.in_last.value = waiting[0]
        offering = bool(waiting)
        design.in_valid.value = offering
        await bench.edge
        if offering and int(design.in_ready.value):
            waiting.pop(0)
            offering = False
        if int(design.out_valid.value):
            names = ("out_data", "out_block", "out_last", "out_bad")
            came.append(" ".join(str(int(getattr(design, name).value)) for name in names))
        if len(came) == count:
            break
    assert int(design.running.value) and not int(design.failed.value), "the engine is loaded and runs"
    (folder / "came.txt").write_text("\n".join(came) + "\n")
