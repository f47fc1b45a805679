"""Checks of registers, run on a bank in Amaranth's own simulator, with stalls that a seed replays."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from amaranth.hdl import ClockDomain, Module, ResetInserter, Signal
from amaranth.sim import Simulator

from . import checks
from .model import RegisterMap

PATIENCE = 200
"""Cycles without an answer after which a bank counts as hanging."""
AFTER_WRITE = 6
"""Cycles after a write in which a pulse is waited for."""


def run_checks(
    bank: Any,
    registers: RegisterMap,
    found: Mapping[str, Callable[[], checks.Check]],
    *,
    stall: float = 0.0,
    seed: int = 0,
    memories: bool = True,
) -> dict[str, int]:
    """Run checks on a bank, each from a reset; how many accesses each of them made.

    Args:
        bank: a component with the members of a :class:`~quietbar_hw.registers.bank.RegisterBank` for the map. Behind
            its windows there will be memories that take a random number of cycles.
        registers: the map.
        found: the checks by name; see :func:`quietbar_hw.registers.checks.checks`.
        stall: probability, cycle by cycle, that the master waits before it offers or takes anything.
        seed: of the stalls.
        memories: False where the bank has memories of its own, and no inputs but the port's.

    Raises:
        RegisterMismatch: the bank is not what the map says, hangs, or breaks a rule of AXI4-Lite.
    """
    source, reset = random.Random(seed), Signal()
    follower = _Follower(bank, _Master(bank, stall, source))
    accesses = dict.fromkeys(found, 0)
    driven = tuple(checks.input_members(registers)) if memories else ()

    async def script(context: Any) -> None:
        for name, check in found.items():
            context.set(reset, 1)
            for member in driven:
                context.set(getattr(bank, member), 0)
            await context.tick().repeat(2)
            context.set(reset, 0)
            try:
                accesses[name] = await follower.follow(context, check())
            except checks.RegisterMismatch as error:
                raise checks.RegisterMismatch(f"{name}: {error}") from None

    top = Module()
    top.domains.sync = ClockDomain()
    top.submodules.bank = ResetInserter(reset)(bank)
    simulator = Simulator(top)
    simulator.add_clock(1e-8)
    simulator.add_testbench(script)
    simulator.add_testbench(follower.watch, background=True)
    for window in registers.windows if memories else ():
        simulator.add_testbench(_memory(bank, window.name, source), background=True)
    simulator.run()
    return accesses


class _Master:
    """An AXI4-Lite master that pauses at random before it offers or takes anything."""

    def __init__(self, bank: Any, stall: float, source: random.Random) -> None:
        self.bank, self.stall, self.source = bank, stall, source

    async def write(self, context: Any, access: checks.Write) -> int:
        """The response."""
        await self._send(
            context,
            {"aw": {"awaddr": access.address}, "w": {"wdata": access.data, "wstrb": access.strobe}},
        )
        return (await self._receive(context, "b", "bresp"))[0]

    async def read(self, context: Any, access: checks.Read) -> tuple[int, ...]:
        """Data and response."""
        await self._send(context, {"ar": {"araddr": access.address}})
        return tuple(await self._receive(context, "r", "rdata", "rresp"))

    async def _send(self, context: Any, waiting: dict[str, dict[str, int]]) -> None:
        """Offer beats, values of signals by channel, each after a pause of its own, until all are taken."""
        offered = set[str]()
        for _ in range(PATIENCE):
            for name in waiting:
                if name not in offered and not self._pauses():
                    offered.add(name)
                    for signal, value in waiting[name].items():
                        context.set(self._port(signal), value)
                    context.set(self._port(f"{name}valid"), 1)
            names = sorted(offered)
            _, _, *taken = await context.tick().sample(*(self._port(f"{name}ready") for name in names))
            for name, ready in zip(names, taken, strict=True):
                if ready:
                    context.set(self._port(f"{name}valid"), 0)
                    offered.discard(name)
                    del waiting[name]
            if not waiting:
                return
        raise checks.RegisterMismatch(f"s_axil_{next(iter(waiting))}ready stays low for {PATIENCE} cycles")

    async def _receive(self, context: Any, name: str, *signals: str) -> list[int]:
        """Take a beat; while it waits it must stay."""
        members = [self._port(signal) for signal in signals]
        valid, ready = self._port(f"{name}valid"), self._port(f"{name}ready")
        before = None
        for _ in range(PATIENCE):
            taking = not self._pauses()
            context.set(ready, taking)
            _, _, offered, *values = await context.tick().sample(valid, *members)
            context.set(ready, 0)
            if before is not None and (not offered or values != before):
                raise checks.RegisterMismatch(f"s_axil_{name} changed before it was taken")
            if offered and taking:
                return values
            before = values if offered else None
        raise checks.RegisterMismatch(f"s_axil_{name}valid stays low for {PATIENCE} cycles")

    def _port(self, name: str) -> Any:
        return getattr(self.bank, f"s_axil_{name}")

    def _pauses(self) -> bool:
        return self.stall > 0 and self.source.random() < self.stall


class _Follower:
    """Does what checks ask for, one action after the other."""

    def __init__(self, bank: Any, master: _Master) -> None:
        self.bank, self.master = bank, master
        self._watched: str | None = None
        self._seen: list[int] = []

    async def follow(self, context: Any, check: checks.Check) -> int:
        """Carry a check out; how many accesses it made."""
        answer, accesses = None, 0
        while True:
            try:
                action = check.send(answer)
            except StopIteration:
                return accesses
            accesses += isinstance(action, checks.Write | checks.Read)
            answer = await self._perform(context, action)

    async def watch(self, context: Any) -> None:
        """Note the values other than 0 of the member that is watched."""
        while True:
            await context.tick()
            if self._watched is not None and (value := context.get(getattr(self.bank, self._watched))):
                self._seen.append(value)

    async def _perform(self, context: Any, action: Any) -> Any:
        match action:
            case checks.Write():
                return await self.master.write(context, action)
            case checks.Read():
                return await self.master.read(context, action)
            case checks.Drive():
                context.set(getattr(self.bank, action.member), action.value)
            case checks.Pulse():
                for member, value in action.values.items():
                    context.set(getattr(self.bank, member), value)
                await context.tick()
                for member in action.values:
                    context.set(getattr(self.bank, member), 0)
            case checks.Sample():
                await context.tick()
                return context.get(getattr(self.bank, action.member))
            case checks.Watch():
                self._watched, self._seen = action.member, []
                await self.master.write(context, action.write)
                await context.tick().repeat(AFTER_WRITE)
                self._watched = None
                return self._seen
        return None


def _memory(bank: Any, name: str, source: random.Random) -> Callable[[Any], Any]:
    """Words behind a window; an access takes a random number of cycles."""
    words: dict[int, int] = {}
    members = {part: getattr(bank, f"{name}_{part}") for part in ("write", "address", "write_data", "write_strobe")}
    select, acknowledge = getattr(bank, f"{name}_select"), getattr(bank, f"{name}_acknowledge")

    async def process(context: Any) -> None:
        while True:
            context.set(acknowledge, 0)
            *_, selected = await context.tick().sample(select)
            if not selected:
                continue
            for _ in range(source.randrange(3)):
                await context.tick()
            access = {part: context.get(signal) for part, signal in members.items()}
            address = access["address"]
            if access["write"]:
                mask = sum(0xFF << 8 * byte for byte in range(4) if access["write_strobe"] >> byte & 1)
                words[address] = words.get(address, 0) & ~mask | access["write_data"] & mask
            context.set(getattr(bank, f"{name}_read_data"), words.get(address, 0))
            context.set(acknowledge, 1)
            await context.tick()

    return process
