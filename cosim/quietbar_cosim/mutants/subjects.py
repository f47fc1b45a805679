"""The parts of the hardware that get faults, each small, with the benches that have to find them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from quietbar.contract import UINT8, WEIGHT_LIMIT, BlockConfig, CrossbarConfig, IntegerFormat, derive_seed
from quietbar.contract.engine import EngineConfig
from quietbar.contract.sources import SourceConfig
from quietbar.integer import random_parameters
from quietbar.integer.crossbar import design_converter
from quietbar.integer.tiles import Tiles
from quietbar_hw.conv import LineBuffer
from quietbar_hw.conv.folding import StageFolding
from quietbar_hw.crossbar.folding import CrossbarFolding
from quietbar_hw.crossbar.top import AxiCrossbar
from quietbar_hw.denoiser import AxiDenoiser
from quietbar_hw.engine.top import AxiEngine
from quietbar_hw.gaussian import AxiGaussianSource
from quietbar_hw.register_slice import RegisterSlice
from quietbar_hw.registers import RegisterBank
from quietbar_hw.registers.engine import engine_map
from quietbar_hw.stream import Resize

from ..blocks import block_vectors, choose_folding, random_frames
from ..crossbars import crossbar_vectors
from ..gaussian import source_vectors
from ..part_vectors import core_vectors, requantizer_vectors, resize_vectors, window_vectors
from ..parts import CorePart, RequantizerPart, StreamPart
from ..vectors import Vectors, jobs, scenarios
from .benches import Bench, bulk, cocotb, proof
from .engine_benches import engine_frames, engine_session, register_checks, register_reads
from .harnesses import KeepsOrder, KeepsRules

SEED = 11


@dataclass(frozen=True)
class Subject:
    """A part, and what its mutants have to get past.

    Attributes:
        component: the part, its ports plain signals.
        benches: in the order in which they are run.
        inside: modules that get faults, by the beginnings of their names; all by default.
    """

    component: Any
    benches: tuple[Bench, ...]
    inside: tuple[str, ...] = ("top",)

    def takes(self, module: str) -> bool:
        """Whether a module gets faults."""
        return any(module == name or module.startswith(f"{name}.") for name in self.inside)


FILLING = 24
"""Cycles until a part gives its first result, and more: what a part of one beat a cycle may take beyond its beats."""


def both_tiers(vectors: Vectors, output_beats: int, cycles: int = 0) -> tuple[Bench, Bench]:
    """The vectors in every scenario, in either tier; a reset comes after half of ``output_beats``.

    ``cycles`` bounds those without stalls, if given.
    """
    listed = jobs("mutant", vectors, scenarios(SEED, output_beats))
    return bulk(listed, cycles), cocotb(listed)


def beats_a_cycle(vectors: Vectors) -> int:
    """Cycles of a part that takes or gives a beat in each."""
    return max(len(vectors.expected), 0 if vectors.inputs is None else len(vectors.inputs)) + FILLING


def requantizer() -> Subject:
    """The requantiser behind a queue."""
    accumulator = IntegerFormat(26, signed=True)
    vectors = requantizer_vectors(accumulator, UINT8, 600, SEED)
    return Subject(RequantizerPart(accumulator, UINT8), both_tiers(vectors, 200, beats_a_cycle(vectors)))


def line_buffer() -> Subject:
    """The line buffer, with two groups of channels."""
    frames = np.random.default_rng(SEED).integers(1, 256, (8, 2, 4, 3)).astype(np.uint8)
    vectors = window_vectors(frames, 1)
    tiers = both_tiers(vectors, len(vectors.expected) // len(frames), beats_a_cycle(vectors))
    benches = *tiers, proof(KeepsRules, "bounded", 12)
    return Subject(StreamPart(LineBuffer(4, 3, 2, 1, UINT8)), benches)


def register_slice() -> Subject:
    """The register slice of streams."""
    vectors = resize_vectors(400, 1, 1, SEED)
    benches = *both_tiers(vectors, 100, beats_a_cycle(vectors)), proof(KeepsOrder, "bounded", 10)
    return Subject(StreamPart(RegisterSlice(8)), benches)


def resize() -> Subject:
    """Elements of a stream regrouped, four to one."""
    vectors = resize_vectors(200, 4, 1, SEED)
    benches = *both_tiers(vectors, 100, beats_a_cycle(vectors)), proof(KeepsRules, "bounded", 10)
    return Subject(StreamPart(Resize(8, 4, 1)), benches)


def _core(config: BlockConfig, folding: StageFolding) -> Subject:
    frames = np.random.default_rng(SEED).integers(0, 256, (6, config.hidden, config.height, config.width))
    frames[0], frames[1], frames[2] = 0, 255, np.where(frames[2] > 127, 255, 0)
    vectors = core_vectors(config, folding, random_parameters(config, SEED), frames.astype(np.uint8))
    return Subject(CorePart(config, folding), both_tiers(vectors, len(vectors.expected) // len(frames)))


def core_dense() -> Subject:
    """The 3x3 core of a dense block."""
    return _core(BlockConfig(4, 2, 4, 3, kernel="dense"), StageFolding(9, 2))


def core_depthwise() -> Subject:
    """The 3x3 core of a depthwise block."""
    return _core(BlockConfig(4, 2, 3, 4, kernel="depthwise"), StageFolding(9, 1))


def denoiser() -> Subject:
    """A whole block that samples: its configuration, fork, queue of activations, subtraction and output frames."""
    config = BlockConfig(4, 2, 3, 4, mode="sampling", signed=True)
    folding, frames = choose_folding(config), random_frames(config, 8, SEED)
    vectors = block_vectors(random_parameters(config, SEED), frames, folding.lanes, SEED)
    names = ("configuration", "block.subtract", "block.fork", "block.heads", "block.mean", "block.reduce")
    inside = tuple(f"top.{name}" for name in names)
    return Subject(AxiDenoiser(config, folding), both_tiers(vectors, vectors.output_frame_beats), inside)


def _source(kind: str) -> Subject:
    config = SourceConfig(kind, 2)  # type: ignore[arg-type]
    return Subject(AxiGaussianSource(config), both_tiers(source_vectors(config, SEED, 3000), 500))


def box_muller() -> Subject:
    """The Box-Muller source."""
    return _source("box-muller")


def inverse_cdf() -> Subject:
    """The source by the inverse of the distribution."""
    return _source("inverse-cdf")


def crossbar() -> Subject:
    """A crossbar tile: programming, column sums, read noise, converter."""
    config, folding = CrossbarConfig(6, 4, dac_bits=4, adc_bits=5), CrossbarFolding(2, 2, 2, 2)
    source = torch.Generator().manual_seed(SEED)
    weights = torch.randint(-WEIGHT_LIMIT, WEIGHT_LIMIT + 1, (config.rows, config.columns), generator=source)
    full_scale = config.source.high * 127 * 16 * config.rows**0.5
    converter = design_converter(
        config,
        full_scale,
        gain=1 + 0.1 * torch.randn(config.columns, generator=source),
        offset=0.05 * full_scale * torch.randn(config.columns, generator=source),
        read_noise=0.03 * full_scale,
    )
    tile = Tiles(config, weights, converter, derive_seed(SEED, "programming"), derive_seed(SEED, "reading"))
    codes = torch.randint(config.source.low, config.source.high + 1, (64, config.rows), generator=source)
    vectors = crossbar_vectors(tile, codes, folding, frame_vectors=8)
    inside = ("column_sum", "configuration", "replay", "placer", "programmer", "converter")
    benches = both_tiers(vectors, vectors.output_frame_beats)
    return Subject(AxiCrossbar(config, folding), benches, tuple(f"top.tile.{name}" for name in inside))


ENGINE = EngineConfig(
    lanes=2, group=2, outputs=1, channels=6, hidden=4, height=4, width=4, blocks=3, matrix_rows=40, window_rows=60,
    hidden_rows=10, channel_rows=14,
)  # fmt: skip


def register_bank() -> Subject:
    """The registers of an engine behind their AXI4-Lite port; its memory may be read, which takes several cycles."""
    registers = engine_map(ENGINE)
    registers = replace(registers, windows=tuple(replace(window, access="rw") for window in registers.windows))
    return Subject(RegisterBank(registers), (register_reads(registers), register_checks(registers, SEED)))


def engine_framing() -> Subject:
    """The engine: framing of its streams, writer of its memory, descriptors, registers."""
    names = ("core.framing", "core.writer", "core.table", "registers")
    return _engine(tuple(f"top.{name}" for name in names))


def engine_datapath() -> Subject:
    """The engine: its three stages, their memories, scales and queues."""
    names = ("core.reduce", "core.spatial", "core.heads")
    return _engine(tuple(f"top.{name}" for name in names))


def _engine(inside: tuple[str, ...]) -> Subject:
    benches = engine_frames(ENGINE, SEED), engine_session(ENGINE, SEED)
    return Subject(AxiEngine(ENGINE), benches, inside)


SUBJECTS: dict[str, Callable[[], Subject]] = {
    make.__name__: make
    for make in (
        requantizer, line_buffer, register_slice, resize, core_dense, core_depthwise, denoiser, box_muller, inverse_cdf,
        crossbar, register_bank, engine_framing, engine_datapath,
    )
}  # fmt: skip
"""How to make each, by name."""
