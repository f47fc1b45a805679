"""AXI4-Stream under cocotb: a source, a sink that checks the rules, and the bench that clocks and resets them."""

from __future__ import annotations

from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ReadWrite, RisingEdge

from .ends import SinkEnd, SourceEnd
from .planting import chosen_fault
from .rules import StreamError, StreamRules
from .stalls import NO_STALLS, Stalls

__all__ = ["Bench", "Sink", "Source", "StreamError", "StreamRules"]

CLOCK_PERIOD_NS = 10
PATIENCE = 20_000
"""Cycles without a transfer after which waiting is given up."""


class Bench:
    """Clock, reset and the streams of one design.

    Signals are read at a rising edge as they stood before it and written right after it, so every source, sink and
    monitor sees the same cycle. Every cycle is counted from the bench's start.

    Example::

        bench = Bench(dut)
        source, sink = bench.source("s_axis"), bench.sink("m_axis", frame_beats=64)
        await bench.reset()
        source.send(frame)
        assert await sink.receive(64) == expected
    """

    def __init__(self, design: Any, clock: str = "clk", reset: str = "rst") -> None:
        """
        Args:
            design: cocotb's handle of the top.
            clock, reset: names of its clock and its synchronous, active-high reset.
        """
        self.design = design
        self.clock, self._reset = getattr(design, clock), getattr(design, reset)
        self.edge = RisingEdge(self.clock)
        self.cycle = 0
        self._agents: list[Source | Sink] = []
        self._reset.value = 1
        if hasattr(design, "fault"):
            design.fault.value = chosen_fault()
        Clock(self.clock, CLOCK_PERIOD_NS, unit="ns").start()
        cocotb.start_soon(self._count())

    async def _count(self) -> None:
        while True:
            await self.edge
            self.cycle += 1

    def source(self, name: str, stalls: Stalls = NO_STALLS) -> Source:
        """Drive the stream whose signals start with ``name``."""
        agent = Source(self, name, stalls)
        self._agents.append(agent)
        return agent

    def sink(self, name: str, stalls: Stalls = NO_STALLS, frame_beats: int | None = None) -> Sink:
        """Take from the stream whose signals start with ``name``, checking its rules."""
        agent = Sink(self, name, stalls, frame_beats)
        self._agents.append(agent)
        return agent

    async def cycles(self, count: int) -> None:
        """Wait for ``count`` clock edges."""
        for _ in range(count):
            await self.edge

    async def reset(self, cycles: int = 3) -> None:
        """Hold the reset for ``cycles`` edges. Whatever sources had to send and sinks had received is dropped."""
        self._reset.value = 1
        for agent in self._agents:
            # No end offers or takes anything during a reset: what passes a design without registers would be seen.
            agent.clear()
            agent.held = True
        await self.cycles(cycles)
        await ReadWrite()  # by then no end has looked at what was there before the last of those edges
        self._reset.value = 0
        for agent in self._agents:
            agent.clear()
            agent.held = False


class Source:
    """Sends frames into a stream, beat by beat, in order; see :class:`quietbar_cosim.ends.SourceEnd`.

    Attributes:
        held: True while the source offers nothing, as during a reset.
    """

    def __init__(self, bench: Bench, name: str, stalls: Stalls = NO_STALLS) -> None:
        self.bench, self.name = bench, name
        self._data, self._valid, self._ready, self._last = _signals(bench.design, name)
        self._end = SourceEnd(len(self._data), stalls)
        self.stall, self.send = self._end.stall, self._end.send
        self.held = True
        self._valid.value = 0
        cocotb.start_soon(self._drive())

    @property
    def sent(self) -> int:
        """Beats taken by the design since the last reset."""
        return self._end.sent

    async def finish(self, patience: int = PATIENCE) -> None:
        """Wait until every queued beat was taken.

        Raises:
            StreamError: none was for ``patience`` cycles.
        """
        idle, sent = 0, self.sent
        while self._end.waiting:
            await self.bench.edge
            idle, sent = (idle + 1 if self.sent == sent else 0), self.sent
            if idle > patience:
                what = f"{self.sent} beats taken, {self._end.waiting} left, none for {patience} cycles"
                raise StreamError(f"{self.name}_tready", self.bench.cycle, what)

    def clear(self) -> None:
        """Drop what is queued and offer nothing."""
        self._end.clear()
        self._valid.value = 0

    async def _drive(self) -> None:
        edge, end = self.bench.edge, self._end
        while True:
            await edge
            if self.held:
                continue
            ready = bool(end.valid) and _bit(self._ready) is True
            if end.step(ready):
                self._valid.value = end.valid
                self._data.value = end.payload
                if self._last is not None:
                    self._last.value = end.last


class Sink:
    """Takes beats from a stream and holds it to its rules; see :class:`quietbar_cosim.ends.SinkEnd`.

    Attributes:
        held: True while the sink takes nothing and looks at nothing, as during a reset.
    """

    def __init__(self, bench: Bench, name: str, stalls: Stalls = NO_STALLS, frame_beats: int | None = None) -> None:
        self.bench, self.name = bench, name
        self._data, self._valid, self._ready, self._last = _signals(bench.design, name)
        self._end = SinkEnd(name, stalls, frame_beats)
        self.stall, self.beats = self._end.stall, self._end.beats
        self.held = True
        self._ready.value = 0
        cocotb.start_soon(self._drive())

    @property
    def last_cycle(self) -> int:
        """Number of the cycle in which the last beat was taken."""
        return self._end.last_cycle

    def frame(self, beats: int | None) -> None:
        """From now on expect ``tlast`` on every so many beats; None: anywhere."""
        self._end.rules = StreamRules(self.name, beats)

    async def receive(self, count: int, patience: int = PATIENCE) -> list[int]:
        """Wait for the next ``count`` beats and hand them out, as unsigned integers.

        Raises:
            StreamError: none came for ``patience`` cycles.
        """
        idle, seen = 0, len(self.beats)
        while len(self.beats) < count:
            await self.bench.edge
            idle, seen = (idle + 1 if len(self.beats) == seen else 0), len(self.beats)
            if idle > patience:
                what = f"{seen} of {count} beats came, none for {patience} cycles"
                raise StreamError(f"{self.name}_tvalid", self.bench.cycle, what)
        taken, self.beats[:] = self.beats[:count], self.beats[count:]
        return taken

    def clear(self) -> None:
        """Drop what was received; the next beat begins a frame."""
        self._end.clear()
        self._ready.value = 0

    async def _drive(self) -> None:
        edge, end = self.bench.edge, self._end
        while True:
            await edge
            if self.held:
                continue
            valid = _bit(self._valid)
            payload = last = None
            if valid:
                payload = _unsigned(self._data)
                last = None if self._last is None else _bit(self._last)
            if end.step(self.bench.cycle, valid, payload, last):
                self._ready.value = end.ready


def _signals(design: Any, name: str) -> tuple[Any, Any, Any, Any]:
    """The payload, valid, ready and, where there is one, last signals of a stream."""
    data, valid, ready = (getattr(design, f"{name}_{suffix}") for suffix in ("tdata", "tvalid", "tready"))
    return data, valid, ready, getattr(design, f"{name}_tlast", None)


def _bit(signal: Any) -> bool | None:
    value = signal.value
    return int(value) == 1 if value.is_resolvable else None


def _unsigned(signal: Any) -> int | None:
    value = signal.value
    return int(value) if value.is_resolvable else None
