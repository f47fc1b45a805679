"""A serial line: one start bit, eight data bits, the low one first, one stop bit, no parity."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from quietbar.contract.errors import require_integer

LEAST_DIVISOR = 8
"""Cycles of a bit from which the clocks of the two ends may differ by two in a hundred."""
FRAME_BITS = 10

ReceivedByte = data.StructLayout({"byte": 8, "spoilt": 1})
"""A byte from the line; ``spoilt`` where its stop bit was not there, as in a break or at a wrong speed."""


def check_divisor(divisor: int) -> None:
    """Refuse cycles of a bit that receiver and transmitter cannot work with."""
    require_integer("uart.divisor", divisor, LEAST_DIVISOR, 1 << 24)


class UartReceiver(wiring.Component):
    """Bytes from a line.

    Timing: a byte is given out in the middle of its stop bit, for one cycle. A line that stays low gives one spoilt
    byte; the next one begins after the line was high again.

    Args:
        divisor: cycles of a bit.

    Members:
        rx: In(1), the line, of another clock; high when idle.
        o: Out(stream of `ReceivedByte`, always ready).
    """

    def __init__(self, divisor: int) -> None:
        check_divisor(divisor)
        self.divisor = divisor
        super().__init__({"rx": In(1, init=1), "o": Out(stream.Signature(ReceivedByte, always_ready=True))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        rx = Signal(init=1)
        m.submodules.synchronizer = FFSynchronizer(self.rx, rx, init=1)
        left = Signal(range(self.divisor), reset_less=True)
        bits = Signal(range(FRAME_BITS), reset_less=True)
        m.d.sync += left.eq(left - 1)
        with m.FSM():
            with m.State("IDLE"):
                # The edge is seen a cycle late, or two.
                m.d.sync += [left.eq(self.divisor // 2 - 2), bits.eq(0)]
                with m.If(~rx):
                    m.next = "BITS"
            with m.State("BITS"), m.If(left == 0):
                m.d.sync += [left.eq(self.divisor - 1), bits.eq(bits + 1)]
                with m.If(bits == FRAME_BITS - 1):
                    m.d.comb += [self.o.valid.eq(1), self.o.p.spoilt.eq(~rx)]
                    m.next = "HIGH"
                with m.Elif((bits == 0) & rx):
                    m.next = "IDLE"  # A spike, no start bit.
                with m.Else():
                    m.d.sync += self.o.p.byte.eq(Cat(self.o.p.byte[1:], rx))
            with m.State("HIGH"), m.If(rx):
                m.next = "IDLE"
        return m


class UartTransmitter(wiring.Component):
    """Bytes to a line.

    Timing: ``10 * divisor`` cycles a byte, without a gap where the next one is there.

    Args:
        divisor: cycles of a bit.

    Members:
        i: In(stream of 8 bits).
        tx: Out(1), the line.
    """

    def __init__(self, divisor: int) -> None:
        check_divisor(divisor)
        self.divisor = divisor
        super().__init__({"i": In(stream.Signature(8)), "tx": Out(1, init=1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        left = Signal(range(self.divisor), reset_less=True)
        bits = Signal(range(FRAME_BITS + 1))
        shift = Signal(FRAME_BITS - 1, reset_less=True)
        ends_bit = left == 0
        m.d.comb += self.i.ready.eq((bits == 0) | ((bits == 1) & ends_bit))
        with m.If(self.i.ready):
            m.d.sync += [left.eq(self.divisor - 1), bits.eq(Mux(self.i.valid, FRAME_BITS, 0))]
            m.d.sync += [self.tx.eq(~self.i.valid), shift.eq(Cat(self.i.payload, Const(1, 1)))]
        with m.Elif(ends_bit):
            m.d.sync += [left.eq(self.divisor - 1), bits.eq(bits - 1)]
            m.d.sync += [self.tx.eq(shift[0]), shift.eq(Cat(shift[1:], Const(1, 1)))]
        with m.Else():
            m.d.sync += left.eq(left - 1)
        return m
