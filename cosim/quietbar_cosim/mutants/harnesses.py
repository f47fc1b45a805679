"""What is proven of a part with streams ``s_axis`` and ``m_axis``, whatever fault is in it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from amaranth.hdl import Cat, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from quietbar_hw.formal import OrderedContents, Patience, StreamRules


class KeepsRules(wiring.Component):
    """A part whose output keeps the rules of streams as long as its inputs do.

    Its ports are the part's, with the part's latency and handshake.
    """

    def __init__(self, part: Any) -> None:
        self.part = part
        super().__init__(part.signature)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.part = part = self.part
        for name, member in self.signature.members.items():
            inside, outside = getattr(part, name), getattr(self, name)
            m.d.comb += inside.eq(outside) if member.flow is In else outside.eq(inside)
        for name in ("s_axis", "s_axis_cfg"):
            if hasattr(self, f"{name}_tdata"):
                StreamRules.watch(m, stream_of(self, name), f"{name}_rules", "assume")
        StreamRules.watch(m, stream_of(self, "m_axis"), "m_axis_rules")
        return m


class KeepsOrder(KeepsRules):
    """A part of two elements' room: what goes in comes out, in order, once, behind stalls of two cycles at most."""

    CAPACITY = 2
    STALLED = 2

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        into, out = stream_of(self, "s_axis", last=False), stream_of(self, "m_axis")
        OrderedContents.watch(m, into, out, self.CAPACITY)
        Patience.watch(m, out, "patience", self.STALLED)
        return m


def stream_of(component: Any, name: str, last: bool = True) -> SimpleNamespace:
    """Payload, valid and ready of a stream of a component; ``tlast`` and ``tid`` belong to the payload."""
    members = [f"{name}_t{part}" for part in ("data", *(("last", "id") if last else ()))]
    payload = Cat(getattr(component, member) for member in members if hasattr(component, member))
    return SimpleNamespace(
        payload=payload, valid=getattr(component, f"{name}_tvalid"), ready=getattr(component, f"{name}_tready")
    )
