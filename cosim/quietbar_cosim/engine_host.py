"""An engine's core in Amaranth's simulator: memory written, frames sent and received, stalls, resets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

from amaranth.hdl import ResetInserter, Signal
from amaranth.sim import Simulator

from quietbar.contract.engine import COUNTERS, EngineConfig, EngineError
from quietbar.integer.engine import Write
from quietbar_hw.engine.core import EngineCore

from .engines import Beat

PATIENCE = 2_000
"""Cycles without a transfer after which the host gives up."""


@dataclass
class Traffic:
    """What went over the data streams.

    Attributes:
        beats: that came out.
        taken, left: cycle in which each beat was taken and left, from the first cycle of the exchange on.
        hung: nothing moved for `PATIENCE` cycles, and not all that was asked for came.
    """

    beats: list[Beat] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    hung: bool = False


class EngineHost:
    """Drives a core; see :func:`with_engine`.

    Attributes:
        errors: all that were raised since `seen` was called.
    """

    def __init__(self, context: Any, core: EngineCore, reset: Signal) -> None:
        self.context, self.core, self.control, self._reset = context, core, core.control, reset
        self.errors = EngineError(0)

    async def tick(self, *signals: Any) -> list[Any]:
        """One cycle; the values of ``signals`` before its end."""
        _, _, errors, *values = await self.context.tick().sample(self.control.errors, *signals)
        self.errors |= EngineError(errors)
        return values

    async def cycles(self, count: int) -> None:
        """So many cycles."""
        for _ in range(count):
            await self.tick()

    def seen(self) -> EngineError:
        """The errors since the last call."""
        errors, self.errors = self.errors, EngineError(0)
        return errors

    async def write(self, writes: Iterable[Write]) -> list[EngineError]:
        """Write words; the errors that each was answered with."""
        control, answers = self.control, []
        for address, word in writes:
            self.context.set(control.write.payload, {"address": address, "word": word})
            self.context.set(control.write.valid, 1)
            while not (await self.tick(control.write.ready))[0]:
                pass
            self.context.set(control.write.valid, 0)
            written = False
            while not written:
                written, refused, errors = await self.tick(control.written, control.refused, control.errors)
            assert bool(refused) == bool(errors), "an answer says that it refused, and why"
            answers.append(EngineError(errors))
        return answers

    async def load(self, writes: Iterable[Write]) -> None:
        """Write words, none of which is refused, and let frames run."""
        assert not any(await self.write(writes))
        self.run(True)
        await self.cycles(60)

    def run(self, value: bool) -> None:
        """Let frames begin, or let none."""
        self.context.set(self.control.run, value)

    async def pulse(self, name: str) -> None:
        """Raise ``restart``, ``clear`` or ``reset`` for a cycle."""
        signal = self._reset if name == "reset" else getattr(self.control, name)
        self.context.set(signal, 1)
        await self.tick()
        self.context.set(signal, 0)

    def counters(self) -> dict[str, int]:
        """Values of the counters by name."""
        return {name: self.context.get(self.control.counters[place]) for place, name in enumerate(COUNTERS)}

    async def exchange(
        self,
        beats: Sequence[Beat],
        count: int,
        *,
        input_stalls: Iterator[bool] | None = None,
        output_stalls: Iterator[bool] | None = None,
        patience: int = PATIENCE,
        limit: int | None = None,
    ) -> Traffic:
        """Send beats, and receive ``count`` of them, or what comes until nothing moves, or ``limit`` cycles.

        A source that stalls puts up no new beat; one that is up stays until it is taken.
        """
        core, traffic = self.core, Traffic()
        pausing, stalling = input_stalls or repeat(False), output_stalls or repeat(False)
        waiting, offering, idle, cycle = list(beats)[::-1], False, 0, 0
        while len(traffic.beats) < count or waiting:
            if cycle == limit:
                break
            if not next(pausing) and not offering and waiting:
                beat, offering = waiting[-1], True
                self.context.set(core.i.payload, {"data": beat.data, "last": beat.last, "id": beat.block})
            taking = not next(stalling)
            self.context.set(core.i.valid, offering)
            self.context.set(core.o.ready, taking)
            ready, valid, payload = await self.tick(core.i.ready, core.o.valid, core.o.payload)
            idle += 1
            if offering and ready:
                traffic.taken.append(cycle)
                waiting.pop()
                offering, idle = False, 0
            if valid and taking:
                traffic.beats.append(Beat(payload.data, bool(payload.last), payload.id, bool(payload.bad)))
                traffic.left.append(cycle)
                idle = 0
            cycle += 1
            if idle > patience:
                traffic.hung = True
                break
        self.context.set(core.i.valid, 0)
        self.context.set(core.o.ready, 0)
        return traffic


def with_engine(engine: EngineConfig | EngineCore, act: Callable[[EngineHost], Awaitable[None]]) -> None:
    """Run ``await act(host)`` on an engine's core, in simulation, with a reset."""
    core = EngineCore(engine) if isinstance(engine, EngineConfig) else engine
    reset = Signal()

    async def bench(context: Any) -> None:
        await act(EngineHost(context, core, reset))

    simulator = Simulator(ResetInserter(reset)(core))
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
