"""The bench for vectors: drives each job's configuration and input and captures the output; others compare.

Runs inside the simulator. The environment variable ``QUIETBAR_JOBS`` names the folder that
:func:`quietbar_cosim.regression.run_cocotb` filled; what came out goes there too.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import cocotb
import numpy as np

from quietbar_cosim.stream import Bench, Sink, Source, StreamError
from quietbar_cosim.vectors import Scenario, Vectors

DRAIN_CYCLES = 64


class Streams:
    """The streams of one part of the design, with the names that its vectors give."""

    def __init__(self, bench: Bench, vectors: Vectors) -> None:
        def source(name: str) -> Source | None:
            present = hasattr(bench.design, f"{vectors.prefix}{name}_tdata")
            return bench.source(f"{vectors.prefix}{name}") if present else None

        self.configuration, self.input = source("s_axis_cfg"), source("s_axis")
        self.output: Sink = bench.sink(f"{vectors.prefix}m_axis")
        self.error = getattr(bench.design, f"{vectors.prefix}error", None)


@cocotb.test()
async def run_jobs(design: Any) -> None:
    """Every job after the other, each from a reset."""
    folder = Path(os.environ["QUIETBAR_JOBS"])
    loaded: dict[str, Vectors] = {}
    bench, parts = Bench(design), dict[str, Streams]()
    for number, job in enumerate(json.loads((folder / "jobs.json").read_text())):
        vectors = loaded.setdefault(job["vectors"], Vectors.load(folder / job["vectors"]))
        if vectors.prefix not in parts:
            parts[vectors.prefix] = Streams(bench, vectors)
        scenario = Scenario.from_dict(job["scenario"])
        cocotb.log.info("job %d: %s, %s", number, job["name"], scenario)
        try:
            output, cycles, seconds = await run_job(bench, parts[vectors.prefix], vectors, scenario)
        except StreamError as error:
            raise AssertionError(f"{job['name']}, {scenario.name}: {error}") from error
        np.savez(folder / f"run{number}.npz", output=output, cycles=cycles, seconds=seconds)


async def run_job(bench: Bench, streams: Streams, vectors: Vectors, scenario: Scenario) -> tuple[Any, int, float]:
    """The output beats, the cycles and the seconds of one job."""
    await bench.reset()
    begun = await start(bench, streams, vectors, scenario)
    if scenario.reset_after is not None:
        # Wherever the design is then, with beats inside it and others on their way, it is reset.
        await streams.output.receive(scenario.reset_after)
        await bench.reset(1)
        begun = await start(bench, streams, vectors, scenario)
    clock = time.perf_counter()
    beats = await streams.output.receive(len(vectors.expected))
    cycles, seconds = streams.output.last_cycle - begun, time.perf_counter() - clock
    if streams.error is not None and int(streams.error.value):
        raise StreamError("error", bench.cycle, f"is {int(streams.error.value):#x}")
    if streams.input is not None:
        await streams.input.finish()
        await bench.cycles(DRAIN_CYCLES)
        if streams.output.beats:
            what = f"offers a beat after the last expected one: {len(vectors.expected)} were"
            raise StreamError(f"{streams.output.name}_tvalid", bench.cycle, what)
    size = vectors.expected.shape[1]
    raw = b"".join(beat.to_bytes(size, "little") for beat in beats)
    return np.frombuffer(raw, dtype=np.uint8).reshape(-1, size), cycles, seconds


async def start(bench: Bench, streams: Streams, vectors: Vectors, scenario: Scenario) -> int:
    """Configure, and set both ends going in the same cycle; the number of the cycle before."""
    streams.output.held = True
    streams.output.frame(vectors.output_frame_beats or None)
    if streams.configuration is not None:
        streams.configuration.stall(scenario.input_stalls)
        for words in vectors.configuration:
            streams.configuration.send(words)
        await streams.configuration.finish()
    if streams.input is not None and vectors.inputs is not None:
        streams.input.stall(scenario.input_stalls)
        beats = [int.from_bytes(beat.tobytes(), "little") for beat in vectors.inputs]
        for first in range(0, len(beats), vectors.frame_beats):
            streams.input.send(beats[first : first + vectors.frame_beats])
    streams.output.stall(scenario.output_stalls)
    streams.output.held = False
    return bench.cycle
