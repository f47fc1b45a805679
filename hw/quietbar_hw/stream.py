"""Streams: what the components of a pipeline need to speak valid and ready to one another.

A transfer happens in each cycle in which both ``valid`` and ``ready`` are high. A source keeps ``valid`` and the
payload until the transfer happens, and never waits for ``ready`` before it raises ``valid``.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Shape, ShapeLike, Signal, Value, ValueCastable
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract import require, require_integer
from quietbar.contract.stream import CONFIGURATION_WORD_BITS

from .counting import Loop, step_through
from .storage import storage

LoadWord = data.StructLayout({"word": CONFIGURATION_WORD_BITS, "first": 1})
"""A word of configuration on its way to the component that it configures; ``first`` is set on the first of an image."""

LOAD = stream.Signature(LoadWord, always_ready=True)
"""How a component is loaded: one word in any cycle."""


def delay(m: Module, value: Any, cycles: int, name: str, *, reset_less: bool = True) -> Any:
    """``value`` as it was ``cycles`` cycles ago; control bits want ``reset_less`` False."""
    shape = value.shape() if isinstance(value, Value | ValueCastable) else Shape.cast(value)
    for cycle in range(1, cycles + 1):
        later = Signal(shape, name=f"{name}_{cycle}", reset_less=reset_less)
        m.d.sync += later.eq(value)
        value = later
    return value


class Queue(wiring.Component):
    """A first-in first-out queue in memory.

    Timing: one transfer a cycle at either end; an element can leave ``LATENCY`` cycles after it came. With ``block``,
    the memory is read synchronously (block RAM) and the element can leave one cycle later.

    Args:
        shape: of an element.
        depth: elements that the queue holds, at least 2.
        block: whether to use block RAM; otherwise the memory is read asynchronously (distributed RAM).
    """

    LATENCY = 1

    def __init__(self, shape: ShapeLike, depth: int, *, block: bool = False) -> None:
        require_integer("queue.depth", depth, 2, 1 << 24)
        self.shape, self.depth, self.block = shape, depth, block
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        rows = self.depth - self.block
        m.submodules.storage = memory = storage(Shape.cast(self.shape).width, rows)
        write, read = memory.write_port(), memory.read_port(domain="sync" if self.block else "comb")
        # Whether there is room, and whether there is anything, are registers: much hangs on both. The level is counted
        # from where it ends at a power of two, so that its highest bit says that the memory is full.
        power = 1 << (rows - 1).bit_length()
        level, there = Signal(range(2 * power), init=power - rows), Signal()
        full, last = level[-1], level == power - rows + 1
        writing, reading = Signal(), Signal()
        m.d.comb += [
            self.i.ready.eq(~full),
            writing.eq(self.i.valid & ~full),
            write.en.eq(writing),
            write.data.eq(Value.cast(self.i.payload)),
            Value.cast(self.o.payload).eq(read.data),
        ]
        for port, moving in ((write, writing), (read, reading)):
            place = Signal(range(rows), name="write_place" if port is write else "read_place")
            m.d.comb += port.addr.eq(place)
            with m.If(moving):
                m.d.sync += place.eq(Mux(place == rows - 1, 0, place + 1) if rows & (rows - 1) else place + 1)
        with m.If(writing != reading):
            m.d.sync += [level.eq(Mux(writing, level + 1, level - 1)), there.eq(writing | ~last)]
        if self.block:
            offered = Signal()
            m.d.comb += [reading.eq(there & (~offered | self.o.ready)), read.en.eq(reading), self.o.valid.eq(offered)]
            with m.If(reading | self.o.ready):
                m.d.sync += offered.eq(reading)
        else:
            m.d.comb += [reading.eq(there & self.o.ready), self.o.valid.eq(there)]
        return m


class ResultQueue(wiring.Component):
    """Makes a pipeline that cannot stop elastic, by credit.

    The pipeline may ``launch`` a computation while ``room`` is high; its ``count`` results then arrive one by one, each
    marked by ``arrivals.valid``, and always find a place. Whoever sizes the queue says how many results can be
    outstanding (in the pipeline or in the queue) at full speed: :func:`credit` tells. ``block``: see `Queue`.

    Members:
        launch: In(1), a computation is launched in this cycle; only while ``room``.
        count: In, how many results it will have: ``burst`` if unconnected, and never more.
        room: Out(1).
        arrivals: In(stream of ``shape``, always ready), the results.
        o: Out(stream of ``shape``), the results, elastic. The first is there one cycle after its arrival, with
            ``block`` two.
    """

    def __init__(self, shape: ShapeLike, depth: int, burst: int = 1, *, block: bool = False) -> None:
        require(depth >= burst, "result_queue.depth", depth, f"at least the burst of {burst}")
        self.shape, self.depth, self.burst, self.block = shape, depth, burst, block
        super().__init__(
            {
                "launch": In(1),
                "count": In(range(burst + 1), init=burst),
                "room": Out(1),
                "arrivals": In(stream.Signature(shape, always_ready=True)),
                "o": Out(stream.Signature(shape)),
            }
        )

    @staticmethod
    def credit(latency: int, burst: int = 1, interval: int = 1) -> int:
        """Depth that lets a pipeline launch every ``interval`` cycles (at least ``burst``) when results leave at once.

        ``latency`` counts from the launch to the first arrival.
        """
        outstanding, age = burst, interval
        while age < latency + burst + Queue.LATENCY + 1:
            left = max(0, age - latency - Queue.LATENCY)
            outstanding, age = outstanding + burst - left, age + interval
        return max(outstanding, 2)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # Addresses need no comparison where they are a power of two; credit, not the queue, keeps to the depth.
        rows = 1 << (self.depth - 1).bit_length()
        m.submodules.queue = queue = Queue(self.shape, rows + self.block, block=self.block)
        # Results outstanding beyond those that leave room for another launch, in two's complement: room is the sign, a
        # register. (Verilator 5.052 gets the sum of signed operands wrong where it counts coverage.)
        room = self.depth - self.burst + 1
        width = Shape.cast(range(-room, self.burst)).width
        beyond = Signal(width, init=(1 << width) - room)
        leaving = self.o.valid & self.o.ready
        m.d.comb += [
            self.room.eq(beyond[-1]),
            queue.i.payload.eq(self.arrivals.payload),
            queue.i.valid.eq(self.arrivals.valid),
        ]
        m.d.sync += beyond.eq(beyond + Mux(self.launch, self.count, 0) - leaving)
        wiring.connect(m, queue.o, wiring.flipped(self.o))
        return m


class Resize(wiring.Component):
    """Regroups a stream of element groups: from ``before`` elements a transfer to ``after``, in order.

    One number divides the other. Narrowing passes the parts of a group through a multiplexer; the group is taken with
    its last part. Widening collects parts, and offers the group together with the last part of it. Both cost no cycle:
    the busier end makes a transfer every cycle.

    Members:
        i: In(stream of ``before`` elements).
        o: Out(stream of ``after`` elements).
    """

    def __init__(self, element: ShapeLike, before: int, after: int) -> None:
        require(before % after == 0 or after % before == 0, "resize.after", after, f"a divisor or multiple of {before}")
        self.element, self.before, self.after = element, before, after
        super().__init__(
            {
                "i": In(stream.Signature(data.ArrayLayout(element, before))),
                "o": Out(stream.Signature(data.ArrayLayout(element, after))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if self.before == self.after:
            wiring.connect(m, wiring.flipped(self.i), wiring.flipped(self.o))
            return m
        parts = max(self.before, self.after) // min(self.before, self.after)
        part = Loop("part", parts)
        last = part.at_end
        narrow = self.o if self.before > self.after else self.i
        step_through(m, narrow.valid & narrow.ready, part)

        source, target = Value.cast(self.i.payload), Value.cast(self.o.payload)
        if self.before > self.after:
            m.d.comb += [
                target.eq(source.word_select(part.counter, len(target))),
                self.o.valid.eq(self.i.valid),
                self.i.ready.eq(self.o.ready & last),
            ]
        else:
            earlier = Signal(len(target) - len(source), reset_less=True)
            m.d.comb += [
                target.eq(Cat(earlier, source)),
                self.o.valid.eq(self.i.valid & last),
                self.i.ready.eq(self.o.ready | ~last),
            ]
            with m.If(self.i.valid & ~last):
                m.d.sync += earlier.eq(Cat(earlier, source)[len(source) :])
        return m


class Fork(wiring.Component):
    """Copies a stream to ``count`` streams ``o_0``, ``o_1``, ..., each of which takes its copy when it is ready.

    The input is accepted together with the last copy: at once if all are ready, so the fork costs no cycle.
    """

    def __init__(self, shape: ShapeLike, count: int) -> None:
        self.count = count
        outputs = {f"o_{index}": Out(stream.Signature(shape)) for index in range(count)}
        super().__init__({"i": In(stream.Signature(shape)), **outputs})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        taken, done = Signal(self.count), Signal(self.count)
        for index in range(self.count):
            output = getattr(self, f"o_{index}")
            m.d.comb += [
                output.payload.eq(self.i.payload),
                output.valid.eq(self.i.valid & ~taken[index]),
                done[index].eq(taken[index] | output.ready),
            ]
        m.d.comb += self.i.ready.eq(done.all())
        with m.If(self.i.valid):
            m.d.sync += taken.eq(Mux(done.all(), 0, done))
        return m
