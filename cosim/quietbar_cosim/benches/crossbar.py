"""The bench for crossbar tiles behind registers: everything through the driver and cocotbext-axi's masters and slaves.

Runs inside the simulator. The environment variable ``QUIETBAR_SCENES`` names the folder that
:func:`quietbar_cosim.crossbar_scenes.observe` filled; what came of each scene goes there too.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import cocotb
from cocotb.task import bridge
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiStreamBus, AxiStreamFrame, AxiStreamSink, AxiStreamSource

from quietbar.contract import CrossbarConfig
from quietbar_cosim.registers import CocotbBus
from quietbar_cosim.rules import StreamRules
from quietbar_cosim.stalls import Stalls
from quietbar_cosim.stream import Bench
from quietbar_hw.crossbar.control import word_address
from quietbar_hw.crossbar.driver import CrossbarDriver
from quietbar_hw.crossbar.folding import CrossbarFolding

PATIENCE = 3_000
"""Cycles without a beat after which an exchange is over."""
QUIET = 100
"""Cycles after the last expected beat in which none may follow."""


class CrossbarBench:
    """The ends of the tiles' streams, and the driver over their AXI4-Lite port."""

    def __init__(self, design: Any, config: CrossbarConfig, folding: CrossbarFolding) -> None:
        logging.getLogger("cocotb").setLevel(logging.WARNING)
        self.bench, self.design, self.config, self.folding = Bench(design), design, config, folding
        clock, reset = design.clk, design.rst
        self.master = AxiLiteMaster(AxiLiteBus.from_prefix(design, "s_axil"), clock, reset)
        self.bus = CocotbBus(self.master)
        # A beat of codes narrower than bytes is one element of the independent source.
        self.source = AxiStreamSource(
            AxiStreamBus.from_prefix(design, "s_axis"), clock, reset, byte_size=len(design.s_axis_tdata)
        )
        self.sink = AxiStreamSink(
            AxiStreamBus.from_prefix(design, "m_axis"), clock, reset, byte_size=len(design.m_axis_tdata)
        )
        self.rules = StreamRules("m_axis")
        self.watching = False
        self.beats: list[list[int]] = []
        self.moved = 0
        cocotb.start_soon(self._monitor())

    async def _monitor(self) -> None:
        design = self.design
        while True:
            await self.bench.edge
            # A restart and a reset drop what is offered, so the rules hold for exchanges alone.
            if not self.watching:
                continue
            valid, ready = design.m_axis_tvalid.value, design.m_axis_tready.value
            data, last = (int(design.m_axis_tdata.value), int(design.m_axis_tlast.value)) if int(valid) else (0, 0)
            taken = int(design.s_axis_tvalid.value) and int(design.s_axis_tready.value)
            self.moved = 0 if taken or (int(valid) and int(ready)) else self.moved + 1
            if self.rules.observe(self.bench.cycle, bool(int(valid)), bool(int(ready)), data, bool(last)):
                self.beats.append([data, last])

    @property
    def driver(self) -> CrossbarDriver:
        """Made anew, which reads what the tiles are."""
        return CrossbarDriver(self.bus, self.config, self.folding)

    async def do_reset(self) -> dict[str, Any]:
        """The reset, in whatever state the tiles are."""
        await self._stop_streams()
        await self.bench.reset()
        await self.bench.cycles(2)
        return {}

    async def do_load(self, frames: list[list[int]]) -> dict[str, Any]:
        """Frames, by the driver; what is missing before and after."""

        @bridge
        def load() -> list[list[int]]:
            driver = self.driver
            before = driver.missing()
            driver.load(frames)
            return [list(before), list(driver.missing())]

        before, after = await load()
        return {"before": before, "after": after}

    async def do_write(self, words: list[list[int]], stop: bool) -> dict[str, Any]:
        """Words at addresses; the responses, the causes, the interrupt with all causes enabled."""
        registers = {register.name: register.address for register in self._map.registers}
        (window,) = self._map.windows
        if stop:
            await self._write(registers["control"], 0)
        await self._write(registers["errors_enable"], 0xFF)
        responses = []
        for kind, index, word in words:
            address = window.address + 4 * word_address(self.config, kind, index)
            responses.append(await self._write(address, word))
        await self.bench.cycles(4)
        irq = int(self.design.irq.value)
        found: dict[str, Any] = await bridge(lambda: self._causes())()
        return {"refused": [bool(each) for each in responses], "irq": irq, **found}

    def _causes(self) -> dict[str, Any]:
        driver = self.driver
        open_, causes = driver.device.status.open, int(driver.take_errors())
        driver.start()
        return {"causes": causes, "open": open_}

    async def do_recover(self) -> dict[str, Any]:
        """Both ends begin anew, and so do the tiles."""
        await self._stop_streams()

        @bridge
        def recover() -> dict[str, Any]:
            driver = self.driver
            busy, causes = driver.device.status.busy, int(driver.recover())
            return {"busy": busy, "causes": causes, "missing": list(driver.missing())}

        found: dict[str, Any] = await recover()
        return found

    async def do_status(self) -> dict[str, Any]:
        """Everything that can be read."""

        @bridge
        def status() -> dict[str, Any]:
            driver = self.driver
            return {
                "causes": int(driver.errors()), "age": driver.device.age.step, "busy": driver.device.status.busy,
                "counters": driver.counters(),
            }  # fmt: skip

        found: dict[str, Any] = await status()
        return found

    async def do_vectors(
        self, beats: list[int], last: list[int], count: int, cut: int | None,
        input_stalls: dict[str, Any], output_stalls: dict[str, Any],
    ) -> dict[str, Any]:  # fmt: skip
        """Beats in and out, until all that is expected came and nothing more, nothing moves, or it is cut off."""
        self.source.set_pause_generator(Stalls(**input_stalls).cycles())
        self.sink.set_pause_generator(Stalls(**output_stalls).cycles())
        self.beats.clear()
        frame: list[int] = []
        for word, ends in zip(beats, last, strict=True):
            frame.append(word)
            if ends:
                self.source.send_nowait(AxiStreamFrame(frame))
                frame = []
        self.rules.forget()
        self.moved, begun, self.watching = 0, self.bench.cycle, True
        while True:
            await self.bench.edge
            if cut is not None and self.bench.cycle - begun >= cut:
                break
            done = len(self.beats) >= count and self.source.idle()
            if self.moved > (QUIET if done else PATIENCE):
                break
        self.watching = False
        return {"beats": list(self.beats)}

    async def _write(self, address: int, value: int) -> int:
        return int((await self.master.write(address, value.to_bytes(4, "little"))).resp)

    @property
    def _map(self) -> Any:
        from quietbar_hw.registers.crossbar import crossbar_map

        return crossbar_map(self.config, self.folding)

    async def _stop_streams(self) -> None:
        for end in (self.source, self.sink):
            end.assert_reset(True)
            end.clear()
        await self.bench.cycles(2)
        self.sink.clear()
        for end in (self.source, self.sink):
            end.assert_reset(False)


@cocotb.test()
async def run_scenes(design: Any) -> None:
    """Every scene after the other."""
    folder = Path(os.environ["QUIETBAR_SCENES"])
    facts = json.loads((folder / "scenes.json").read_text())
    bench = CrossbarBench(design, CrossbarConfig(**facts["config"]), CrossbarFolding(**facts["folding"]))
    await bench.do_reset()
    observations = []
    for do, arguments in facts["scenes"]:
        observations.append(await getattr(bench, f"do_{do}")(**arguments))
        (folder / "observations.json").write_text(json.dumps(observations))
