"""What a design takes of an FPGA, estimated from its words: no synthesis, seconds instead of minutes.

Multipliers and memories follow rules: those by which Yosys maps them. Look-up tables and flip-flops are sums over the
words, with weights that were fitted on syntheses of small engines and of parts of engines. Weights, syntheses and what
they gave stand in ``estimate.json``, which ``quietbar fold --refit`` makes anew; whole engines on which nothing was
fitted are in it too, and `BAND` holds for them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from .devices import RESOURCES
from .words import Memory, Words

DATA = Path(__file__).with_name("estimate.json")

BAND = {"LUT": 0.15, "FF": 0.10, "DSP": 0.05, "RAM": 0.10}
"""How far a synthesis of an engine may be from its estimate, as a share of the synthesis; one more or less always."""

FEATURES = {"LUT": ("arithmetic", "glue", "grid"), "FF": ("flip_flops", "absorbed")}
"""Resource -> what it is a weighted sum of; see `features`."""


@dataclass(frozen=True)
class Rules:
    """How Yosys maps products and memories of a family.

    Attributes:
        factors: largest factors of one multiplier, the wider first.
        product: a product of fewer bits is made of LUTs, and one of two factors of at most ``narrow`` bits.
        blocks: shapes of a block memory, (bits, rows), with a port to write and one to read.
        spread: shapes of a unit of memory made of LUTs, (bits, rows); none: registers are used.
        spread_luts: LUTs of a unit.
        spread_units: what takes more units for each block memory becomes block memory, where its reads are clocked.
        rom_rows: rows of a bit that one LUT holds.
        rom_luts: what takes more LUTs for each block memory becomes block memory, where it is never written.
    """

    factors: tuple[int, int]
    product: int
    narrow: int
    blocks: tuple[tuple[int, int], ...]
    spread: tuple[tuple[int, int], ...]
    spread_luts: int
    spread_units: int
    rom_rows: int
    rom_luts: int = 128


_18_KBIT = ((36, 512), (18, 1024), (9, 2048), (4, 4096))
RULES = {
    "ecp5": Rules((18, 18), 0, 0, _18_KBIT, ((4, 16),), spread_luts=6, spread_units=20, rom_rows=16),
    "ice40": Rules((16, 16), 11, 9, ((16, 256), (8, 512), (4, 1024), (2, 2048)), (), 0, 0, rom_rows=16),
    "xilinx7": Rules((25, 18), 9, 0, _18_KBIT, ((6, 32), (3, 64)), spread_luts=4, spread_units=12, rom_rows=64),
}
"""By family; found by synthesising single memories and products."""


def _ceiling(number: int, unit: int) -> int:
    return -(-number // unit)


def memory_places(rules: Rules, memory: Memory) -> dict[str, int]:
    """LUTs, flip-flops and block memories of a memory."""
    bits, rows = memory.bits, memory.rows
    blocks = min(_ceiling(bits, width) * _ceiling(rows, depth) for width, depth in rules.blocks)
    registered = bits if memory.clocked else 0
    if not memory.writers:
        luts = bits * _ceiling(rows, rules.rom_rows)
        if memory.clocked and luts > rules.rom_luts * blocks:
            return _places(ram=blocks * memory.readers)
        return _places(luts * memory.readers, registered * memory.readers)
    if not rules.spread:
        if memory.clocked and bits * rows > REGISTERS * blocks:
            return _places(ram=blocks * memory.readers)
        # A register for each bit, a choice to write it and one to read it.
        return _places(2 * bits * rows, bits * rows + registered)
    width, depth = next((shape for shape in rules.spread if shape[1] >= rows), rules.spread[-1])
    deep = _ceiling(rows, depth)
    units = _ceiling(bits, width) * deep
    if memory.clocked and units > rules.spread_units * blocks:
        return _places(ram=blocks * memory.readers)
    joining = bits * (deep - 1)
    return _places((units * rules.spread_luts + joining) * memory.readers, registered * memory.readers)


REGISTERS = 64
"""Bits for each block memory up to which a family without memory made of LUTs uses registers."""


def _places(lut: int = 0, ff: int = 0, ram: int = 0) -> dict[str, int]:
    return {"LUT": lut, "FF": ff, "DSP": 0, "RAM": ram}


def multipliers_of(rules: Rules, wide: int, narrow: int) -> int:
    """Multipliers that a product takes; 0 where it is made of LUTs."""
    if wide + narrow < rules.product or wide <= rules.narrow or narrow < 2:
        return 0
    # A factor's last bit on its own is a matter of LUTs.
    return _ceiling(wide - 1, rules.factors[0]) * _ceiling(narrow - 1, rules.factors[1])


def fixed_places(family: str, words: Words) -> dict[str, int]:
    """What follows from rules alone: multipliers, and everything that memories take."""
    rules, found = RULES[family], dict.fromkeys(RESOURCES, 0)
    for memory in words.memories:
        for resource, count in memory_places(rules, memory).items():
            found[resource] += count
    for (wide, narrow), count in words.products.items():
        found["DSP"] += count * multipliers_of(rules, wide, narrow)
    return found


def features(family: str, words: Words) -> dict[str, int]:
    """What the weights belong to: bits of words.

    ``grid`` is bits times bits of the products that are made of LUTs; ``absorbed``, which is negative, the bits of
    factors and results of all others, whose registers a multiplier may have inside. Shifts go without a weight: engines
    shift in requantizers alone, in step with the arithmetic there.
    """
    rules, bits = RULES[family], words.bits
    grid = sum(
        count * wide * narrow
        for (wide, narrow), count in words.products.items()
        if not multipliers_of(rules, wide, narrow)
    )
    absorbed = sum(
        2 * count * (wide + narrow)
        for (wide, narrow), count in words.products.items()
        if multipliers_of(rules, wide, narrow)
    )
    return {
        "arithmetic": bits["arithmetic"],
        "glue": bits["choices"] + bits["logic"],
        "grid": grid,
        "flip_flops": bits["flip_flops"],
        "absorbed": -absorbed,
    }


Weights = Mapping[str, Mapping[str, float]]
"""Resource -> feature -> weight."""


@cache
def data() -> dict[str, Any]:
    """The content of ``estimate.json``."""
    found: dict[str, Any] = json.loads(DATA.read_text(encoding="utf-8"))
    return found


def estimate(family: str, words: Words, weights: Weights | None = None) -> dict[str, int]:
    """What a design takes, by the names of ``RESOURCES``.

    Args:
        family: of :data:`quietbar_hw.synthesis.devices.FAMILIES`.
        words: of the design.
        weights: other ones than those in ``estimate.json``.
    """
    weights = data()["weights"][family] if weights is None else weights
    found, counted = fixed_places(family, words), features(family, words)
    for resource, names in FEATURES.items():
        found[resource] += round(sum(weights[resource][name] * counted[name] for name in names))
    return found


def outside(estimated: Mapping[str, int], synthesized: Mapping[str, int]) -> list[str]:
    """Where a synthesis is further from its estimate than `BAND` says, one line each."""
    found = []
    for resource, band in BAND.items():
        there, here = synthesized[resource], estimated[resource]
        if abs(here - there) > max(1, math.ceil(there * band)):
            share = f"{here / there - 1:+.1%}" if there else "none there"
            found.append(f"{resource}: estimate {here:,}, synthesis {there:,} ({share}, band {band:.0%})")
    return found


def words_to_dict(words: Words) -> dict[str, Any]:
    """Plain values for ``estimate.json``; equal memories are put together."""
    memories: dict[tuple[Any, ...], int] = {}
    for memory in words.memories:
        key = (memory.bits, memory.rows, memory.readers, memory.writers, memory.clocked)
        memories[key] = memories.get(key, 0) + 1
    products = [[*factors, count] for factors, count in sorted(words.products.items())]
    return {"bits": words.bits, "products": products, "memories": [[*key, n] for key, n in sorted(memories.items())]}


def words_from_dict(values: Mapping[str, Any]) -> Words:
    """The inverse of :func:`words_to_dict`, but for the order of memories."""
    products = {(wide, narrow): count for wide, narrow, count in values["products"]}
    memories = tuple(Memory(*key) for *key, count in values["memories"] for _ in range(count))
    return Words(dict(values["bits"]), products, memories)
