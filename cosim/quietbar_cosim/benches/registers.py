"""The bench for register banks: runs the checks of a map through cocotbext-axi's AXI4-Lite channels.

Runs inside the simulator. The environment variable ``QUIETBAR_REGISTERS`` names the file that
:func:`quietbar_cosim.registers.check_design` wrote: the map, and which checks.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cocotb
from cocotb.triggers import FallingEdge, with_timeout
from cocotbext.axi import AxiLiteBus
from cocotbext.axi.axil_channels import AxiLiteARSource, AxiLiteAWSource, AxiLiteBSink, AxiLiteRSink, AxiLiteWSource

from quietbar_cosim.stream import CLOCK_PERIOD_NS, Bench
from quietbar_hw.registers import RegisterMap
from quietbar_hw.registers.checks import (
    Drive,
    Pulse,
    Read,
    RegisterMismatch,
    Sample,
    Watch,
    Write,
    checks,
    input_members,
)
from quietbar_hw.registers.simulation import AFTER_WRITE, PATIENCE


class Channels:
    """The five channels of the port, each with pauses of its own."""

    def __init__(self, bench: Bench, name: str, stall: float, seed: int) -> None:
        bus = AxiLiteBus.from_prefix(bench.design, name)
        clock, reset = bench.clock, bench.design.rst
        self.aw, self.w = AxiLiteAWSource(bus.write.aw, clock, reset), AxiLiteWSource(bus.write.w, clock, reset)
        self.b, self.ar = AxiLiteBSink(bus.write.b, clock, reset), AxiLiteARSource(bus.read.ar, clock, reset)
        self.r = AxiLiteRSink(bus.read.r, clock, reset)
        for valid, values in (
            (bus.write.aw.awvalid, [bus.write.aw.awaddr]),
            (bus.write.w.wvalid, [bus.write.w.wdata, bus.write.w.wstrb]),
            (bus.read.ar.arvalid, [bus.read.ar.araddr]),
        ):
            cocotb.start_soon(scramble(clock, valid, values, random.Random(seed)))
        if stall:
            for number, channel in enumerate((self.aw, self.w, self.b, self.ar, self.r)):
                channel.set_pause_generator(pauses(stall, seed + number))

    async def write(self, write: Write) -> int:
        """Any strobe, and any address: the master of the same package knows neither."""
        await self.aw.send(self.aw._transaction_obj(awaddr=write.address, awprot=0))
        await self.w.send(self.w._transaction_obj(wdata=write.data, wstrb=write.strobe))
        return int((await self._answer(self.b, "b")).bresp)

    async def read(self, read: Read) -> tuple[int, int]:
        """Data and response."""
        await self.ar.send(self.ar._transaction_obj(araddr=read.address, arprot=0))
        answer = await self._answer(self.r, "r")
        return int(answer.rdata), int(answer.rresp)

    async def _answer(self, channel: Any, name: str) -> Any:
        try:
            return await with_timeout(channel.recv(), PATIENCE * CLOCK_PERIOD_NS, "ns")
        except cocotb.triggers.SimTimeoutError:
            raise RegisterMismatch(f"{name}valid stays low for {PATIENCE} cycles") from None


async def scramble(clock: Any, valid: Any, values: list[Any], source: random.Random) -> None:
    """Anything on the wires of a channel while it offers nothing, so that nobody may look at them."""
    while True:
        await FallingEdge(clock)
        if not int(valid.value):
            for signal in values:
                signal.value = source.getrandbits(len(signal))


def pauses(stall: float, seed: int) -> Iterator[bool]:
    """Cycle by cycle, whether a channel pauses."""
    source = random.Random(seed)
    while True:
        yield source.random() < stall


@cocotb.test()
async def run_checks(design: Any) -> None:
    """Every check after the other, each from a reset."""
    settings = json.loads(Path(os.environ["QUIETBAR_REGISTERS"]).read_text())
    registers, seed = RegisterMap.from_dict(settings["map"]), settings["seed"]
    bench = Bench(design)
    idle = *input_members(registers), "s_axis_tvalid"  # with a whole design behind the registers, it is at rest
    inputs = [getattr(design, name) for name in idle if hasattr(design, name)]
    for window in registers.windows:
        if hasattr(design, f"{window.name}_select"):
            cocotb.start_soon(memory(bench, window.name, random.Random(seed)))
    channels = Channels(bench, settings["port"], settings["stall"], seed)
    found = checks(registers, seed, **settings["options"])
    for name in settings["checks"] or found:
        for signal in inputs:
            signal.value = 0
        await bench.reset()
        try:
            await run_check(bench, channels, found[name]())
        except RegisterMismatch as error:
            raise AssertionError(f"{name}: {error}") from None


@cocotb.test()
async def reset_in_mid_transfer(design: Any) -> None:
    """A reset of one cycle in the middle of every kind of transfer: the port forgets it, and serves the next ones."""
    settings = json.loads(Path(os.environ["QUIETBAR_REGISTERS"]).read_text())
    bench = Bench(design)
    port = Port(bench, settings["port"], RegisterMap.from_dict(settings["map"]).registers[0].address)
    for what, channels in HELD.items():
        await bench.reset()
        for channel in channels:
            await port.offer(channel)
        await bench.cycles(4)  # responses come, and nobody takes them
        await bench.reset(1)
        await bench.edge
        found = {signal: port.value(signal) for signal in AFTER_RESET}
        assert found == AFTER_RESET, f"after a reset with {what}: {found}, must be {AFTER_RESET}"
        order = await port.answers()
        assert order == ["b", "r"], f"after a reset with {what}, a write and a read at once: answers {order}"


HELD = {
    "nothing under way": (),
    "the address of a write taken": ("aw",),
    "the data of a write taken": ("w",),
    "a write that waits for its answer to be taken, and one behind it": ("aw", "w", "aw", "w"),
    "a read that waits for its answer to be taken, and one behind it": ("ar", "ar"),
    "the answer to a write left": ("aw", "w"),
    "the answer to a read left": ("ar",),
}
"""What is taken before a reset: the channels that offer something, one after the other, while no answer is taken."""
AFTER_RESET = {"awready": 1, "wready": 1, "arready": 1, "bvalid": 0, "rvalid": 0}


class Port:
    """The port's wires, driven one by one."""

    def __init__(self, bench: Bench, name: str, address: int) -> None:
        self.bench, self.name = bench, name
        for signal in ("awvalid", "wvalid", "arvalid", "bready", "rready", "awprot", "arprot", "wstrb"):
            self._wire(signal).value = 0
        for signal, value in (("awaddr", address), ("araddr", address), ("wdata", 0)):
            self._wire(signal).value = value

    def _wire(self, signal: str) -> Any:
        return getattr(self.bench.design, f"{self.name}_{signal}")

    def value(self, signal: str) -> int:
        """What the port drives."""
        return int(self._wire(signal).value)

    async def offer(self, channel: str) -> None:
        """Offer something until it is taken."""
        self._wire(f"{channel}valid").value = 1
        await self._until(f"{channel}ready")
        self._wire(f"{channel}valid").value = 0

    async def answers(self) -> list[str]:
        """A write and a read offered in the same cycle: the channels of their answers, in order, the write's first."""
        for signal in ("awvalid", "wvalid", "arvalid", "bready", "rready"):
            self._wire(signal).value = 1
        await self.bench.edge
        for signal in ("awvalid", "wvalid", "arvalid"):
            self._wire(signal).value = 0
        seen = []
        for _ in range(PATIENCE):
            await self.bench.edge
            seen += [channel for channel in ("b", "r") if self.value(f"{channel}valid")]
            if len(seen) == 2:
                break
        await self.bench.cycles(4)
        seen += [channel for channel in ("b", "r") if self.value(f"{channel}valid")]
        for signal in ("bready", "rready"):
            self._wire(signal).value = 0
        return seen

    async def _until(self, signal: str) -> None:
        for _ in range(PATIENCE):
            await self.bench.edge
            if self.value(signal):
                return
        raise RegisterMismatch(f"{signal} stays low for {PATIENCE} cycles")


