"""The registers of the engine: its map, made for a configuration, and the bank in front of its core."""

from __future__ import annotations

import functools
from pathlib import Path

from amaranth.hdl import Cat, Module, Signal

from quietbar.contract.engine import COUNTERS, REFERENCE, EngineConfig, EngineError

from ..engine.control import control_signature
from .bank import RegisterBank
from .core import REGISTER_SPACE, CoreRegisters
from .generate import markdown_text
from .model import WORD_BYTES, RegisterMap
from .rdl import read_map

SOURCE = Path(__file__).parent / "engine.rdl"


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


class EngineRegisters(CoreRegisters):
    """The register bank of an engine, to be put between an AXI4-Lite port and the core's ``control``.

    Timing: see :class:`~quietbar_hw.registers.bank.RegisterBank`. A write of the memory is answered when the core has
    judged it.

    Members: those of :class:`~quietbar_hw.registers.core.CoreRegisters`; ``control`` is
    :func:`quietbar_hw.engine.control.control_signature`.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        super().__init__(engine_map(config), control_signature(config))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bank = self.connect(m, EngineError, COUNTERS)
        control = self.control
        m.d.comb += [
            bank.status_seeded.eq(control.seeded),
            bank.error_frame_block.eq(control.error_block),
        ]

        # The core counts frames as they leave; a step of either counter is a frame.
        left = Cat(control.counters[COUNTERS.index(name)][0] for name in ("frames", "bad_frames"))
        left_before, cleared = Signal.like(left), Signal()
        m.d.sync += [left_before.eq(left), cleared.eq(control.clear)]
        m.d.comb += bank.events_frame_set.eq((left != left_before) & ~cleared)
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
