"""Tiles behind registers: between these and the `FrameWriter`, each keeps what the other relies on."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Assume, Module, Signal

from ...crossbar.controlled import ControlledCrossbar
from ..surroundings import Surrounded
from .property import Property
from .streams import TILE, TILE_FOLDING, TILE_OPEN, waited, writes_one_by_one


class WatchedTiles(ControlledCrossbar):
    """Tiles under control, with the assertion that their `FrameWriter` gets what its own proof relies on.

    The tiles are left open; assumed of them is that no vector leaves that has not entered.
    """

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        writes_one_by_one(m, m.submodules.writer, "assert")
        m.d.comb += Assume(~m.submodules.tile.codes.valid | self.control.busy)
        return m


def registers_control(m: Module, part: Any) -> None:
    """The surroundings of tiles under control: what `streams/registers CrossbarRegisters` proves of the registers."""
    waits, run = waited(m, part.control.write), Signal()
    m.d.sync += run.eq(part.control.run)
    m.d.comb += [Assume(~waits | run | ~part.control.run), Assume(~waits | ~part.control.restart)]


TILES = (
    Property(
        "crossbar/frames are written undisturbed",
        "while a word waits to be written, writing stays allowed, and the frame is not abandoned",
        lambda: Surrounded(WatchedTiles(TILE, TILE_FOLDING), registers_control, rules=False),
        open=TILE_OPEN,
        fast=False,
    ),
)
