"""Parts left open: in their place anything that keeps the promise which is proven of them elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from amaranth.hdl import Instance, Module, Signal, Value

from .. import stream
from .rules import StreamRules

ANYTHING = "quietbar_anything"
"""Name of the instances that :func:`quietbar_hw.formal.prove.to_rtlil` makes Yosys' cells of any value."""


def anything(m: Module, width: int, name: str) -> Signal:
    """A signal of ``m`` that may have any value in any cycle."""
    found = Signal(width, name=name)
    m.submodules[f"{name}_is_open"] = Instance(ANYTHING, p_WIDTH=width, o_Y=found)
    return found


class OpenQueue(stream.Queue):
    """Instead of a queue: takes elements when it likes, and offers whatever elements under the stream rules."""

    def elaborate(self, platform: object) -> Module:
        m = Module()
        payload = Value.cast(self.o.payload)
        m.d.comb += [
            payload.eq(anything(m, len(payload), "offered")),
            self.o.valid.eq(anything(m, 1, "offering")),
            self.i.ready.eq(anything(m, 1, "taking")),
        ]
        StreamRules.watch(m, self.o, "rules", "assume")
        return m


@contextlib.contextmanager
def open_queues() -> Iterator[None]:
    """Within the context, every `Queue` that is elaborated is an `OpenQueue`.

    What is proven then holds with queues of any depth, and any other part that keeps the stream rules, in their place.
    """
    elaborate = stream.Queue.elaborate
    stream.Queue.elaborate = OpenQueue.elaborate  # type: ignore[method-assign]
    try:
        yield
    finally:
        stream.Queue.elaborate = elaborate  # type: ignore[method-assign]
