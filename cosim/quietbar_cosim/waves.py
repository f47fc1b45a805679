"""Timing diagrams as text, drawn from a simulation of the engine; those in ``docs/hardware.md`` are made here.

Six characters a cycle: what a signal is in the cycle whose rising clock edge begins them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from amaranth.sim import Simulator

from quietbar.contract import BlockConfig
from quietbar.contract.engine import EngineConfig
from quietbar.files import write_atomically
from quietbar_hw.engine.top import AxiEngine
from quietbar_hw.registers.engine import engine_map
from quietbar_hw.verilog import port_signals

from .engines import EngineCase

WIDTH = 6
"""Characters a cycle."""

ENGINE = EngineConfig(
    2, 2, 1, channels=4, hidden=2, height=2, width=2, blocks=4, matrix_rows=8, window_rows=8, hidden_rows=4,
    channel_rows=8, noise=False,
)  # fmt: skip
BLOCKS = [BlockConfig(2, 2, 1, 2), BlockConfig(4, 2, 1, 2)]

Trace = dict[str, list[int]]
"""Name of a port -> its value in each cycle."""


def clock_row(cycles: int) -> str:
    """A clock: high in the first half of a cycle."""
    return "/~~\\__" * cycles


def bit_row(values: Sequence[int]) -> str:
    """A signal of one bit."""
    before, row = values[0], ""
    for value in values:
        edge = ("~" if value else "_") if value == before else ("/" if value else "\\")
        row += edge + ("~" if value else "_") * (WIDTH - 1)
        before = value
    return row


def bus_row(values: Sequence[int | str | None]) -> str:
    """Values of at most ``WIDTH - 2`` characters, each drawn once over the cycles that it stays; None is no value."""
    row, at = "", 0
    while at < len(values):
        end = at + 1
        while end < len(values) and values[end] == values[at]:
            end += 1
        size = WIDTH * (end - at)
        row += "-" * size if values[at] is None else f"<{values[at]!s:^{size - 2}}>"
        at = end
    return row


def record() -> Trace:
    """All ports of an engine through a configuration, two frames, and an access of each kind."""
    component = AxiEngine(ENGINE)
    signals = {name: signal for name, (signal, _) in port_signals(component).items()}
    trace: Trace = {name: [] for name in signals}
    case = EngineCase.random(ENGINE, BLOCKS, [1, 0], 1)
    registers = {register.name: register.address for register in engine_map(ENGINE).registers}
    (memory,) = engine_map(ENGINE).windows

    async def watch(context: Any) -> None:
        async for _, _, *values in context.tick().sample(*signals.values()):
            for name, value in zip(signals, values, strict=True):
                trace[name].append(int(value))

    async def write(context: Any, address: int, value: int) -> None:
        for name, given in (("awaddr", address), ("awvalid", 1), ("wdata", value), ("wstrb", 15), ("wvalid", 1)):
            context.set(signals[f"s_axil_{name}"], given)
        waiting = {"aw", "w"}
        while waiting:
            _, _, *ready = await context.tick().sample(signals["s_axil_awready"], signals["s_axil_wready"])
            for channel in [each for each, there in zip(("aw", "w"), ready, strict=True) if there]:
                waiting.discard(channel)
                context.set(signals[f"s_axil_{channel}valid"], 0)
        while not (await context.tick().sample(signals["s_axil_bvalid"]))[2]:
            pass

    async def read(context: Any, address: int) -> None:
        context.set(signals["s_axil_araddr"], address)
        context.set(signals["s_axil_arvalid"], 1)
        while not (await context.tick().sample(signals["s_axil_arready"]))[2]:
            pass
        context.set(signals["s_axil_arvalid"], 0)
        while not (await context.tick().sample(signals["s_axil_rvalid"]))[2]:
            pass

    async def bench(context: Any) -> None:
        context.set(signals["s_axil_bready"], 1)
        context.set(signals["s_axil_rready"], 1)
        await context.tick()
        for address, word in case.writes:
            await write(context, memory.address + 4 * address, word)
        await context.tick().repeat(3)
        await write(context, registers["control"], 1)
        await context.tick().repeat(3)
        await write(context, memory.address + 4 * case.writes[0][0], 0)
        await context.tick().repeat(3)
        await read(context, registers["status"])
        await context.tick().repeat(3)
        context.set(signals["m_axis_tready"], 1)
        for beat in [each for frame in case.inputs for each in frame]:
            for name, given in (("tdata", beat.data), ("tid", beat.block), ("tlast", beat.last), ("tvalid", 1)):
                context.set(signals[f"s_axis_{name}"], given)
            while not (await context.tick().sample(signals["s_axis_tready"]))[2]:
                pass
        for name in ("tvalid", "tlast"):
            context.set(signals[f"s_axis_{name}"], 0)
        left = 0
        while left < sum(len(frame) for frame in case.inputs):
            # The other end is not ready for the second beat for two cycles.
            waiting = left == 1 and trace["m_axis_tready"][-2:] != [0, 0]
            context.set(signals["m_axis_tready"], not waiting)
            _, _, valid, ready = await context.tick().sample(signals["m_axis_tvalid"], signals["m_axis_tready"])
            left += valid and ready
        context.set(signals["m_axis_tready"], 0)
        await context.tick().repeat(3)

    simulator = Simulator(component)
    simulator.add_clock(1e-8)
    simulator.add_process(watch)
    simulator.add_testbench(bench)
    simulator.run()
    return trace


def _draw(trace: Trace, begin: int, cycles: int, rows: Sequence[tuple[str, Callable[[slice], str]]]) -> str:
    window = slice(begin, begin + cycles)
    size = max(len(name) for name, _ in rows)
    drawn = [("clk", clock_row(cycles)), *((name, row(window)) for name, row in rows)]
    return "\n".join(f"{name:{size}}  {row}" for name, row in drawn)


def diagrams(trace: Trace) -> dict[str, str]:
    """The diagrams by name."""

    def bit(name: str) -> tuple[str, Callable[[slice], str]]:
        return name, lambda window: bit_row(trace[name][window])

    def bus(name: str, valid: str, show: Callable[[int], object]) -> tuple[str, Callable[[slice], str]]:
        values = [show(value) if there else None for value, there in zip(trace[name], trace[valid], strict=True)]
        return name, lambda window: bus_row(values[window])  # type: ignore[arg-type]

    def first(name: str, after: int = 0) -> int:
        return next(at for at in range(after, len(trace[name])) if trace[name][at])

    def beats(stream: str) -> tuple[str, Callable[[slice], str]]:
        """Beats numbered within their frame."""
        number, values = 0, list[int | str | None]()
        names = (f"{stream}_tvalid", f"{stream}_tready", f"{stream}_tlast")
        for valid, ready, last in zip(*(trace[name] for name in names), strict=True):
            values.append(number if valid else None)
            if valid and ready:
                number = 0 if last else number + 1
        return f"{stream}_tdata", lambda window: bus_row(values[window])

    def frames(stream: str, more: Sequence[str] = ()) -> list[tuple[str, Callable[[slice], str]]]:
        valid = f"{stream}_tvalid"
        return [
            bit(valid), bit(f"{stream}_tready"), beats(stream), bus(f"{stream}_tid", valid, int),
            bit(f"{stream}_tlast"), *(bit(f"{stream}_{name}") for name in more),
        ]  # fmt: skip

    responses = {0: "OKAY", 2: "ERR"}
    write = [
        bit("s_axil_awvalid"), bit("s_axil_awready"), bit("s_axil_wvalid"), bit("s_axil_wready"), bit("s_axil_bvalid"),
        bus("s_axil_bresp", "s_axil_bvalid", responses.__getitem__),
    ]  # fmt: skip
    read = [
        bit("s_axil_arvalid"), bit("s_axil_arready"), bit("s_axil_rvalid"),
        bus("s_axil_rdata", "s_axil_rvalid", hex), bus("s_axil_rresp", "s_axil_rvalid", responses.__getitem__),
    ]  # fmt: skip
    refused = max(at for at, there in enumerate(trace["s_axil_awvalid"]) if there)
    return {
        "frames in": _draw(trace, first("s_axis_tvalid") - 1, 8, frames("s_axis")),
        "frames out": _draw(trace, first("m_axis_tvalid") - 1, 10, frames("m_axis", ["tuser"])),
        "memory write": _draw(trace, first("s_axil_awvalid") - 1, 9, write),
        "refused write": _draw(trace, refused - 1, 9, write),
        "register read": _draw(trace, first("s_axil_arvalid") - 1, 5, read),
    }


def in_document(text: str) -> dict[str, str]:
    """The diagrams of a document by name: blocks of text after a line ``<!-- timing: NAME -->``."""
    return {name: body for name, _, body, _ in _blocks(text)}


def _blocks(text: str) -> Iterator[tuple[str, int, str, int]]:
    at = 0
    while (at := text.find("<!-- timing: ", at)) >= 0:
        name = text[at + len("<!-- timing: ") : text.index(" -->", at)]
        begin = text.index("```\n", at) + 4
        end = text.index("\n```", begin - 1)
        yield name, begin, text[begin:end], end
        at = end


def renew(document: Path, drawn: Mapping[str, str]) -> list[str]:
    """Put diagrams in the place of those that a document has; the names of those that differed."""
    text = document.read_text()
    changed = []
    for name, begin, body, end in reversed(list(_blocks(text))):
        if body != drawn[name]:
            changed.append(name)
            text = text[:begin] + drawn[name] + text[end:]
    if changed:
        write_atomically(document, text)
    return changed[::-1]
