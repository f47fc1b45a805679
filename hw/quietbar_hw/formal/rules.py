"""Assertions about streams, as components that stand beside the streams they watch."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal

from amaranth.hdl import Array, Assert, Assume, Module, Shape, ShapeLike, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In

Role = Literal["assert", "assume"]


class StreamRules(wiring.Component):
    """The rules of a stream: once raised, ``valid`` stays, and the payload with it, until the transfer happens.

    They are those of Amaranth's stream RFC (61) and of AXI4-Stream (Arm IHI 0051, 2.2.1). Say ``assert`` of a stream
    that the design under proof drives, and ``assume`` of one that its surroundings drive.

    Members:
        valid, ready, payload: In, the signals of the stream as they stand in each cycle.
        dropped: In(1), low if unconnected: what is offered in this cycle need not be in the next.
    """

    def __init__(self, shape: ShapeLike, role: Role = "assert") -> None:
        self.role = role
        width = Shape.cast(shape).width
        super().__init__({"valid": In(1), "ready": In(1), "payload": In(width), "dropped": In(1)})

    @classmethod
    def watch(cls, m: Module, watched: Any, name: str, role: Role = "assert") -> StreamRules:
        """Add the rules to ``m`` for the stream interface ``watched``, under ``name``."""
        payload = Value.cast(watched.payload)
        m.submodules[name] = rules = cls(len(payload), role)
        m.d.comb += [
            rules.valid.eq(watched.valid),
            rules.ready.eq(watched.ready),
            rules.payload.eq(payload),
        ]
        return rules

    def elaborate(self, platform: object) -> Module:
        m = Module()
        say = Assert if self.role == "assert" else Assume
        waiting, waited = Signal(), Signal.like(self.payload)
        lost, changed = Signal(), Signal()
        m.d.sync += [waiting.eq(self.valid & ~self.ready & ~self.dropped), waited.eq(self.payload)]
        m.d.comb += [
            lost.eq(waiting & ~self.valid),
            changed.eq(waiting & self.valid & (self.payload != waited)),
            say(~lost),
            say(~changed),
        ]
        return m


BROKEN = {"lost": "was withdrawn while it waited", "changed": "changed while it waited"}
"""What it means that one of these signals of `StreamRules` is high."""


class OrderedContents(wiring.Component):
    """What goes in comes out, in order, once: a queue of registers that is filled and emptied along with the design.

    Members:
        put, put_payload: In, an element enters the design in this cycle.
        offered, taken, offered_payload: In, the design offers an element, and it leaves.
        count: Out, elements inside.

    Asserts that nothing is offered while nothing is inside, that what is offered is the oldest, that no more than
    ``capacity`` elements get in, and that something is offered at the latest ``latency`` cycles after it entered
    a design that was empty.
    """

    def __init__(self, shape: ShapeLike, capacity: int, latency: int = 1) -> None:
        self.width, self.capacity, self.latency = Shape.cast(shape).width, capacity, latency
        super().__init__(
            {
                "put": In(1),
                "put_payload": In(self.width),
                "offered": In(1),
                "taken": In(1),
                "offered_payload": In(self.width),
                "count": wiring.Out(range(capacity + 2)),
            }
        )

    @classmethod
    def watch(cls, m: Module, into: Any, out: Any, capacity: int, latency: int = 1) -> OrderedContents:
        """Add the contract to ``m`` for a design from stream ``into`` to stream ``out``, of equal payloads."""
        payload, offered = Value.cast(into.payload), Value.cast(out.payload)
        m.submodules.contents = contents = cls(len(payload), capacity, latency)
        m.d.comb += [
            contents.put.eq(into.valid & into.ready),
            contents.put_payload.eq(payload),
            contents.offered.eq(out.valid),
            contents.taken.eq(out.valid & out.ready),
            contents.offered_payload.eq(offered),
        ]
        return contents

    def elaborate(self, platform: object) -> Module:
        m = Module()
        slots = [Signal(self.width, name=f"slot_{index}") for index in range(self.capacity + 1)]
        m.d.sync += self.count.eq(self.count + self.put - self.taken)
        place = Signal(range(self.capacity + 2))
        m.d.comb += place.eq(self.count - self.taken)
        with m.If(self.taken):
            m.d.sync += [slot.eq(later) for slot, later in pairwise(slots)]
        with m.If(self.put):
            m.d.sync += Array(slots)[place].eq(self.put_payload)
        m.d.comb += Assert(self.count <= self.capacity)
        silent = Signal(range(self.latency + 1))
        m.d.comb += Assert(silent < self.latency)
        with m.If(self.offered | (self.count == 0)):
            m.d.sync += silent.eq(0)
        with m.Else():
            m.d.sync += silent.eq(silent + 1)
            m.d.comb += Assert(silent + 1 < self.latency)
        with m.If(self.offered):
            m.d.comb += [Assert(self.count != 0), Assert(self.offered_payload == slots[0])]
        return m


class Patience(wiring.Component):
    """Assumes that the taker of a stream lets it wait for at most ``cycles`` cycles in a row.

    Induction needs it where a difference between design and model could otherwise hide for ever behind a stall.

    Members:
        valid, ready: In, of the stream.
    """

    def __init__(self, cycles: int) -> None:
        self.cycles = cycles
        super().__init__({"valid": In(1), "ready": In(1)})

    @classmethod
    def watch(cls, m: Module, watched: Any, name: str, cycles: int) -> Patience:
        """Add the assumption to ``m`` for the stream interface ``watched``, under ``name``."""
        m.submodules[name] = patience = cls(cycles)
        m.d.comb += [patience.valid.eq(watched.valid), patience.ready.eq(watched.ready)]
        return patience

    def elaborate(self, platform: object) -> Module:
        m = Module()
        waited = Signal(range(self.cycles + 1))
        m.d.comb += Assume(waited <= self.cycles)
        with m.If(self.valid & ~self.ready):
            m.d.comb += Assume(waited < self.cycles)
            m.d.sync += waited.eq(waited + 1)
        with m.Else():
            m.d.sync += waited.eq(0)
        return m
