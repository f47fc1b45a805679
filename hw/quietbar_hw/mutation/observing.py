"""Whether a fault can be seen at all: two versions of a module side by side, compared wherever they mean something."""

from __future__ import annotations

import re
from typing import Any

from amaranth.hdl import Assert, Cat, ClockSignal, Instance, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract import require

from ..formal.prove import prove_rtlil, to_rtlil
from ..formal.yosys import ProofError

MEANT = (
    (re.compile(r"(.+)__payload(?:\W.*|__.*)?"), ("{}__valid",)),
    (re.compile(r"(.+_t)(?:data|last|id|user)"), ("{}valid",)),
    (re.compile(r"(.+_[br])(?:resp|data)"), ("{}valid",)),
    (re.compile(r"(.+)_(?:write|address)"), ("{}_select",)),
    (re.compile(r"(.+)_write_(?:data|strobe)"), ("{}_select", "{}_write")),
)
"""Outputs that mean something only while others are high: payloads of streams, answers, accesses to memories."""


def looks_the_same(sound: str, other: str, module: str = "top", seconds: int = 60) -> bool:
    """Whether no surroundings of a module ever see which of two versions it is; False where ABC does not prove it.

    Both get the same inputs, resets included, in every cycle for ever, and start as after power-up. All outputs have to
    be equal in every cycle, but for those that mean nothing at the time (`MEANT`).

    Args:
        sound, other: RTLIL that holds the module.
        module: its name.
        seconds: after which ABC gives up.
    """
    pair = to_rtlil(Pair(ports_of(sound, module)))
    texts = [pair]
    for name, text in (("sound", sound), ("other", other)):
        own = re.sub(r"^\s*attribute \\top 1\n", "", text, flags=re.M)
        own = re.sub(rf"\\{re.escape(module)}(?=[\s.])", rf"\\{name}", own)
        texts.append(re.sub(r"\\top\b", rf"\\{name}_around", own))
    try:
        return prove_rtlil("\n".join(texts), "induction", 200, seconds=seconds, pairs=True, patience=2 * seconds).holds
    except ProofError:
        return False


def ports_of(text: str, module: str) -> dict[str, tuple[int, str]]:
    """Width of each port of a module in RTLIL, and ``input`` or ``output``."""
    found = re.search(rf"^module \\{re.escape(module)}$(.*?)^end$", text, re.M | re.S)
    if found is None:
        raise ProofError(f"there is no module {module}")
    wires = re.findall(r"^  wire (?:width (\d+) )?(input|output) \d+\s+(?:signed\s+)?\\(\S+)$", found[1], re.M)
    ports = {name: (int(width or 1), direction) for width, direction, name in wires}
    require("output" in (direction for _, direction in ports.values()), "module", module, "one with outputs to compare")
    return ports


def flags_of(output: str) -> tuple[str, ...]:
    """The outputs that are high while this one means something; none if it always does."""
    for pattern, flags in MEANT:
        if hit := pattern.fullmatch(output):
            return tuple(flag.format(hit[1]) for flag in flags)
    return ()


class Pair(wiring.Component):
    """Modules ``sound`` and ``other`` with these ports, ``clk`` among them, given the same inputs, and equal outputs
    asserted. A combinational comparison: no latency, no handshake.
    """

    def __init__(self, ports: dict[str, tuple[int, str]]) -> None:
        self.ports = {name: port for name, port in ports.items() if name != "clk"}
        inputs = [(name, width) for name, (width, direction) in self.ports.items() if direction == "input"]
        self._inputs = {name: f"input_{number}" for number, (name, _) in enumerate(inputs)}
        members: dict[str, Any] = {self._inputs[name]: In(width) for name, width in inputs}
        super().__init__({**members, "equal": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        outputs: dict[str, dict[str, Signal]] = {}
        for version in ("sound", "other"):
            own = outputs[version] = {
                name: Signal(width, name=f"{version}_{number}")
                for number, (name, (width, direction)) in enumerate(self.ports.items())
                if direction == "output"
            }
            connections: dict[str, Any] = {"i_clk": ClockSignal(), **{f"o_{name}": wire for name, wire in own.items()}}
            connections |= {f"i_{name}": getattr(self, member) for name, member in self._inputs.items()}
            m.submodules[version] = Instance(version, **connections)
        sound, other = outputs["sound"], outputs["other"]
        for name in sound:
            meant = Cat(sound[flag] for flag in flags_of(name) if flag in sound).all()
            m.d.comb += Assert((sound[name] == other[name]) | ~meant)
        return m
