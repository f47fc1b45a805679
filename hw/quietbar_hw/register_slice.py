"""A register between two streams that breaks every path between them."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Shape, ShapeLike, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out


class RegisterSlice(wiring.Component):
    """Two registers in a stream: all outputs at both ends come from registers.

    What is offered stays until it is taken, whatever happens at the input.

    Timing: a transfer every cycle at either end; an element can leave one cycle after it came.

    Members:
        i: In(stream of ``shape``).
        o: Out(stream of ``shape``).
    """

    def __init__(self, shape: ShapeLike) -> None:
        self.shape = shape
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits = Shape.cast(self.shape).width
        offered, spare = Signal(bits, reset_less=True), Signal(bits, reset_less=True)
        offering, holding = Signal(), Signal()
        entering = Value.cast(self.i.payload)
        leaving = self.o.ready | ~offering
        m.d.comb += [
            self.i.ready.eq(~holding),
            self.o.valid.eq(offering),
            Value.cast(self.o.payload).eq(offered),
        ]
        m.d.sync += holding.eq(~leaving & (holding | self.i.valid))
        with m.If(~holding):
            m.d.sync += spare.eq(entering)
        with m.If(leaving):
            m.d.sync += [offering.eq(holding | self.i.valid), offered.eq(Mux(holding, spare, entering))]
        return m
