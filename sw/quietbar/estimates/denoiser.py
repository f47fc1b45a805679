"""Costs of the denoising engine next to the arrays whose results it denoises: energy, latency and area, and its share.

The engine is digital, in the same chip as the arrays. Its cycles are those of its cycle model; its energy is what its
operations and memory accesses take, its area that of its multipliers, adders, requantizers and memories.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from quietbar.contract.block import WINDOW, BlockConfig
from quietbar.contract.descriptor import beats_of, groups_of, stage_cycles
from quietbar.contract.engine import EngineConfig, Section
from quietbar.contract.errors import require, require_choice, require_number

from .constants import CONSTANTS, HOROWITZ, Constant
from .estimate import Estimate

DALLY = (
    "W. Dally, High-Performance Hardware for Machine Learning, NIPS 2015 tutorial (areas of synthesized operators, "
    "TSMC 45 nm)"
)
MISTRY = "K. Mistry et al., A 45nm Logic Technology with High-k+Metal Gate Transistors, IEDM 2007"
SYNTHESIS = (
    "quietbar synth --design requantizer --target cells (osu018: 180 nm, 1.8 V; hw/synth/baseline.json), scaled to "
    "45 nm, 0.9 V"
)
SCALE_AREA, SCALE_ENERGY = (45 / 180) ** 2, (45 / 180) * (0.9 / 1.8) ** 2
"""From 180 nm and 1.8 V to 45 nm and 0.9 V: area goes with length squared, energy with length and voltage squared."""
REQUANTIZER_UM2, REQUANTIZER_MW, REQUANTIZER_MHZ = 113_590.0, 5.17, 100.0
"""Of the requantizer as synthesized."""

TILE_ENERGY = 12 * (16 + 4 + 0.01 + 2.4 + 0.2) / 330
TILE_AREA = 12 * (0.0096 + 0.00017 + 0.00004 + 0.0002 + 0.00024) / 0.372
"""What the parts that :mod:`.estimate` counts are of a whole tile of ISAAC, with buffers and interconnect: of 330 mW
and 0.372 mm2, those of 12 units of ADCs, DACs, sample-and-hold circuits, arrays and shift-and-add units (Table I)."""

ENGINE_CONSTANTS = {
    "mac_energy": CONSTANTS["digital_mac_energy"],
    "requantize_energy": Constant(
        REQUANTIZER_MW / REQUANTIZER_MHZ * 1e3 * SCALE_ENERGY,
        "pJ",
        "one result requantized",
        "5.17 mW at 100 MHz, one result a cycle, x (45/180) x (0.9/1.8)^2",
        SYNTHESIS,
    ),
    "add_energy": Constant(0.03, "pJ", "one addition of 8 bits", "as printed", HOROWITZ),
    "memory_energy": Constant(
        10 / 64, "pJ", "one bit read from or written to a small SRAM", "10 pJ for 64 bits of 8 KB", HOROWITZ
    ),
    "multiplier_area": Constant(282.0, "um2", "one multiplier of 8 bits", "as printed", DALLY),
    "adder_area": Constant(137.0, "um2", "one adder of 32 bits, one a multiplier", "as printed", DALLY),
    "requantizer_area": Constant(
        REQUANTIZER_UM2 * SCALE_AREA, "um2", "one requantizer", "113,590 um2 x (45/180)^2", SYNTHESIS
    ),
    "memory_area": Constant(0.346 / 0.5, "um2", "one bit of SRAM", "0.346 um2 a cell, which fills half", MISTRY),
}
"""Name -> figure, as in :data:`quietbar.estimates.CONSTANTS`."""

ENGINE_ASSUMPTIONS = (
    "one engine serves all blocks in turn; what it computes is what its RTL computes, padding included",
    "its clock is assumed, not synthesized at 45 nm: the requantizer reaches 265 MHz in 180 nm",
    "a weight is read for every multiplication, a bias and multiplier (64 bits) for every requantized result; a hidden "
    "element is read twice and written twice in the line buffer; an element waits once in the queue to the subtraction",
    "blocks that only subtract the mean: the Gaussian source is not counted",
    "not counted: registers, control, clock tree, leakage, transport from and to the arrays",
    "tiles: the arrays with buffers and interconnect, in the proportion of ISAAC's Table I, "
    f"{TILE_ENERGY:.0%} of a tile's power and {TILE_AREA:.0%} of its area being the arrays'",
    "arrays at 32 nm and the engine at 45 nm are not scaled to one node, which counts against the engine",
)


@dataclass(frozen=True)
class EngineHardware:
    """What an engine's parts cost; energies in pJ, areas in square micrometers, each by default as derived.

    Attributes:
        clock_mhz: of the engine.
        mac_energy, requantize_energy, add_energy: of one operation.
        memory_energy: of a bit read or written.
        multiplier_area, adder_area, requantizer_area: of one each.
        memory_area: of a bit.
    """

    clock_mhz: float = 500.0
    mac_energy: float = ENGINE_CONSTANTS["mac_energy"].value
    requantize_energy: float = ENGINE_CONSTANTS["requantize_energy"].value
    add_energy: float = ENGINE_CONSTANTS["add_energy"].value
    memory_energy: float = ENGINE_CONSTANTS["memory_energy"].value
    multiplier_area: float = ENGINE_CONSTANTS["multiplier_area"].value
    adder_area: float = ENGINE_CONSTANTS["adder_area"].value
    requantizer_area: float = ENGINE_CONSTANTS["requantizer_area"].value
    memory_area: float = ENGINE_CONSTANTS["memory_area"].value

    def __post_init__(self) -> None:
        for field in fields(self):
            require_number(f"engine_hardware.{field.name}", getattr(self, field.name), 0.0)
        require(self.clock_mhz > 0, "engine_hardware.clock_mhz", self.clock_mhz, "above 0")


@dataclass(frozen=True)
class BlockEstimate:
    """Costs of a block for one frame.

    Attributes:
        name: of its tap.
        block: its shape.
        cycles: from its first beat to its last, alone in the engine.
        steady: cycles among other frames.
        macs: multiplications that the engine makes.
        energy: in pJ, by part: ``"MAC"``, ``"requantize"``, ``"memory"``.
    """

    name: str
    block: BlockConfig
    cycles: int
    steady: int
    macs: int
    energy: dict[str, float]

    @property
    def total_energy(self) -> float:
        """Of all parts, in pJ."""
        return sum(self.energy.values())


def block_energy(engine: EngineConfig, block: BlockConfig, hardware: EngineHardware) -> tuple[int, dict[str, float]]:
    """Multiplications of a frame in an engine, and energy by part in pJ."""
    require_choice("estimate.block.mode", block.mode, ("mean",))
    channels, hidden = beats_of(engine, block) * engine.lanes, groups_of(engine, block) * engine.group
    window = WINDOW * hidden * (hidden if block.kernel == "dense" else 1)
    macs = block.pixels * (2 * channels * hidden + window)
    results = block.pixels * (2 * hidden + channels)
    elements = block.pixels * channels
    bits = 8 * macs + 64 * results + 32 * block.pixels * hidden + 16 * elements
    return macs, {
        "MAC": macs * hardware.mac_energy,
        "requantize": results * hardware.requantize_energy + elements * hardware.add_energy,
        "memory": bits * hardware.memory_energy,
    }


def memory_bits(engine: EngineConfig) -> int:
    """Bits of an engine's memories: parameters, two rows of hidden elements, and the queue to the subtraction."""
    parameters = sum(32 * engine.rows(section) * engine.row_words(section) for section in Section)
    lines = 2 * engine.width * engine.hidden * 8
    queue = (engine.width + 8) * engine.channels * 8
    return parameters + lines + queue


