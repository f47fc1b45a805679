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
    source = random.Random(seed)
    accesses, reset = dict.fromkeys(found, 0), Signal()

    def pause() -> bool:
        return stall > 0 and source.random() < stall

    async def send(context: Any, *channels: tuple[str, dict[str, int]]) -> None:
        """Offer beats on channels, each after a pause of its own, until all are taken."""
        waiting, offered = {name: values for name, values in channels}, set[str]()
        for _ in range(PATIENCE):
            for name in waiting:
                if name not in offered and not pause():
                    offered.add(name)
                    for signal, value in waiting[name].items():
                        context.set(getattr(bank, f"s_axil_{signal}"), value)
                    context.set(getattr(bank, f"s_axil_{name}valid"), 1)
            names = sorted(offered)
            readies = [getattr(bank, f"s_axil_{name}ready") for name in names]
            _, _, *taken = await context.tick().sample(*readies)
            for name, ready in zip(names, taken, strict=True):
                if ready:
                    context.set(getattr(bank, f"s_axil_{name}valid"), 0)
                    offered.discard(name)
                    del waiting[name]
            if not waiting:
                return
        raise checks.RegisterMismatch(f"s_axil_{next(iter(waiting))}ready stays low for {PATIENCE} cycles")

    async def receive(context: Any, name: str, *signals: str) -> list[int]:
        """Take a beat; while it waits it must stay."""
        members = [getattr(bank, f"s_axil_{signal}") for signal in signals]
        valid, ready = getattr(bank, f"s_axil_{name}valid"), getattr(bank, f"s_axil_{name}ready")
        before = None
        for _ in range(PATIENCE):
            taking = not pause()
            context.set(ready, taking)
            _, _, offered, *values = await context.tick().sample(valid, *members)
            context.set(ready, 0)
            if before is not None and (not offered or values != before):
                raise checks.RegisterMismatch(f"s_axil_{name} changed before it was taken")
            if offered and taking:
                return values
            before = values if offered else None
        raise checks.RegisterMismatch(f"s_axil_{name}valid stays low for {PATIENCE} cycles")

    async def write(context: Any, access: checks.Write) -> int:
        beats = [("aw", {"awaddr": access.address}), ("w", {"wdata": access.data, "wstrb": access.strobe})]
        await send(context, *beats)
        return (await receive(context, "b", "bresp"))[0]

    async def perform(context: Any, action: Any, name: str) -> Any:
        match action:
            case checks.Write():
                accesses[name] += 1
                return await write(context, action)
            case checks.Read():
                accesses[name] += 1
                await send(context, ("ar", {"araddr": action.address}))
                return tuple(await receive(context, "r", "rdata", "rresp"))
            case checks.Drive():
                context.set(getattr(bank, action.member), action.value)
            case checks.Pulse():
                for member, value in action.values.items():
                    context.set(getattr(bank, member), value)
                await context.tick()
                for member in action.values:
                    context.set(getattr(bank, member), 0)
            case checks.Sample():
                await context.tick()
                return context.get(getattr(bank, action.member))
            case checks.Watch():
                watched.append(action.member)
                await write(context, action.write)
                for _ in range(AFTER_WRITE):
                    await context.tick()
                watched.clear()
                found = list(seen)
                seen.clear()
                return found
        return None

    watched: list[str] = []
    seen: list[int] = []

    async def watcher(context: Any) -> None:
        while True:
            await context.tick()
            for member in watched:
                value = context.get(getattr(bank, member))
                if value:
                    seen.append(value)

    def memory(name: str) -> Any:
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

    async def script(context: Any) -> None:
        for name, check in found.items():
            context.set(reset, 1)
            for member in checks.input_members(registers) if memories else ():
                context.set(getattr(bank, member), 0)
            await context.tick().repeat(2)
            context.set(reset, 0)
            try:
                await follow(context, name, check())
            except checks.RegisterMismatch as error:
                raise checks.RegisterMismatch(f"{name}: {error}") from None

    async def follow(context: Any, name: str, check: checks.Check) -> None:
        answer = None
        while True:
            try:
                action = check.send(answer)
            except StopIteration:
                return
            answer = await perform(context, action, name)

    top = Module()
    top.domains.sync = ClockDomain()
    top.submodules.bank = ResetInserter(reset)(bank)
    simulator = Simulator(top)
    simulator.add_clock(1e-8)
    simulator.add_testbench(script)
    simulator.add_testbench(watcher, background=True)
    for window in registers.windows if memories else ():
        simulator.add_testbench(memory(window.name), background=True)
    simulator.run()
    return accesses
