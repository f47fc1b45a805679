"""The registers of crossbar tiles: their map, made for a configuration, and the bank in front of them."""

from __future__ import annotations

import functools
from pathlib import Path

from amaranth.hdl import Module

from quietbar.contract import CrossbarConfig
from quietbar.contract.crossbar import OUTPUTS

from ..crossbar.control import COUNTERS, KIND_BITS, Cause, control_signature, index_bits
from ..crossbar.folding import CrossbarFolding
from .core import REGISTER_SPACE, CoreRegisters
from .generate import markdown_text
from .model import WORD_BYTES, RegisterMap
from .rdl import read_map

SOURCE = Path(__file__).parent / "crossbar.rdl"
REFERENCE = CrossbarConfig(64, 64, faults=True, drift=True)
"""The tile of the page in ``docs``."""


def crossbar_parameters(config: CrossbarConfig, folding: CrossbarFolding) -> dict[str, int]:
    """What the source is elaborated with."""
    fields = (
        "rows", "columns", "row_tiles", "column_tiles", "dac_bits", "slices", "adc_bits", "noisy_programming", "faults",
        "drift",
    )  # fmt: skip
    words = 1 << (KIND_BITS + index_bits(config))
    return {
        **{name.upper(): int(getattr(config, name)) for name in fields},
        "OUTPUT": OUTPUTS.index(config.output),
        "INPUT_LANES": folding.input_lanes,
        "OUTPUT_LANES": folding.output_lanes,
        "INDEX_BITS": index_bits(config),
        "MEMORY_WORDS": words,
        "MEMORY_ADDRESS": max(words * WORD_BYTES, REGISTER_SPACE),
    }


@functools.cache
def crossbar_map(config: CrossbarConfig, folding: CrossbarFolding) -> RegisterMap:
    """The register map of tiles."""
    return read_map(SOURCE, crossbar_parameters(config, folding))


def crossbar_page() -> str:
    """The map of the reference tile as it stands in ``docs/registers-crossbar.md``."""
    return markdown_text(crossbar_map(REFERENCE, CrossbarFolding()), f"hw/quietbar_hw/registers/{SOURCE.name}")


class CrossbarRegisters(CoreRegisters):
    """The register bank of tiles, to be put between an AXI4-Lite port and their ``control``.

    Timing: see :class:`~quietbar_hw.registers.bank.RegisterBank`. A write of the memory is answered when the tiles have
    taken the word: they may first have to put the frame before into effect, at most ``weights + 16`` cycles.

    Members: those of :class:`~quietbar_hw.registers.core.CoreRegisters`; ``control`` is
    :func:`quietbar_hw.crossbar.control.control_signature`.
    """

    def __init__(self, config: CrossbarConfig, folding: CrossbarFolding) -> None:
        self.config = config
        super().__init__(crossbar_map(config, folding), control_signature(config))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bank = self.connect(m, Cause, COUNTERS)
        control = self.control
        m.d.comb += [
            bank.status_ready.eq(control.ready),
            bank.status_open.eq(control.open),
            bank.status_loaded.eq(control.loaded),
            bank.age_step.eq(control.time),
        ]

        # A write of the window is one of the tiles'; parts of words are refused.
        whole, bits = bank.memory_write_strobe.all(), index_bits(self.config)
        m.d.comb += [
            control.write.valid.eq(bank.memory_select & whole),
            control.write.p.index.eq(bank.memory_address[:bits]),
            control.write.p.kind.eq(bank.memory_address[bits:]),
            control.write.p.word.eq(bank.memory_write_data),
            bank.memory_acknowledge.eq(bank.memory_select & (~whole | control.write.ready)),
            bank.memory_refused.eq(~whole | control.refused),
        ]
        return m
