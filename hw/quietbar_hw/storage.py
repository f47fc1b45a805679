"""Memories."""

from __future__ import annotations

from amaranth.hdl import ShapeLike
from amaranth.lib.memory import Memory


def storage(shape: ShapeLike, rows: int) -> Memory:
    """A memory for ``rows`` rows, all zero at first; two at least, because Verilog has no addresses without bits."""
    return Memory(shape=shape, depth=max(rows, 2), init=[])