def engine_area(engine: EngineConfig, hardware: EngineHardware) -> dict[str, float]:
    """Area of an engine by part, in square micrometers."""
    requantizers = 2 * engine.outputs + len(engine.heads) * engine.lanes
    return {
        "multipliers": engine.multipliers * (hardware.multiplier_area + hardware.adder_area),
        "requantizers": requantizers * hardware.requantizer_area,
        "memories": memory_bits(engine) * hardware.memory_area,
    }


@dataclass(frozen=True)
class DenoiserEstimate:
    """An engine with its blocks beside a network's arrays, for one image.

    Attributes:
        engine: that runs the blocks.
        hardware: what its parts cost.
        arrays: costs of the network.
        blocks: costs of each block.
    """

    engine: EngineConfig
    hardware: EngineHardware
    arrays: Estimate
    blocks: tuple[BlockEstimate, ...]

    @property
    def energy(self) -> float:
        """Of all blocks, in pJ."""
        return sum(block.total_energy for block in self.blocks)

    @property
    def latency(self) -> float:
        """Of all blocks, each alone in the engine, in ns: what they add to the latency of an image alone."""
        return sum(block.cycles for block in self.blocks) * 1e3 / self.hardware.clock_mhz

    @property
    def interval(self) -> float:
        """Of all blocks among those of other images, in ns: the engine keeps up where the arrays take longer."""
        return sum(block.steady for block in self.blocks) * 1e3 / self.hardware.clock_mhz

    @property
    def area(self) -> float:
        """In square micrometers."""
        return sum(engine_area(self.engine, self.hardware).values())

    def shares(self, tiles: bool = False) -> dict[str, float]:
        """The engine's part of the whole, engine and arrays (or whole tiles, buffers included), by quantity."""
        energy, area = (TILE_ENERGY, TILE_AREA) if tiles else (1.0, 1.0)
        pairs = {
            "latency": (self.latency, self.arrays.latency),
            "energy": (self.energy, self.arrays.energy / energy),
            "area": (self.area, self.arrays.area / area),
        }
        return {name: own / (own + others) for name, (own, others) in pairs.items()}

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values, the assumptions included."""
        return {
            "engine": self.engine.to_dict(),
            "hardware": asdict(self.hardware),
            "blocks": [{**asdict(block), "block": block.block.to_dict()} for block in self.blocks],
            "energy_pJ": self.energy,
            "latency_ns": self.latency,
            "interval_ns": self.interval,
            "area_um2": engine_area(self.engine, self.hardware),
            "shares": self.shares(),
            "shares_of_tiles": self.shares(tiles=True),
            "arrays": self.arrays.to_dict(),
            "assumptions": list(ENGINE_ASSUMPTIONS),
        }

    def table(self) -> str:
        """For people: a line a block, the sums beside those of the arrays, shares, assumptions and sources."""
        width = max(11, *(len(block.name) for block in self.blocks))
        lines = [
            f"{'block':{width}} {'shape, hidden':>16} {'cycles':>7} {'us':>7} {'MACs':>10} {'MAC nJ':>8} "
            f"{'requantize nJ':>14} {'memory nJ':>10}"
        ]
        for block in self.blocks:
            shape = f"{block.block.channels}x{block.block.height}x{block.block.width}, {block.block.hidden}"
            lines.append(
                f"{block.name:{width}} {shape:>16} {block.cycles:7,} {block.cycles / self.hardware.clock_mhz:7.2f} "
                f"{block.macs:10,} {block.energy['MAC'] / 1e3:8.1f} {block.energy['requantize'] / 1e3:14.1f} "
                f"{block.energy['memory'] / 1e3:10.1f}"
            )
        shares, of_tiles, arrays = self.shares(), self.shares(tiles=True), self.arrays
        verdict = "keeps up" if self.interval <= arrays.interval else "does not keep up"
        area = engine_area(self.engine, self.hardware)
        lines += [
            "",
            f"{'one image':{width}} {'arrays':>12} {'engine':>12} {'its share':>10} {'beside whole tiles':>19}",
            *(
                f"{name + ', ' + unit:{width}} {others / scale:12.4f} {own / scale:12.4f} {shares[name]:10.1%}"
                f" {of_tiles[name]:19.1%}"
                for name, unit, scale, others, own in (
                    ("latency", "us", 1e3, arrays.latency, self.latency),
                    ("energy", "uJ", 1e6, arrays.energy, self.energy),
                    ("area", "mm2", 1e6, arrays.area, self.area),
                )
            ),
            "",
            f"In a pipeline the arrays take an image every {arrays.interval / 1e3:.1f} us, the engine "
            f"{self.interval / 1e3:.1f} us for all its blocks: one engine {verdict}.",
            "Area of the engine in mm2: " + ", ".join(f"{name} {value / 1e6:.4f}" for name, value in area.items()),
            f"Clock of the engine: {self.hardware.clock_mhz:g} MHz; {self.engine.multipliers} multipliers, "
            f"{memory_bits(self.engine):,} bits of memory.",
            "",
            "Assumptions of the engine:",
            *(f"- {assumption}" for assumption in ENGINE_ASSUMPTIONS),
            "",
            "Constants of the engine:",
            *(f"- {each.meaning}: {each.value:.4g} {each.unit}; {each.derivation}; {each.source}"
              for each in ENGINE_CONSTANTS.values()),
        ]  # fmt: skip
        return "\n".join(lines)


def denoiser_estimate(
    arrays: Estimate,
    engine: EngineConfig,
    blocks: Mapping[str, BlockConfig],
    cycles: Sequence[int],
    hardware: EngineHardware = EngineHardware(),
) -> DenoiserEstimate:
    """Costs of blocks in an engine, for one image.

    Args:
        arrays: costs of the network that the blocks denoise.
        engine: that runs them.
        blocks: by tap; they subtract the mean only.
        cycles: of a frame of each block, alone in the engine, by its cycle model.
        hardware: what the engine's parts cost.

    Raises:
        ConfigurationError: a block does not fit the engine, or samples.
    """
    require(len(blocks) > 0, "estimate.blocks", len(blocks), "at least one")
    found = []
    for (name, block), taken in zip(blocks.items(), cycles, strict=True):
        engine.check(block, name)
        macs, energy = block_energy(engine, block, hardware)
        steady = block.pixels * max(stage_cycles(engine, block).values())
        found.append(BlockEstimate(name, block, taken, steady, macs, energy))
    return DenoiserEstimate(engine, hardware, arrays, tuple(found))
