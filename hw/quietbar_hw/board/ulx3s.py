"""The ULX3S, a board with a Lattice ECP5 and a USB serial adapter: https://ulx3s.github.io.

Its pins and their electrical standards come from the package amaranth-boards (``amaranth_boards.ulx3s``), which follows
the board's own constraints, https://github.com/emard/ulx3s/blob/master/doc/constraints/ulx3s_v20.lpf.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import ClockDomain, ClockSignal, Elaboratable, Instance, Module, Signal
from amaranth.lib import io
from amaranth.lib.cdc import ResetSynchronizer

from quietbar.contract.engine import EngineConfig
from quietbar.contract.errors import QuietbarError, require, require_choice, require_integer, require_number
from quietbar.toolchain import pip_command

from .top import SerialEngine
from .uart import LEAST_DIVISOR

DEVICES = ("12F", "25F", "45F", "85F")
"""Sizes of the ECP5 that the board is sold with."""
OSCILLATOR_MHZ = 25.0
BAUD = 3_000_000
"""The fastest that the board's adapter, an FT231X, does."""

BOARD_ENGINE = EngineConfig(
    lanes=2, group=1, outputs=1, channels=64, hidden=16, height=32, width=32, blocks=16, matrix_rows=4096,
    window_rows=256, hidden_rows=256, channel_rows=512, noise=False, kernels="depthwise",
)  # fmt: skip
"""Fits the smallest of the devices, and holds the blocks of this project's recipes."""


@dataclass(frozen=True)
class Pll:
    """Dividers of the ECP5's phase-locked loop, fed back from its output.

    Bounds are those of the ECP5 family's data sheet (Lattice FPGA-DS-02012, sysCLOCK PLL timing): 3.125 to 400 MHz at
    the phase detector, 400 to 800 MHz of the oscillator.

    Attributes:
        reference: divides the input.
        feedback: divides the output on its way back.
        output: divides the oscillator.
    """

    reference: int = 5
    feedback: int = 12
    output: int = 10

    def __post_init__(self) -> None:
        for name in ("reference", "feedback", "output"):
            require_integer(f"pll.{name}", getattr(self, name), 1, 128)
        require_number("pll.detector_mhz", OSCILLATOR_MHZ / self.reference, 3.125, 400.0)
        require_number("pll.oscillator_mhz", self.mhz * self.output, 400.0, 800.0)

    @property
    def mhz(self) -> float:
        """Frequency of the output."""
        return OSCILLATOR_MHZ * self.feedback / self.reference


DEFAULT_PLL = Pll()
"""60 MHz: 20 cycles of it are a bit at `BAUD`."""


class Ulx3s(Elaboratable):
    """A :class:`SerialEngine` on the board: clock, reset, serial line.

    Reset lasts until the loop has locked. LEDs: D0 the loop has locked, D1 the interrupt, D2 and D3 a low level on the
    line from and to the host.

    Args:
        config: of the engine.
        pll: makes the engine's clock.
        baud: of the line; the clock must be a multiple of it, to one in a hundred.

    Attributes:
        top: the serial engine.
    """

    def __init__(self, config: EngineConfig, pll: Pll = DEFAULT_PLL, baud: int = BAUD) -> None:
        require_integer("board.baud", baud, 300, BAUD)
        divisor = round(pll.mhz * 1e6 / baud)
        true = pll.mhz * 1e6 / max(divisor, 1)
        fits = divisor >= LEAST_DIVISOR and abs(true / baud - 1) <= 0.01
        require(
            fits,
            "board.baud",
            baud,
            f"a speed of which {pll.mhz:g} MHz is a whole multiple to 1 %, {LEAST_DIVISOR} times or more",
        )
        self.pll, self.top = pll, SerialEngine(config, divisor)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.serial_engine = top = self.top
        oscillator = platform.request("clk25", dir="-")
        uart = platform.request("uart", dir={"rx": "-", "tx": "-", "rts": "-", "dtr": "-"})
        m.submodules.oscillator = oscillator_in = io.Buffer("i", oscillator)
        m.submodules.rx, m.submodules.tx = rx, tx = io.Buffer("i", uart.rx), io.Buffer("o", uart.tx)
        m.d.comb += [top.rx.eq(rx.i), tx.o.eq(top.tx)]
        clock, locked = Signal(name="engine_clock"), Signal(name="pll_locked")
        m.submodules.pll = Instance(
            "EHXPLLL",
            a_FREQUENCY_PIN_CLKI=f"{OSCILLATOR_MHZ:g}",
            a_FREQUENCY_PIN_CLKOP=f"{self.pll.mhz:g}",
            # The loop's filter as Project Trellis' ecppll sets it.
            a_ICP_CURRENT="12",
            a_LPF_RESISTOR="8",
            a_MFG_ENABLE_FILTEROPAMP="1",
            a_MFG_GMCREF_SEL="2",
            p_CLKI_DIV=self.pll.reference,
            p_CLKFB_DIV=self.pll.feedback,
            p_CLKOP_ENABLE="ENABLED",
            p_CLKOP_DIV=self.pll.output,
            p_CLKOP_CPHASE=self.pll.output // 2 - 1,
            p_CLKOP_FPHASE=0,
            p_FEEDBK_PATH="CLKOP",
            i_CLKI=oscillator_in.i,
            i_CLKFB=clock,
            i_RST=0,
            i_STDBY=0,
            i_PHASESEL0=0,
            i_PHASESEL1=0,
            i_PHASEDIR=1,
            i_PHASESTEP=1,
            i_PHASELOADREG=1,
            i_PLLWAKESYNC=0,
            i_ENCLKOP=0,
            o_CLKOP=clock,
            o_LOCK=locked,
        )
        m.domains.sync = ClockDomain()
        m.d.comb += ClockSignal().eq(clock)
        m.submodules.reset = ResetSynchronizer(~locked)
        platform.add_clock_constraint(clock, self.pll.mhz * 1e6)
        for number, value in enumerate((locked, top.irq, ~top.rx, ~top.tx)):
            m.submodules[f"led_{number}"] = led = io.Buffer("o", platform.request("led", number, dir="-"))
            m.d.comb += led.o.eq(value)
        return m


def platform_of(device: str) -> Any:
    """The platform of amaranth-boards for a size of the board's ECP5."""
    require_choice("board.device", device, DEVICES)
    try:
        boards = importlib.import_module("amaranth_boards.ulx3s")
    except ModuleNotFoundError as error:
        raise QuietbarError(f"amaranth-boards is not installed: {pip_command('amaranth-boards')}") from error
    return getattr(boards, f"ULX3S_{device}_Platform")()
