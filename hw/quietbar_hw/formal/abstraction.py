"""Parts left open: in their place anything that keeps the promise which is proven of them elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from amaranth.hdl import Const, Instance, Module, Signal, Value
from amaranth.lib.wiring import Out

from .surroundings import Drops, keep_rules, stream_ports

ANYTHING = "quietbar_anything"
"""Name of the instances that :func:`quietbar_hw.formal.prove.to_rtlil` makes Yosys' cells of any value."""


def anything(m: Module, width: int, name: str) -> Signal:
    """A signal of ``m`` that may have any value in any cycle."""
    found = Signal(width, name=name)
    m.submodules[f"{name}_is_open"] = Instance(ANYTHING, p_WIDTH=width, o_Y=found)
    return found


def _open_part(part: Any, drops: Drops) -> Module:
    """Instead of ``part``: any values at all ports that go out, but the rules of the streams kept."""
    m = Module()
    for path, member, value in part.signature.flatten(part):
        if member.flow is Out and not isinstance(value, Const):
            target = Value.cast(value)
            m.d.comb += target.eq(anything(m, len(target), "_".join(map(str, path))))
    for port in stream_ports(part):
        if port.stalls and not port.taken:
            keep_rules(m, part, port, "assume", drops)
    return m


@contextlib.contextmanager
def left_open(parts: Mapping[type, Drops]) -> Iterator[None]:
    """Within the context, components of these classes do whatever they like, but for the rules of streams.

    What is proven then holds with any part that keeps the rules in their place, such as queues of any depth.

    Args:
        parts: classes, with when such a part may drop what it offers, see :class:`.surroundings.Surrounded`.
    """
    kept = {part: part.__dict__["elaborate"] for part in parts}
    for part, drops in parts.items():
        part.elaborate = lambda self, platform, drops=drops: _open_part(self, drops)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for part, elaborate in kept.items():
            part.elaborate = elaborate  # type: ignore[attr-defined]
