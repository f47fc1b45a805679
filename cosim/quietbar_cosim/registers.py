"""Register maps on the Verilog: their checks under cocotb, and their drivers over cocotbext-axi."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from quietbar.contract import require
from quietbar_hw.registers import RegisterMap
from quietbar_hw.registers.checks import checks
from quietbar_hw.registers.driver import BusError

from .build import Design
from .regression import run_bench

BENCH = "quietbar_cosim.benches.registers"


def check_design(
    design: Design,
    registers: RegisterMap,
    *,
    names: Sequence[str] = (),
    port: str = "s_axil",
    windows: bool = True,
    bus_only: bool = False,
    stall: float = 0.0,
    seed: int = 1,
) -> int:
    """Run the checks of a map on a design, through cocotbext-axi; how many there were.

    Args:
        design: with an AXI4-Lite port called ``port``, and with the members of a bank as far as the checks use them.
        registers: the map.
        names: of the checks to run; all of them if empty.
        windows, bus_only: see :func:`quietbar_hw.registers.checks.checks`.
        stall: probability that a channel pauses, cycle by cycle.
        seed: of data, pauses, and of what registers hold before the first reset.

    Raises:
        BenchFailure: the bank is not what the map says; the register is named.
    """
    known = checks(registers, seed, windows=windows, bus_only=bus_only)
    for name in names:
        require(name in known, "check", name, "one of " + ", ".join(known))
    with tempfile.TemporaryDirectory(prefix="quietbar-registers-") as folder:
        settings = Path(folder) / "registers.json"
        values = {"map": registers.to_dict(), "port": port, "stall": stall, "seed": seed, "checks": list(names)}
        settings.write_text(json.dumps({**values, "options": {"windows": windows, "bus_only": bus_only}}))
        run_bench(design, BENCH, Path(folder), seed, {"QUIETBAR_REGISTERS": str(settings)})
    return len(names or known)


class CocotbBus:
    """The bus of a driver inside a cocotb bench, over a master of cocotbext-axi.

    A driver's calls wait, so they run beside the simulator, in a thread that `cocotb.task.bridge` makes::

        master = AxiLiteMaster(AxiLiteBus.from_prefix(design, "s_axil"), design.clk, design.rst)
        engine = Engine(CocotbBus(master))
        await bridge(configure)(engine)
    """

    def __init__(self, master: Any) -> None:
        from cocotb.task import resume

        self._read, self._write = resume(self._read_word), resume(self._write_word)
        self._master = master

    def read(self, address: int) -> int:
        """The word at ``address``; raises BusError where the device refuses."""
        return self._read(address)

    def write(self, address: int, value: int) -> None:
        """Write the word at ``address``; raises BusError where the device refuses."""
        self._write(address, value)

    async def _read_word(self, address: int) -> int:
        answer = await self._master.read(address, 4)
        if int(answer.resp):
            raise BusError(f"read of {address:#x}: {answer.resp.name}")
        return int.from_bytes(answer.data, "little")

    async def _write_word(self, address: int, value: int) -> None:
        answer = await self._master.write(address, value.to_bytes(4, "little"))
        if int(answer.resp):
            raise BusError(f"write of {address:#x}: {answer.resp.name}")
