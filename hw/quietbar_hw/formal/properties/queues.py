"""Contracts of what holds elements: all that goes in comes out, in order, once, and without undue delay."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Assert, Module, Signal, Value

from ...register_slice import RegisterSlice
from ...stream import Fork, Queue, ResultQueue
from ..rules import OrderedContents
from ..surroundings import Surrounded
from .property import Property
from .streams import launches_where_there_is_room


def keeps_order(capacity: int, latency: int = 1, into: str = "i") -> Any:
    """A contract to be put beside a component from stream ``into`` to stream ``o``."""

    def beside(m: Module, part: Any) -> None:
        OrderedContents.watch(m, getattr(part, into), part.o, capacity, latency)

    return beside


def results_keep_order(m: Module, part: ResultQueue) -> None:
    """A `ResultQueue` loses no arrival: what was launched into room finds a place."""
    launches_where_there_is_room(m, part)
    keeps_order(part.depth, into="arrivals")(m, part)


def copies_once(m: Module, part: Fork) -> None:
    """Each output of a `Fork` has taken a copy exactly once when the input is accepted, and it is the input's."""
    accepted = part.i.valid & part.i.ready
    for index in range(part.count):
        output = getattr(part, f"o_{index}")
        taken, had = output.valid & output.ready, Signal(name=f"had_{index}")
        m.d.sync += had.eq((had | taken) & ~accepted)
        m.d.comb += [
            Assert(~(had & output.valid)),
            Assert(~accepted | had | taken),
            Assert(~output.valid | part.i.valid),
            Assert(Value.cast(output.payload) == Value.cast(part.i.payload)),
            # An output waits for nobody but the input.
            Assert(output.valid == (part.i.valid & ~had)),
        ]


QUEUES = (
    Property(
        "queues/RegisterSlice",
        "holds up to 2 elements in order and offers one a cycle after it came",
        lambda: Surrounded(RegisterSlice(2), keeps_order(2)),
    ),
    Property(
        "queues/Queue",
        "holds up to 4 elements in order and offers one a cycle after it came",
        lambda: Surrounded(Queue(2, 4), keeps_order(4)),
    ),
    Property(
        "queues/Queue of odd depth",
        "holds up to 3 elements in order and offers one a cycle after it came",
        lambda: Surrounded(Queue(2, 3), keeps_order(3)),
    ),
    Property(
        "queues/Queue in block RAM",
        "holds up to 4 elements in order and offers one two cycles after it came",
        lambda: Surrounded(Queue(2, 4, block=True), keeps_order(4, 2)),
    ),
    Property(
        "queues/ResultQueue",
        "with launches into room only, all of up to 3 results come out in order",
        lambda: Surrounded(ResultQueue(2, 3), results_keep_order),
    ),
    Property(
        "queues/Fork",
        "each of 3 outputs takes each element once, waiting for the input alone",
        lambda: Surrounded(Fork(2, 3), copies_once),
    ),
)
