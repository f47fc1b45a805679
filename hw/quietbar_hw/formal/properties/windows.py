"""The line buffer against what a window is, for all small frames."""

from __future__ import annotations

from typing import Any, Literal

from amaranth.hdl import Assert, Assume, Module, Mux, Signal, Value

from quietbar.contract import IntegerFormat

from ...conv import LineBuffer
from ..surroundings import Surrounded
from .property import Property

BIT = IntegerFormat(1, False)
LARGEST, LARGEST_INTERRUPTED = 4, 3
"""Rows and columns of the frames, and of those whose proofs look at every moment in which something may pause."""
AHEAD = 64
"""More pixels than there ever are inside."""


def low_once(m: Module, value: Value, name: str) -> None:
    """Assume that ``value`` is high but for one time, whenever that is and however long it lasts."""
    fell, rose = Signal(name=f"{name}_fell"), Signal(name=f"{name}_rose")
    m.d.sync += [fell.eq(fell | ~value), rose.eq(rose | (fell & value))]
    m.d.comb += Assume(value | ~rose)


def windows_of(height: int, width: int, gap: bool, stalls: Literal["none", "once", "any"]) -> Any:
    """Asserts that the k-th window is that of the k-th pixel: its nine neighbors, zero outside its frame.

    The buffer moves pixels and never looks at them. So it is enough that at most one pixel of the stream is 1,
    whichever it is: a window that has a wrong pixel anywhere has that one where it does not belong, or not where it
    does.

    Args:
        height, width: of the frame.
        gap: whether pixels stay away for once; otherwise there always is one.
        stalls: how often windows have to wait.
    """

    def beside(m: Module, part: LineBuffer) -> None:
        pixel = Value.cast(part.i.payload)
        if gap:
            low_once(m, part.i.valid, "gap")
        else:
            m.d.comb += Assume(part.i.valid)
        if stalls == "once":
            low_once(m, part.o.ready, "stall")
        elif stalls == "none":
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


GAP, STALL = ", a gap", ", a stall"


def _property(height: int, width: int, interrupted: str) -> Property:
    any_stalls = height * width <= 2 and not interrupted
    stalls: Literal["none", "once", "any"] = "any" if any_stalls else "once" if interrupted == STALL else "none"
    how = {
        GAP: ", with pixels that stay away for once, at any time and for any time",
        STALL: ", with windows that have to wait for once, at any time and for any time",
        "": ", taken with any stalls" if any_stalls else "",
    }[interrupted]
    return Property(
        f"windows/{height} x {width}{interrupted}",
        f"each window holds the neighbors of its pixel, and zeros outside the frame, over two frames back to back{how}",
        lambda: Surrounded(LineBuffer(height, width, 1, 1, BIT), windows_of(height, width, interrupted == GAP, stalls)),
        method="bounded",
        depth=2 * height * width + 2 * width + 12,
        fast=height == width == 2 and not interrupted,
    )


WINDOWS = tuple(
    _property(height, width, interrupted)
    for interrupted in ("", GAP, STALL)
    for height in range(1, LARGEST + 1)
    for width in range(1, LARGEST + 1)
    if not interrupted or max(height, width) <= LARGEST_INTERRUPTED
)
