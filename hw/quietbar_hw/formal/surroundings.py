"""A component in surroundings that do what they like, but keep the rules of streams; and it is held to them, too."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Cat, Const, Module, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In

from .rules import Role, StreamRules

FLAT = re.compile(r"(.*_(?:t|aw|w|b|ar|r))valid")
"""``valid`` of a stream that is a group of plain signals, as in AXI4-Stream and AXI4-Lite."""


@dataclass(frozen=True)
class Port:
    """A stream of a component: ``taken`` where it goes in, so that the surroundings drive it."""

    name: str
    taken: bool
    valid: Value
    ready: Value
    payload: Value

    @property
    def stalls(self) -> bool:
        """Whether its taker can let it wait; otherwise there is nothing to keep still."""
        return not isinstance(self.ready, Const)


def stream_ports(component: Any) -> Iterator[Port]:
    """All streams of a component: members that are stream interfaces, at any depth, and those made of plain signals."""
    yield from _stream_ports(component, component.signature, "")


def _stream_ports(holder: Any, signature: Any, path: str) -> Iterator[Port]:
    for name, member in signature.members.items():
        value = getattr(holder, name)
        taken = member.flow is In  # A signature within one that goes in is turned around already.
        if member.is_signature and isinstance(member.signature, stream.Signature):
            payload = Value.cast(value.payload)
            yield Port(path + name, taken, Value.cast(value.valid), Value.cast(value.ready), payload)
        elif member.is_signature:
            yield from _stream_ports(value, member.signature, f"{path}{name}.")
        elif flat := FLAT.fullmatch(name):
            group = {other: getattr(holder, other) for other in signature.members if other.startswith(flat[1])}
            ready = group.pop(f"{flat[1]}ready", Const(1))
            payload = Cat(Value.cast(part) for other, part in group.items() if other != name)
            yield Port(path + flat[1].rstrip("_"), taken, value, Value.cast(ready), payload)


Beside = Callable[[Module, Any], None]
Drops = Mapping[str, Callable[[Any], Value]]
"""By the name of a port, when what waits there may be dropped, told from the component."""


def keep_rules(m: Module, part: Any, port: Port, role: Role, drops: Drops) -> None:
    """Add the rules of one stream of ``part`` to ``m``."""
    m.submodules[f"rules_{port.name.replace('.', '_')}"] = rules = StreamRules(len(port.payload), role)
    m.d.comb += [rules.valid.eq(port.valid), rules.ready.eq(port.ready), rules.payload.eq(port.payload)]
    if port.name in drops:
        m.d.comb += rules.dropped.eq(drops[port.name](part))


class Surrounded(wiring.Component):
    """``part``, with its ports outside, under the rules of all its streams: those that go in are assumed to keep
    them, those that come out are asserted to.

    Args:
        part: the component.
        beside: adds more to the module; is given the module and the part.
        rules: False leaves the assertions about the streams that come out to ``beside``.
        drops: by the name of a stream that comes out, when the part may drop what is offered, as at a restart.
    """

    def __init__(
        self, part: Any, beside: Beside | None = None, *, rules: bool = True, drops: Drops | None = None
    ) -> None:
        self.part, self.beside, self.rules, self.drops = part, beside, rules, drops or {}
        super().__init__(dict(part.signature.members))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.part = self.part
        wiring.connect(m, wiring.flipped(self), self.part)
        for port in stream_ports(self.part):
            if port.stalls and (port.taken or self.rules):
                keep_rules(m, self.part, port, "assume" if port.taken else "assert", self.drops)
        if self.beside is not None:
            self.beside(m, self.part)
        return m
