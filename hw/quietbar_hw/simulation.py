"""Streams driven and watched in Amaranth's own simulator, with stalls that a seed replays."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from amaranth.hdl import Cat, ClockDomain, Module
from amaranth.lib import data
from amaranth.sim import Simulator


def pack(elements: Sequence[int], bits: int) -> int:
    """Elements (two's complement, ``bits`` each) as one integer, the first in the low bits."""
    return sum((element & ((1 << bits) - 1)) << (bits * place) for place, element in enumerate(elements))


class AxiStream:
    """The AXI4-Stream ``name`` of flat ports, seen as a stream: the payload is ``tdata`` below ``tlast``."""

    def __init__(self, component: Any, name: str) -> None:
        self.payload = Cat(getattr(component, f"{name}_tdata"), getattr(component, f"{name}_tlast"))
        self.valid, self.ready = getattr(component, f"{name}_tvalid"), getattr(component, f"{name}_tready")


def stream_of(component: Any, name: str) -> Any:
    """The stream ``name`` of a component, an Amaranth stream or an AXI4-Stream of flat ports."""
    return getattr(component, name) if hasattr(component, name) else AxiStream(component, name)


def run_streams(
    component: Any,
    inputs: Mapping[str, Iterable[Any]],
    outputs: Mapping[str, int],
    *,
    load: Sequence[str] = (),
    stall: float = 0.0,
    seed: int = 0,
    limit: int = 100_000,
) -> dict[str, list[Any]]:
    """Feed streams of a component and collect from others; what they delivered, and ``"cycles"``.

    Args:
        component: with its streams named as in ``inputs`` and ``outputs``; see :func:`stream_of`.
        inputs: payloads for each input stream, in order; raw integers, or whatever the payload's layout takes.
        outputs: number of payloads to collect from each output stream; the simulation ends when all have come.
        load: names of inputs that are fed to their end before the others begin.
        stall: probability that a stream's driver or monitor pauses, cycle by cycle.
        seed: of the pauses.
        limit: cycles after which the simulation fails: something hangs.

    Returns:
        For each output stream its payloads, as lists for arrays and integers otherwise; under ``"cycles"`` how many
        cycles were run.
    """
    found: dict[str, list[Any]] = {name: [] for name in outputs}
    waiting = {name: list(payloads) for name, payloads in inputs.items()}
    loading, cycles = set(load), 0

    def pause(source: random.Random) -> bool:
        return stall > 0 and source.random() < stall

    def driver(name: str) -> Any:
        port, source = stream_of(component, name), random.Random(f"{seed} {name}")

        async def process(context: Any) -> None:
            while loading and name not in loading:
                await context.tick()
            for payload in waiting[name]:
                while pause(source):
                    await context.tick()
                context.set(port.payload, payload)
                context.set(port.valid, 1)
                taken = False
                while not taken:
                    *_, taken = await context.tick().sample(port.ready)
                context.set(port.valid, 0)
            loading.discard(name)

        return process

    def monitor(name: str) -> Any:
        port, source = stream_of(component, name), random.Random(f"{seed} {name}")

        async def process(context: Any) -> None:
            while len(found[name]) < outputs[name]:
                while pause(source):
                    await context.tick()
                context.set(port.ready, 1)
                valid = False
                while not valid:
                    *_, valid, payload = await context.tick().sample(port.valid, port.payload)
                context.set(port.ready, 0)
                found[name].append(list(payload) if isinstance(payload, data.Const) else payload)

        return process

    async def watchdog(context: Any) -> None:
        nonlocal cycles
        while any(len(found[name]) < count for name, count in outputs.items()):
            await context.tick()
            cycles += 1
            assert cycles < limit, f"no end after {limit} cycles; delivered " + str(
                {name: f"{len(payloads)} of {outputs[name]}" for name, payloads in found.items()}
            )

    top = Module()
    top.domains.sync = ClockDomain()
    top.submodules.component = component
    simulator = Simulator(top)
    simulator.add_clock(1e-8)
    for name in inputs:
        simulator.add_testbench(driver(name), background=True)
    for name in outputs:
        simulator.add_testbench(monitor(name), background=True)
    simulator.add_testbench(watchdog)
    simulator.run()
    return {**found, "cycles": [cycles]}
