"""Jobs in Amaranth's own simulator: nothing to build, some thousand cycles a second.

For designs of the moment, such as the planted faults of the tests. The ends of the streams, the rules they are held to
and the cycles counted are those of the other tiers.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from amaranth.lib import wiring
from amaranth.sim import Simulator

from quietbar.contract.errors import require

from .ends import SinkEnd, SourceEnd
from .rules import StreamError
from .vectors import Job, Run, Scenario, Vectors

PATIENCE = 2_000
"""Cycles without a transfer after which a run is given up."""
DRAIN_CYCLES = 64


def run_elaborated(component: wiring.Component, jobs: Sequence[Job]) -> list[Run]:
    """Run jobs on a component whose ports are plain signals, each from its power-up state.

    Raises:
        StreamError: a stream broke its rules, nothing moved, or the port ``error`` was raised.
        ConfigurationError: a scenario asks for a reset in between, which only cocotb gives.
    """
    runs: list[Run] = []

    async def bench(context: Any) -> None:
        job = jobs[len(runs)]
        reset = job.scenario.reset_after
        require(reset is None, "scenario.reset_after", reset, "None in Amaranth's simulator")
        runs.append(await _run(context, component, job.vectors, job.scenario))

    simulator = Simulator(component)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    for number in range(len(jobs)):
        if number:
            simulator.reset()
        simulator.run()
    return runs


class _Port:
    """The signals of one stream of a component."""

    def __init__(self, component: Any, name: str) -> None:
        self.name = name
        self.data, self.valid, self.ready = (
            getattr(component, f"{name}_{part}") for part in ("tdata", "tvalid", "tready")
        )
        self.last = getattr(component, f"{name}_tlast", None)

    def drive(self, context: Any, end: SourceEnd) -> None:
        context.set(self.valid, end.valid)
        context.set(self.data, end.payload)
        if self.last is not None:
            context.set(self.last, end.last)


async def _run(context: Any, component: Any, vectors: Vectors, scenario: Scenario) -> Run:
    def port(name: str) -> _Port | None:
        name = vectors.prefix + name
        return _Port(component, name) if hasattr(component, f"{name}_tdata") else None

    configuration, source, sink = port("s_axis_cfg"), port("s_axis"), port("m_axis")
    assert sink is not None
    error = getattr(component, f"{vectors.prefix}error", None)
    if configuration is not None:
        await _configure(context, configuration, vectors, scenario)

    source_end = SourceEnd(0 if source is None else len(source.data), scenario.input_stalls)
    sink_end = SinkEnd(sink.name, scenario.output_stalls, vectors.output_frame_beats or None)
    if vectors.inputs is not None:
        beats = [int.from_bytes(beat.tobytes(), "little") for beat in vectors.inputs]
        for first in range(0, len(beats), vectors.frame_beats):
            source_end.send(beats[first : first + vectors.frame_beats])
    wanted, cycle, idle, drained, clock = len(vectors.expected), 0, 0, 0, time.perf_counter()
    while len(sink_end.beats) < wanted or (source is not None and drained < DRAIN_CYCLES):
        drained += len(sink_end.beats) >= wanted
        moved = source_end.sent + len(sink_end.beats)
        ready = False if source is None else source.ready
        last = False if sink.last is None else sink.last
        raised = 0 if error is None else error
        _, _, ready, valid, payload, last, raised = await context.tick().sample(
            ready, sink.valid, sink.data, last, raised
        )
        cycle += 1
        if raised:
            raise StreamError("error", cycle, f"is {raised:#x}")
        if source_end.step(bool(ready)) and source is not None:
            source.drive(context, source_end)
        if sink_end.step(cycle, bool(valid), payload, None if sink.last is None else bool(last)):
            context.set(sink.ready, sink_end.ready)
        idle = idle + 1 if moved == source_end.sent + len(sink_end.beats) else 0
        if idle > PATIENCE:
            came = f"{source_end.sent} beats taken, {len(sink_end.beats)} of {wanted} came"
            raise StreamError(f"{sink.name}_tvalid", cycle, f"{came}, nothing moved for {PATIENCE} cycles")
        if len(sink_end.beats) > wanted:
            raise StreamError(f"{sink.name}_tvalid", cycle, f"offers a beat after the last expected one: {wanted} were")
    size = vectors.expected.shape[1]
    raw = b"".join(beat.to_bytes(size, "little") for beat in sink_end.beats)
    output = np.frombuffer(raw, dtype=np.uint8).reshape(-1, size)
    return Run(output, sink_end.last_cycle, time.perf_counter() - clock)


async def _configure(context: Any, port: _Port, vectors: Vectors, scenario: Scenario) -> None:
    """Send the configuration, stalling as the input does, and return in the cycle after its last word."""
    end, idle = SourceEnd(len(port.data), scenario.input_stalls), 0
    for words in vectors.configuration:
        end.send(words)
    end.step(False)
    port.drive(context, end)
    while end.waiting:
        sent = end.sent
        _, _, ready = await context.tick().sample(port.ready)
        if end.step(bool(ready)):
            port.drive(context, end)
        idle = idle + 1 if end.sent == sent else 0
        if idle > PATIENCE:
            what = f"{end.sent} words taken, {end.waiting} left, none for {PATIENCE} cycles"
            raise StreamError(f"{port.name}_tready", 0, what)
