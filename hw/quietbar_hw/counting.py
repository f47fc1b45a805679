"""Nested loops in hardware."""

from __future__ import annotations

from amaranth.hdl import Const, Module, Mux, Signal, Value


class Loop:
    """A loop that steps its ``counter`` through ``0, stride, ..., (count - 1) * stride`` and starts again.

    The counter of a loop that is gone through once is constant, yet one bit wide: Verilog has no signals without bits.

    Attributes:
        counter: the register.
        at_start, at_end: whether the counter has its first, its last value.
    """

    def __init__(self, name: str, count: int, stride: int = 1) -> None:
        self.count, self.stride = count, stride
        last = (count - 1) * stride
        self.counter = Signal(range(max(last + 1, 2)), name=name)
        self.at_start: Value = self.counter == 0 if count > 1 else Const(1)
        self.at_end: Value = self.counter == last if count > 1 else Const(1)


def step_through(m: Module, step: Value, *loops: Loop) -> Value:
    """Step the innermost loop (the first) when ``step`` is high, each other one when the loop inside it ends.

    Returns:
        High in the cycle of the very last step of all loops.
    """
    for loop in loops:
        if loop.count > 1:
            with m.If(step):
                m.d.sync += loop.counter.eq(Mux(loop.at_end, 0, loop.counter + loop.stride))
            step = step & loop.at_end
    return step
