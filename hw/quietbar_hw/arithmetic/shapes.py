"""The contract's integer formats as Amaranth shapes."""

from __future__ import annotations

from amaranth.hdl import Shape

from quietbar.contract import IntegerFormat


def shape_of(number: IntegerFormat) -> Shape:
    """The Amaranth shape of an integer format."""
    return Shape(number.bits, signed=number.signed)