async def run_check(bench: Bench, channels: Channels, check: Any) -> None:
    """Do what one check asks for."""
    answer = None
    while True:
        try:
            action = check.send(answer)
        except StopIteration:
            return
        answer = await perform(bench, channels, action)


async def perform(bench: Bench, channels: Channels, action: Any) -> Any:
    """One action, and what came of it."""
    design = bench.design
    match action:
        case Write():
            return await channels.write(action)
        case Read():
            return await channels.read(action)
        case Drive():
            getattr(design, action.member).value = action.value
        case Pulse():
            await bench.edge
            for member, value in action.values.items():
                getattr(design, member).value = value
            await bench.edge
            for member in action.values:
                getattr(design, member).value = 0
        case Sample():
            await bench.cycles(2)
            return int(getattr(design, action.member).value)
        case Watch():
            seen: list[int] = []
            watcher = cocotb.start_soon(watch(bench, action.member, seen))
            await channels.write(action.write)
            await bench.cycles(AFTER_WRITE)
            watcher.cancel()
            return seen
    return None


async def watch(bench: Bench, member: str, seen: list[int]) -> None:
    """Collect the values that are not 0, cycle by cycle."""
    signal = getattr(bench.design, member)
    while True:
        await bench.edge
        if int(signal.value):
            seen.append(int(signal.value))


async def memory(bench: Bench, name: str, source: random.Random) -> None:
    """Words behind a window; an access takes a random number of cycles."""
    words: dict[int, int] = {}

    def port(part: str) -> Any:
        return getattr(bench.design, f"{name}_{part}")

    acknowledge = port("acknowledge")
    acknowledge.value = port("refused").value = port("read_data").value = 0
    while True:
        await bench.edge
        if not (port("select").value.is_resolvable and int(port("select").value)):
            continue
        await bench.cycles(source.randrange(3))
        address, strobe = int(port("address").value), int(port("write_strobe").value)
        if int(port("write").value):
            mask = sum(0xFF << 8 * byte for byte in range(4) if strobe >> byte & 1)
            words[address] = words.get(address, 0) & ~mask | int(port("write_data").value) & mask
        port("read_data").value = words.get(address, 0)
        acknowledge.value = 1
        await bench.edge
        acknowledge.value = 0
