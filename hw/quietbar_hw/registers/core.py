"""What the register banks of the engine and of crossbar tiles share: they stand in front of a core with ``control``."""

from __future__ import annotations

import enum
from collections.abc import Sequence

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .axi_lite import axi_lite_members, connect_axi_lite
from .bank import RegisterBank
from .model import RegisterMap

REGISTER_SPACE = 0x400
"""Bytes that are kept for registers; memory begins behind them, at a multiple of its size."""


class CoreRegisters(wiring.Component):
    """A register bank between an AXI4-Lite port and a core's ``control``; subclasses add what only their core has.

    Members:
        s_axil_...: the AXI4-Lite port.
        control: Out, as the core's.
        interrupt: Out(1), a level: an enabled error or event is there.
    """

    def __init__(self, registers: RegisterMap, control: wiring.Signature) -> None:
        self.map = registers
        super().__init__(
            {
                **axi_lite_members("s_axil", registers.address_bits),
                "control": In(control),
                "interrupt": Out(1),
            }
        )

    def connect(self, m: Module, errors: type[enum.IntFlag], counters: Sequence[str]) -> RegisterBank:
        """Add the bank: the core's commands, its errors and counters by name, and the event that it has finished."""
        m.submodules.bank = bank = RegisterBank(self.map)
        connect_axi_lite(m, self, bank)
        control, busy_before = self.control, Signal()
        m.d.sync += busy_before.eq(control.busy)
        m.d.comb += [
            control.run.eq(bank.control_run),
            control.restart.eq(bank.control_restart),
            control.clear.eq(bank.control_clear),
            bank.status_busy.eq(control.busy),
            bank.status_interrupt.eq(self.interrupt),
            bank.events_finished_set.eq(busy_before & ~control.busy),
            self.interrupt.eq(bank.errors_interrupt | bank.events_interrupt),
        ]
        for error in errors:
            event = getattr(bank, f"errors_{str(error.name).lower()}_set")
            m.d.comb += event.eq(control.errors[error.bit_length() - 1])
        for number, name in enumerate(counters):
            m.d.comb += getattr(bank, f"{name}_count").eq(control.counters[number])
        return bank
