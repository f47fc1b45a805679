"""The bench for engines: carries out a session through cocotbext-axi's masters and slaves and notes what comes of it.

Runs inside the simulator. The environment variable ``QUIETBAR_SESSION`` names the folder that
:func:`quietbar_cosim.engine_checks.observe` filled; what came of each step goes there too.
"""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path
from typing import Any

import cocotb
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiStreamBus, AxiStreamFrame, AxiStreamSink, AxiStreamSource

from quietbar.contract.engine import COUNTERS
from quietbar_cosim.rules import StreamRules
from quietbar_cosim.stalls import Stalls
from quietbar_cosim.stream import Bench

PATIENCE = 3_000
"""Cycles without a beat after which an exchange is over."""
QUIET = 100
"""Cycles after the last expected beat in which none may follow."""


class EngineBench:
    """The four ends of an engine, and a monitor that sees every cycle of its data streams."""

    def __init__(self, design: Any, registers: dict[str, int], memory: int) -> None:
        logging.getLogger("cocotb").setLevel(logging.WARNING)
        self.bench, self.design, self.registers, self.memory = Bench(design), design, registers, memory
        clock, reset = design.clk, design.rst
        self.master = AxiLiteMaster(AxiLiteBus.from_prefix(design, "s_axil"), clock, reset)
        self.source = AxiStreamSource(AxiStreamBus.from_prefix(design, "s_axis"), clock, reset)
        self.sink = AxiStreamSink(AxiStreamBus.from_prefix(design, "m_axis"), clock, reset)
        self.lanes = len(design.s_axis_tdata) // 8
        self.rules = StreamRules("m_axis")
        self.watching = False
        self.trace: list[int] = []
        self.beats: list[list[int]] = []
        self.moved = 0
        cocotb.start_soon(self._monitor())

    async def _monitor(self) -> None:
        design, edge = self.design, self.bench.edge
        names = ("s_axis_tvalid", "s_axis_tready", "m_axis_tvalid", "m_axis_tready")
        handshakes = [getattr(design, name) for name in names]
        payload = [getattr(design, f"m_axis_{name}") for name in ("tdata", "tlast", "tid", "tuser")]
        while True:
            await edge
            if not self.watching:
                continue
            in_valid, in_ready, out_valid, out_ready = (int(signal.value) for signal in handshakes)
            self.trace.append(in_valid | in_ready << 1 | out_valid << 2 | out_ready << 3)
            self.moved = 0 if (in_valid and in_ready) or (out_valid and out_ready) else self.moved + 1
            values = [int(signal.value) for signal in payload] if out_valid else [0, 0, 0, 0]
            data, last, block, bad = values
            word = (data << 9 | block << 1 | bad) if out_valid else 0
            if self.rules.observe(self.bench.cycle, bool(out_valid), bool(out_ready), word, bool(last)):
                # tuser means nothing but with tlast.
                self.beats.append([data, last, block, bad & last])

    async def write_word(self, address: int, value: int) -> int:
        """The response to a write: 0, or 2 where it was refused."""
        return int((await self.master.write(address, value.to_bytes(4, "little"))).resp)

    async def read(self, name: str) -> int:
        """A register."""
        answer = await self.master.read(self.registers[name], 4)
        assert int(answer.resp) == 0, f"{name} is readable"
        return int.from_bytes(answer.data, "little")

    async def do_write(self, writes: list[list[int]]) -> dict[str, Any]:
        """Words of the memory, one after the other."""
        return {"refused": [bool(await self.write_word(self.memory + 4 * at, word)) for at, word in writes]}

    async def do_register(self, name: str, value: int) -> dict[str, Any]:
        """A register."""
        assert await self.write_word(self.registers[name], value) == 0, f"{name} is writable"
        return {}

    async def do_wait(self, cycles: int) -> dict[str, Any]:
        """Nothing."""
        await self.bench.cycles(cycles)
        return {}

    async def do_reset(self) -> dict[str, Any]:
        """The reset."""
        await self.bench.reset()
        await self.bench.cycles(2)
        return {}

    async def do_status(self, enable: int) -> dict[str, Any]:
        """Everything that tells how the engine is; the interrupt with these causes enabled."""
        await self.do_register("errors_enable", enable)
        await self.bench.cycles(2)
        status = await self.read("status")
        return {
            "errors": await self.read("errors"), "error_frame": await self.read("error_frame"), "busy": status & 1,
            "seeded": status >> 1 & 1, "irq": int(self.design.irq.value), "interrupt": status >> 2 & 1,
            "counters": {name: await self.read(name) for name in COUNTERS},
        }  # fmt: skip

    async def do_traffic(
        self, beats: list[list[int]], count: int, cut: int | None, late_write: list[int],
        input_stalls: dict[str, Any], output_stalls: dict[str, Any],
    ) -> dict[str, Any]:  # fmt: skip
        """Frames in and out, until all that is expected came and nothing more, nothing moves, or it is cut off."""
        self.source.set_pause_generator(Stalls(**input_stalls).cycles())
        self.sink.set_pause_generator(Stalls(**output_stalls).cycles())
        await self.bench.edge
        self.trace, self.beats, self.moved = [], [], 0
        self.rules.forget()
        self.watching, start = True, time.process_time()
        for frame in frames(beats, self.lanes):
            self.source.send_nowait(frame)
        late = None
        while True:
            await self.bench.edge
            if late_write and late is None and len(self.trace) >= late_write[0]:
                late = cocotb.start_soon(self.write_word(self.memory + 4 * late_write[1], late_write[2]))
            if len(self.trace) == cut:
                break
            sent = self.source.idle()
            limit = QUIET if len(self.beats) >= count and sent else PATIENCE
            if self.moved > limit and cut is None:
                break
            if self.moved > QUIET and cut is not None and len(self.beats) >= count:
                break
        self.watching = False
        found = {
            "beats": self.beats, "trace": self.trace, "seconds": time.process_time() - start,
            "late": None if late is None else int(await late),
        }  # fmt: skip
        if cut is not None:
            await self._stop_streams()
        return found

    async def _stop_streams(self) -> None:
        """Both ends begin anew, as the document asks for before a restart."""
        for end in (self.source, self.sink):
            end.assert_reset(True)
            end.clear()
        await self.bench.cycles(2)
        self.sink.clear()
        for end in (self.source, self.sink):
            end.assert_reset(False)


def frames(beats: list[list[int]], lanes: int) -> list[AxiStreamFrame]:
    """Beats as frames of the independent source, which ends one with each ``tlast``."""
    found, data, blocks = [], bytearray(), []
    for word, last, block in beats:
        data += word.to_bytes(lanes, "little")
        blocks += [block] * lanes
        if last:
            found.append(AxiStreamFrame(bytes(data), tid=blocks))
            data, blocks = bytearray(), []
    assert not data, "the last frame ends"
    return found


@cocotb.test()
async def run_session(design: Any) -> None:
    """Every step after the other."""
    folder = Path(os.environ["QUIETBAR_SESSION"])
    session = json.loads((folder / "session.json").read_text())
    bench = EngineBench(design, session["registers"], session["memory"])
    await bench.do_reset()
    observations = []
    for do, arguments in session["steps"]:
        observations.append(await getattr(bench, f"do_{do}")(**arguments))
        (folder / "observations.json").write_text(json.dumps(observations))
