"""The line buffer against what a window is, for all small frames."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Assert, Assume, Module, Mux, Signal, Value

from quietbar.contract import IntegerFormat

from ...conv import LineBuffer
from ..surroundings import Surrounded
from .property import Property

BIT = IntegerFormat(1, False)
LARGEST = 3
AHEAD = 32
"""More pixels than there ever are inside."""


def windows_of(height: int, width: int, stalls: bool) -> Any:
    """Asserts that the k-th window is that of the k-th pixel: its nine neighbors, zero outside its frame.

    The buffer moves pixels and never looks at them. So it is enough that at most one pixel of the stream is 1,
    whichever it is: a window that has a wrong pixel anywhere has that one where it does not belong, or not where it
    does.
    """

    def beside(m: Module, part: LineBuffer) -> None:
        pixel = Value.cast(part.i.payload)
        m.d.comb += Assume(part.i.valid)
        if not stalls:
            m.d.comb += Assume(part.o.ready)
        taken, leaving = part.i.valid & part.i.ready, part.o.valid & part.o.ready
        ahead, x, y = Signal(range(AHEAD)), Signal(range(max(width, 2))), Signal(range(max(height, 2)))
        # How many pixels the marked one is behind the next window's.
        marked, place = Signal(), Signal(range(-width - 2, AHEAD))
        m.d.sync += ahead.eq(ahead + taken - leaving)
        m.d.comb += [Assume(~(pixel & marked)), Assert(ahead != AHEAD - 1), Assert(~part.o.valid | (ahead != 0))]
        with m.If(leaving):
            m.d.sync += x.eq(Mux(x == width - 1, 0, x + 1))
            with m.If(x == width - 1):
                m.d.sync += y.eq(Mux(y == height - 1, 0, y + 1))
            with m.If(place != -width - 2):
                m.d.sync += place.eq(place - 1)
        with m.If(taken & pixel):
            m.d.sync += [marked.eq(1), place.eq(ahead - leaving)]
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                inside = (y + dy >= 0) & (y + dy < height) & (x + dx >= 0) & (x + dx < width)
                expected = marked & inside & (place == dy * width + dx)
                found = part.o.payload[3 * (dy + 1) + dx + 1]
                m.d.comb += Assert(~part.o.valid | (found == expected))

    return beside


def _property(height: int, width: int) -> Property:
    stalls = height * width <= 2
    return Property(
        f"windows/{height} x {width}",
        "each window holds the neighbors of its pixel, and zeros outside the frame, over two frames back to back"
        + (", taken with any stalls" if stalls else ""),
        lambda: Surrounded(LineBuffer(height, width, 1, 1, BIT), windows_of(height, width, stalls)),
        method="bounded",
        depth=2 * height * width + 2 * width + 12,
        fast=height * width == 4,
    )


WINDOWS = tuple(_property(height, width) for height in range(1, LARGEST + 1) for width in range(1, LARGEST + 1))
