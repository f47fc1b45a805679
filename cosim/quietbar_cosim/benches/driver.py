"""The bench for the engine's driver: everything is done by the driver's own calls, which wait beside the simulator.

Runs inside the simulator. The environment variable ``QUIETBAR_DRIVEN`` names the folder that
:func:`quietbar_cosim.driven.drive` filled; what came out goes there too.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.task import bridge
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiStreamBus, AxiStreamSink, AxiStreamSource

from quietbar.integer.engine import seed_writes
from quietbar.integer.image import load_image
from quietbar_cosim.driven import CocotbStreams
from quietbar_cosim.registers import CocotbBus
from quietbar_cosim.stream import Bench
from quietbar_hw.engine.driver import EngineDriver


@cocotb.test()
async def drive(design: Any) -> None:
    """All jobs, one after the other."""
    logging.getLogger("cocotb").setLevel(logging.WARNING)
    bench = Bench(design)
    master = AxiLiteMaster(AxiLiteBus.from_prefix(design, "s_axil"), design.clk, design.rst)
    source = AxiStreamSource(AxiStreamBus.from_prefix(design, "s_axis"), design.clk, design.rst)
    sink = AxiStreamSink(AxiStreamBus.from_prefix(design, "m_axis"), design.clk, design.rst)
    await bench.reset()
    await bridge(work)(CocotbBus(master), CocotbStreams(source, sink), Path(os.environ["QUIETBAR_DRIVEN"]))


def work(bus: CocotbBus, streams: CocotbStreams, folder: Path) -> None:
    """What a program on a real machine would do."""
    image, jobs = load_image(folder / "image"), json.loads((folder / "jobs.json").read_text())
    driver = EngineDriver(bus, image.engine, streams)
    driver.load(image.writes)
    if image.engine.noise:
        driver.load(seed_writes(image.engine, jobs["seed"]))
    for number, tap in enumerate(jobs["taps"]):
        frames = np.load(folder / f"frames{number}.npy")
        np.save(folder / f"denoised{number}.npy", driver.denoise(image.taps[tap], image.block(tap), frames))
    driver.stop()
    told = {"counters": driver.counters(), "errors": int(driver.errors())}
    (folder / "told.json").write_text(json.dumps(told))
