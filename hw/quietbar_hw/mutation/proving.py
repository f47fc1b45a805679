"""Proofs about a design with a fault: the assertions of a harness, the part inside it taken from given RTLIL."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import ClockSignal, Instance, Module, ResetSignal
from amaranth.hdl._ir import PortDirection
from amaranth.lib import wiring

from ..formal.prove import Method, Verdict
from ..formal.satisfiability import prove_text
from ..verilog import port_signals

PART = "part"


class StandIn(wiring.Component):
    """Has the ports of ``part`` and, in its place, an instance of a module of that name.

    Signals go through as they are, with the latency and handshake of whatever module is put there.
    """

    def __init__(self, part: Any) -> None:
        super().__init__(part.signature)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        connections: dict[str, Any] = {"i_clk": ClockSignal(), "i_rst": ResetSignal()}
        for name, (value, direction) in port_signals(self).items():
            connections[f"{'i' if direction is PortDirection.Input else 'o'}_{name}"] = value
        m.submodules.part = Instance(PART, **connections)
        return m


def prove_planted(harness: Callable[[Any], Any], part: Any, text: str, method: Method, depth: int) -> Verdict:
    """Prove the assertions of ``harness(part)`` where the part's RTLIL is ``text``, its top module called ``top``.

    Raises:
        MissingToolError, ProofError: see :func:`quietbar_hw.formal.prove`.
    """
    component = harness(StandIn(part))
    around = rtlil.convert(component, name="top", ports=port_signals(component), emit_src=False)
    inside = re.sub(r"^attribute \\top 1\n", "", re.sub(r"\\top\b", rf"\\{PART}", text), flags=re.M)
    return prove_text(around + "\n" + inside, method, depth)
