"""The registers of the engine: its map, made for a configuration, and the bank in front of its core."""

from __future__ import annotations

import functools
from pathlib import Path

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract.engine import COUNTERS, REFERENCE, EngineConfig, EngineError

from ..engine.control import control_signature
from .axi_lite import axi_lite_members, connect_axi_lite
from .bank import RegisterBank
from .generate import markdown_text
from .model import WORD_BYTES, RegisterMap
from .rdl import read_map

SOURCE = Path(__file__).parent / "engine.rdl"
REGISTER_SPACE = 0x400
"""Bytes that are kept for registers; memory begins behind them, at a multiple of its size."""


def engine_parameters(config: EngineConfig) -> dict[str, int]:
    """What the source is elaborated with."""
    fields = (
        "lanes", "group", "outputs", "channels", "hidden", "height", "width", "blocks", "matrix_rows", "window_rows",
        "hidden_rows", "channel_rows", "noise", "dense", "depthwise", "fraction_bits", "id_bits", "section_bits",
    )  # fmt: skip
    words = 1 << config.address_bits
    return {
        **{name.upper(): int(getattr(config, name)) for name in fields},
        "INVERSE_CDF": int(config.noise and config.source == "inverse-cdf"),
        "MEMORY_WORDS": words,
        "MEMORY_ADDRESS": max(words * WORD_BYTES, REGISTER_SPACE),
    }


@functools.cache
def engine_map(config: EngineConfig) -> RegisterMap:
    """The register map of an engine."""
    return read_map(SOURCE, engine_parameters(config))


def engine_page() -> str:
    """The map of the reference engine as it stands in ``docs/registers-engine.md``."""
    return markdown_text(engine_map(REFERENCE), f"hw/quietbar_hw/registers/{SOURCE.name}")


class EngineRegisters(wiring.Component):
    """The register bank of an engine, to be put between an AXI4-Lite port and the core's ``control``.

    Timing: see :class:`~quietbar_hw.registers.bank.RegisterBank`. A write of the memory is answered when the core has
    judged it.

    Members:
        s_axil_...: the AXI4-Lite port.
        control: Out, see :func:`quietbar_hw.engine.control.control_signature`.
        interrupt: Out(1), a level: an enabled error or event is there.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config, self.map = config, engine_map(config)
        super().__init__(
            {
                **axi_lite_members("s_axil", self.map.address_bits),
                "control": In(control_signature(config)),
                "interrupt": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.bank = bank = RegisterBank(self.map)
        connect_axi_lite(m, self, bank)
        control = self.control
        m.d.comb += [
            control.run.eq(bank.control_run),
            control.restart.eq(bank.control_restart),
            control.clear.eq(bank.control_clear),
            bank.status_busy.eq(control.busy),
            bank.status_seeded.eq(control.seeded),
            bank.status_interrupt.eq(self.interrupt),
            bank.error_frame_block.eq(control.error_block),
            self.interrupt.eq(bank.errors_interrupt | bank.events_interrupt),
        ]
        for error in EngineError:
            event = getattr(bank, f"errors_{str(error.name).lower()}_set")
            m.d.comb += event.eq(control.errors[error.bit_length() - 1])
        for number, name in enumerate(COUNTERS):
            m.d.comb += getattr(bank, f"{name}_count").eq(control.counters[number])

        # The core counts frames as they leave; a step of either counter is a frame.
        left = Cat(control.counters[COUNTERS.index(name)][0] for name in ("frames", "bad_frames"))
        left_before, busy_before, cleared = Signal.like(left), Signal(), Signal()
        m.d.sync += [left_before.eq(left), busy_before.eq(control.busy), cleared.eq(control.clear)]
        m.d.comb += [
            bank.events_frame_set.eq((left != left_before) & ~cleared),
            bank.events_finished_set.eq(busy_before & ~control.busy),
        ]
        self._memory(m, bank)
        return m

    def _memory(self, m: Module, bank: RegisterBank) -> None:
        """A write of the window becomes one of the core's, whose answer is awaited; parts of words are refused."""
        control, sent = self.control, Signal()
        whole = bank.memory_write_strobe.all()
        taken = control.write.valid & control.write.ready
        m.d.comb += [
            control.write.valid.eq(bank.memory_select & whole & ~sent),
            control.write.payload.address.eq(bank.memory_address),
            control.write.payload.word.eq(bank.memory_write_data),
            bank.memory_acknowledge.eq(bank.memory_select & (~whole | (sent & control.written))),
            bank.memory_refused.eq(~whole | control.refused),
        ]
        m.d.sync += sent.eq((sent | taken) & ~bank.memory_acknowledge)
