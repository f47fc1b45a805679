"""The AXI4-Lite side of a register bank: five channels in, one access at a time out.

AMBA AXI and ACE Protocol Specification, Arm IHI 0022, chapter B1.
"""

from __future__ import annotations

import enum
from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .model import WORD_BITS, WORD_BYTES


class Response(enum.IntEnum):
    """What a transfer is answered with."""

    OKAY = 0
    SLAVE_ERROR = 2


def axi_lite_members(name: str, address_bits: int) -> dict[str, Any]:
    """Members of an AXI4-Lite slave port with flat signals ``name_awaddr`` and so on, 32 bits of data."""
    return {
        f"{name}_awaddr": In(address_bits),
        f"{name}_awprot": In(3),
        f"{name}_awvalid": In(1),
        f"{name}_awready": Out(1),
        f"{name}_wdata": In(WORD_BITS),
        f"{name}_wstrb": In(WORD_BYTES),
        f"{name}_wvalid": In(1),
        f"{name}_wready": Out(1),
        f"{name}_bresp": Out(2),
        f"{name}_bvalid": Out(1),
        f"{name}_bready": In(1),
        f"{name}_araddr": In(address_bits),
        f"{name}_arprot": In(3),
        f"{name}_arvalid": In(1),
        f"{name}_arready": Out(1),
        f"{name}_rdata": Out(WORD_BITS),
        f"{name}_rresp": Out(2),
        f"{name}_rvalid": Out(1),
        f"{name}_rready": In(1),
    }


def connect_axi_lite(m: Module, outside: Any, inside: Any, name: str = "s_axil") -> None:
    """Pass an AXI4-Lite slave port through: from the one of a top to that of a part of it."""
    for member, direction in axi_lite_members(name, 1).items():
        outer, inner = getattr(outside, member), getattr(inside, member)
        m.d.comb += inner.eq(outer) if direction.flow is In else outer.eq(inner)


class AxiLiteSlave(wiring.Component):
    """Takes the transfers of an AXI4-Lite port and makes them accesses, one at a time.

    Write address and write data may come in either order, any number of cycles apart. No ready depends on a valid, and
    none of the responses waits for the other one: whatever a master waits for first, it gets. Reads and writes that
    wait at the same time take turns.

    Timing: an access begins one cycle after its last channel was taken, and its response is offered one cycle after
    ``done``. A write every two cycles, a read every two cycles, with a master that waits for nothing and accesses that
    are done at once.

    Members:
        s_axil_...: the port.
        start: Out(1), high from the beginning of an access to its end.
        write, address, data, strobe: Out, which access; steady while ``start``.
        done: In(1), the access ends in this cycle; only while ``start``.
        result: In, what was read.
        refused: In(1), the access is answered with SLVERR.
    """

    def __init__(self, address_bits: int) -> None:
        super().__init__(
            {
                **axi_lite_members("s_axil", address_bits),
                "start": Out(1),
                "write": Out(1),
                "address": Out(address_bits),
                "data": Out(WORD_BITS),
                "strobe": Out(WORD_BYTES),
                "done": In(1),
                "result": In(WORD_BITS),
                "refused": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        have_aw, have_w, have_ar = Signal(), Signal(), Signal()
        aw, ar = Signal.like(self.s_axil_awaddr, reset_less=True), Signal.like(self.s_axil_araddr, reset_less=True)
        m.d.comb += [
            self.s_axil_awready.eq(~have_aw),
            self.s_axil_wready.eq(~have_w),
            self.s_axil_arready.eq(~have_ar),
        ]
        with m.If(self.s_axil_awvalid & self.s_axil_awready):
            m.d.sync += [have_aw.eq(1), aw.eq(self.s_axil_awaddr)]
        with m.If(self.s_axil_wvalid & self.s_axil_wready):
            m.d.sync += [have_w.eq(1), self.data.eq(self.s_axil_wdata), self.strobe.eq(self.s_axil_wstrb)]
        with m.If(self.s_axil_arvalid & self.s_axil_arready):
            m.d.sync += [have_ar.eq(1), ar.eq(self.s_axil_araddr)]

        # An access that has begun goes on; of two that wait, the one goes first that did not go last.
        wants_write = have_aw & have_w & (~self.s_axil_bvalid | self.s_axil_bready)
        wants_read = have_ar & (~self.s_axil_rvalid | self.s_axil_rready)
        going, going_write, last_write = Signal(), Signal(), Signal()
        with m.If(going):
            m.d.comb += [self.start.eq(1), self.write.eq(going_write)]
        with m.Else():
            m.d.comb += [
                self.start.eq(wants_write | wants_read),
                self.write.eq(wants_write & ~(wants_read & last_write)),
            ]
        with m.If(self.write):
            m.d.comb += self.address.eq(aw)
        with m.Else():
            m.d.comb += self.address.eq(ar)
        m.d.sync += [going.eq(self.start & ~self.done), going_write.eq(self.write)]

        with m.If(self.s_axil_bready):
            m.d.sync += self.s_axil_bvalid.eq(0)
        with m.If(self.s_axil_rready):
            m.d.sync += self.s_axil_rvalid.eq(0)
        response = Signal(2)
        with m.If(self.refused):
            m.d.comb += response.eq(Response.SLAVE_ERROR)
        with m.If(self.start & self.done):
            m.d.sync += last_write.eq(self.write)
            with m.If(self.write):
                m.d.sync += [have_aw.eq(0), have_w.eq(0), self.s_axil_bvalid.eq(1), self.s_axil_bresp.eq(response)]
            with m.Else():
                m.d.sync += [
                    have_ar.eq(0),
                    self.s_axil_rvalid.eq(1),
                    self.s_axil_rresp.eq(response),
                    self.s_axil_rdata.eq(self.result),
                ]
        return m
