"""The designs whose synthesis is watched: add an entry to `DESIGNS` and it is part of ``make synth``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from amaranth.hdl import unsigned

from quietbar.contract import BlockConfig, CrossbarConfig, IntegerFormat
from quietbar.contract.block import HIDDEN
from quietbar.contract.engine import REFERENCE

from ..arithmetic import Requantizer
from ..conv import LineBuffer, MatrixVectorUnit
from ..crossbar.controlled_top import AxiLiteCrossbar
from ..crossbar.folding import CrossbarFolding
from ..crossbar.top import AxiCrossbar
from ..denoiser import AxiDenoiser, Folding
from ..engine.core import EngineCore
from ..gaussian import GaussianSource, InverseCdfSource
from ..registers import RegisterBank
from ..registers.model import Field, Register, RegisterMap
from ..stream import Queue


@dataclass(frozen=True)
class Goal:
    """What a design is meant to reach on ECP5: at least so fast, at most so many LUT4 for each multiplier."""

    mhz: float
    lut4_per_multiplier: float


@dataclass(frozen=True)
class Watched:
    """A design of the list.

    Attributes:
        summary: what it is, in one line.
        make: builds the component.
        targets: of ``ecp5``, ``ice40``, ``xilinx7``, ``cells``.
        multipliers: 8 x 8 bit multipliers of its stages, those of requantisers and noise source not counted; 0 where
            it has none to speak of.
        frequency: in MHz, that the FPGA tools aim at.
        goal: on ECP5.
        parts: instances that ABC gets one by one on ECP5, where all at once would take it too long.
    """

    summary: str
    make: Callable[[], Any]
    targets: tuple[str, ...]
    multipliers: int = 0
    frequency: float = 125.0
    goal: Goal | None = None
    parts: tuple[str, ...] = ()


CORE_STAGE = BlockConfig(32, 8, 32, 32, kernel="dense").stage("spatial")
DENOISER = BlockConfig(16, 4, 32, 32, kernel="depthwise", mode="sampling")
DENOISER_FOLDING = Folding.choose(DENOISER, lanes=4)
SMALLEST = BlockConfig(4, 1, 8, 8)
SMALLEST_FOLDING = Folding.choose(SMALLEST, lanes=1, cycles_per_pixel=64)
ENGINE_GOAL = Goal(mhz=110, lut4_per_multiplier=45)
ENGINE_PARTS = ("reduce", "spatial", "heads", "noise")
CONTROL_REGISTERS = RegisterMap(
    name="control",
    registers=tuple(
        Register(
            name=f"register_{number}",
            address=4 * number,
            width=32,
            fields=(
                Field(name="setting", low=0, width=24, output=True),
                Field(name="event", low=24, width=8, on_write="one_clears", set_by_hardware=True, interrupt=True),
            ),
        )
        for number in range(16)
    ),
    windows=(),
)

DESIGNS: dict[str, Watched] = {
    "spatial_core": Watched(
        "3x3 stage, dense, 8 x 8 channels, 9 products for each of 8 outputs a cycle",
        lambda: MatrixVectorUnit(CORE_STAGE, simd=9, pe=8),
        ("ecp5", "xilinx7", "cells"),
        multipliers=72,
        frequency=150.0,
        goal=Goal(mhz=125, lut4_per_multiplier=38),
    ),
    "line_buffer": Watched(
        "windows of 3 x 3 out of frames of 32 x 32, eight channels together",
        lambda: LineBuffer(32, 32, 8, 8, HIDDEN),
        ("ecp5", "xilinx7"),
    ),
    "queue": Watched("queue of 32 elements of 32 bits", lambda: Queue(unsigned(32), 32), ("ecp5", "xilinx7")),
    "engine": Watched(
        "reference engine: all blocks of a network, Gaussian source in, without its registers",
        lambda: EngineCore(REFERENCE),
        ("ecp5", "xilinx7"),
        multipliers=REFERENCE.multipliers,
        goal=ENGINE_GOAL,
        parts=ENGINE_PARTS,
    ),
    "engine_inverse_cdf": Watched(
        "reference engine with the inverse CDF in place of Box-Muller",
        lambda: EngineCore(replace(REFERENCE, source="inverse-cdf")),
        ("ecp5",),
        multipliers=REFERENCE.multipliers,
        goal=ENGINE_GOAL,
        parts=ENGINE_PARTS,
    ),
    "denoiser": Watched(
        "denoiser of 16 x 32 x 32, hidden 4, sampling, 4 lanes, Gaussian source in",
        lambda: AxiDenoiser(DENOISER, DENOISER_FOLDING),
        ("ecp5", "xilinx7", "cells"),
        multipliers=DENOISER_FOLDING.multipliers(DENOISER),
    ),
    "smallest_denoiser": Watched(
        "denoiser of 4 x 8 x 8, hidden 1, mean, 1 lane, one multiplier a stage",
        lambda: AxiDenoiser(SMALLEST, SMALLEST_FOLDING),
        ("ice40", "ecp5"),
        multipliers=SMALLEST_FOLDING.multipliers(SMALLEST),
        frequency=24.0,
    ),
    "gaussian_source": Watched(
        "Box-Muller, two samples a cycle", lambda: GaussianSource(1), ("ecp5", "xilinx7", "cells")
    ),
    "inverse_cdf_source": Watched(
        "inverse CDF, two samples a cycle", lambda: InverseCdfSource(2), ("ecp5", "xilinx7", "cells")
    ),
    "register_bank": Watched(
        "16 registers of a setting and of events behind AXI4-Lite",
        lambda: RegisterBank(CONTROL_REGISTERS),
        ("ecp5", "xilinx7", "cells"),
    ),
    "crossbar": Watched(
        "crossbar tile of 64 x 64, 8 rows a cycle",
        lambda: AxiCrossbar(CrossbarConfig(64, 64), CrossbarFolding(rows=8)),
        ("ecp5", "xilinx7"),
    ),
    "small_emulator": Watched(
        "crossbar tile of 16 x 16 with drift, faults and registers, 4 rows a cycle",
        lambda: AxiLiteCrossbar(CrossbarConfig(16, 16, faults=True, drift=True), CrossbarFolding(rows=4)),
        ("ecp5", "xilinx7"),
    ),
    "emulator": Watched(
        "crossbar tile of 64 x 64 with drift, faults and registers, 8 rows a cycle",
        lambda: AxiLiteCrossbar(CrossbarConfig(64, 64, faults=True, drift=True), CrossbarFolding(rows=8)),
        ("ecp5", "xilinx7"),
    ),
    "requantizer": Watched(
        "requantiser, 24 bits to 8",
        lambda: Requantizer(IntegerFormat(24, True), IntegerFormat(8, True)),
        ("ecp5", "xilinx7", "cells"),
    ),
}
"""Name -> design."""
