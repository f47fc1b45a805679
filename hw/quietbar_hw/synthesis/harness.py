"""A harness with four pins round any component, so that a design with more ports than a package can be placed."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..verilog import port_signals


class PinHarness(wiring.Component):
    """Feeds a component from a shift register and folds its outputs into another: ports become paths between registers.

    Every input is driven by a register of its own, every output ends at one exclusive-or and a register: so the
    fastest clock that is found holds for the component between registers, without the delays of pins. The harness adds
    a flip-flop to each bit of a port and a LUT4 to each bit of an output; resources are therefore counted without it.

    Members (with ``clk`` and ``rst``, the four pins):
        shift_in: In(1), the next bit of the inputs.
        shift_out: Out(1), the outputs of the past, folded.
    """

    def __init__(self, component: Any) -> None:
        self.component = component
        super().__init__({"shift_in": In(1), "shift_out": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.design = self.component
        ports = port_signals(self.component)
        inputs = [Value.cast(value) for value, direction in ports.values() if direction.value == "input"]
        outputs = [Value.cast(value) for value, direction in ports.values() if direction.value == "output"]

        driving = Signal(max(1, sum(map(len, inputs))))
        m.d.sync += driving.eq(Cat(self.shift_in, driving))
        m.d.comb += Cat(inputs).eq(driving)

        watched = Cat(outputs)
        folded = Signal(max(2, len(watched)))
        m.d.sync += folded.eq(Cat(driving[-1], folded) ^ watched)
        m.d.comb += self.shift_out.eq(folded[-1])
        return m
