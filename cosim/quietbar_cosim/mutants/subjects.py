"""The parts of the hardware that get faults, each small, with the benches that have to find them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from quietbar.contract import UINT8, WEIGHT_LIMIT, BlockConfig, CrossbarConfig, IntegerFormat, derive_seed
from quietbar.contract.engine import EngineConfig
from quietbar.contract.requantize import SHIFT_LOW
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
from quietbar_hw.mutation import Fault
from quietbar_hw.register_slice import RegisterSlice
from quietbar_hw.registers import RegisterBank
from quietbar_hw.registers.engine import engine_map
from quietbar_hw.stream import Resize

from ..blocks import block_vectors, choose_folding, random_frames
from ..crossbars import crossbar_vectors
from ..gaussian import source_vectors
from ..part_vectors import core_vectors, requantizer_vectors, resize_vectors, window_vectors
from ..parts import CorePart, RequantizerPart, StreamPart
from ..vectors import Job, Scenario, Vectors, jobs, scenarios
from .benches import Bench, bulk, cocotb, proof, refusals, together
from .engine_benches import engine_frames, engine_session, register_checks, register_resets, unknown_blocks
from .harnesses import KeepsOrder, KeepsRules
from .properties import properties
from .refusing import denoiser_refusals, descriptors, source_refusals, tile_refusals

SEED = 11
RARE = 2364
"""A seed whose eighth draw begins with 16 zeros, as one in 65,536 does: Box-Muller takes a way of its own for those."""
REQUANTIZER, PLACED = "requantizer/24 to 8 unsigned", "requantizer of engines/24 to 8 unsigned"
"""The properties of requantizers inside other parts."""


@dataclass(frozen=True)
class Subject:
    """A part, and what its mutants have to get past.

    Attributes:
        component: the part, its ports plain signals.
        benches: in the order in which they are run.
        inside: modules that get faults, by the beginnings of their names; all by default.
        always: which faults are planted whatever the choice, such as those that benches once missed; none by default.
    """

    component: Any
    benches: tuple[Bench, ...]
    inside: tuple[str, ...] = ("top",)
    always: Callable[[Fault], bool] | None = None

    def takes(self, module: str) -> bool:
        """Whether a module gets faults."""
        return any(module == name or module.startswith(f"{name}.") for name in self.inside)


FILLING = 24
"""Cycles until a part gives its first result, and more: what a part of one beat a cycle may take beyond its beats."""


def both_tiers(vectors: Vectors, output_beats: int, cycles: int = 0, again: bool = True) -> tuple[Bench, Bench]:
    """The vectors in every scenario, in either tier; a reset comes after half of ``output_beats``.

    ``cycles`` bounds those without stalls, if given; ``again`` is whether vectors may follow others without a reset.
    """
    listed = jobs("mutant", vectors, scenarios(SEED, output_beats))
    return bulk(listed, cycles, again), cocotb(listed)


def beats_a_cycle(vectors: Vectors) -> int:
    """Cycles of a part that takes or gives a beat in each."""
    return max(len(vectors.expected), 0 if vectors.inputs is None else len(vectors.inputs)) + FILLING


def requantizer() -> Subject:
    """The requantiser behind a queue."""
    accumulator = IntegerFormat(26, signed=True)
    vectors = requantizer_vectors(accumulator, UINT8, 600, SEED)
    proofs = properties(REQUANTIZER, "queues/ResultQueue")
    tiers = both_tiers(vectors, 200, beats_a_cycle(vectors))
    return Subject(RequantizerPart(accumulator, UINT8), (*tiers, proofs))


def line_buffer() -> Subject:
    """The line buffer, with two groups of channels."""
    frames = np.random.default_rng(SEED).integers(1, 256, (8, 2, 4, 3)).astype(np.uint8)
    vectors = window_vectors(frames, 1)
    tiers = both_tiers(vectors, len(vectors.expected) // len(frames), beats_a_cycle(vectors))
    named = properties("windows/1 x 2", "streams/conv LineBuffer", "queues/ResultQueue")
    benches = *tiers, together(proof(KeepsRules, "bounded", 12), named)
    return Subject(StreamPart(LineBuffer(4, 3, 2, 1, UINT8)), benches)


def register_slice() -> Subject:
    """The register slice of streams."""
    vectors = resize_vectors(400, 1, 1, SEED)
    named = properties("streams/RegisterSlice", "queues/RegisterSlice")
    benches = *both_tiers(vectors, 100, beats_a_cycle(vectors)), together(proof(KeepsOrder, "bounded", 10), named)
    return Subject(StreamPart(RegisterSlice(8)), benches)


def resize() -> Subject:
    """Elements of a stream regrouped, four to one."""
    vectors = resize_vectors(200, 4, 1, SEED)
    named = properties("streams/Resize")
    benches = *both_tiers(vectors, 100, beats_a_cycle(vectors)), together(proof(KeepsRules, "bounded", 10), named)
    return Subject(StreamPart(Resize(8, 4, 1)), benches)


def _core(config: BlockConfig, folding: StageFolding) -> Subject:
    frames = np.random.default_rng(SEED).integers(0, 256, (6, config.hidden, config.height, config.width))
    frames[0], frames[1], frames[2] = 0, 255, np.where(frames[2] > 127, 255, 0)
    vectors = core_vectors(config, folding, random_parameters(config, SEED), frames.astype(np.uint8))
    tiers = both_tiers(vectors, len(vectors.expected) // len(frames))
    proofs = properties("streams/conv MatrixVectorUnit", "windows/1 x 2", "queues/ResultQueue", REQUANTIZER)
    return Subject(CorePart(config, folding), (*tiers, proofs))


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
    tier, other = both_tiers(vectors, vectors.output_frame_beats)
    refused = refusals(denoiser_refusals(vectors), Job("mutant", vectors))

    # Means as large as the smallest shift makes them, of either sign: they and the outputs are limited at both ends.
    limited: list[Job] = []
    for sign in (1, -1):
        loud = random_parameters(config, SEED)
        mean = loud.stages["mean"]
        mean.shift.fill_(SHIFT_LOW)
        mean.weights.mul_(sign), mean.bias.mul_(sign)
        limited += [Job("limited", block_vectors(loud, frames[:2], folding.lanes, SEED))]
    tier = together(tier, bulk(limited), refused)
    proofs = properties("streams/denoiser Subtract", "streams/conv MatrixVectorUnit", "queues/Fork", REQUANTIZER)
    return Subject(AxiDenoiser(config, folding), (tier, other, proofs), inside)


def _source(kind: str, always: Callable[[Fault], bool] | None = None) -> Subject:
    config = SourceConfig(kind, 2)  # type: ignore[arg-type]
    vectors = source_vectors(config, RARE, 3000)
    tier, other = both_tiers(vectors, 500, again=False)
    refused = refusals(source_refusals(config, SEED), Job("mutant", vectors))
    core = "GaussianSource" if kind == "box-muller" else "InverseCdfSource"
    proofs = properties(f"streams/gaussian {core}", "queues/RegisterSlice", "queues/Queue")
    return Subject(AxiGaussianSource(config), (together(tier, refused), other, proofs), always=always)


def box_muller() -> Subject:
    """The Box-Muller source; of its arithmetic there are faults in any case, as most others are of what nobody sees."""

    def in_sight(fault: Fault) -> bool:
        sine = fault.what.startswith("value$") and fault.what.endswith("loses the top of its 17 bits in a part")
        return (fault.module == "top.source.box_muller_0" and (sine or fault.what == "neg becomes pos in a part")) or (
            fault.module == "top.slice" and fault.what == "o__payload changes in every cycle"
        )

    return _source("box-muller", in_sight)


def inverse_cdf() -> Subject:
    """The source by the inverse of the distribution."""
    return _source("inverse-cdf", lambda fault: fault.what == "place changes in every cycle")


def _tile(config: CrossbarConfig, weights: Tensor, full_scale: float, read_noise: float, source: Any) -> Tiles:
    converter = design_converter(
        config,
        full_scale,
        gain=1 + 0.1 * torch.randn(config.columns, generator=source),
        offset=0.05 * full_scale * torch.randn(config.columns, generator=source),
        read_noise=read_noise * full_scale,
    )
    return Tiles(config, weights, converter, derive_seed(SEED, "programming"), RARE)


def crossbar() -> Subject:
    """A crossbar tile: programming, column sums, read noise, converter; and with weights of 0, read to the last bit."""
    config, folding = CrossbarConfig(6, 4, dac_bits=4, adc_bits=5), CrossbarFolding(2, 2, 2, 2)
    source = torch.Generator().manual_seed(SEED)
    weights = torch.randint(-WEIGHT_LIMIT, WEIGHT_LIMIT + 1, (config.rows, config.columns), generator=source)
    tile = _tile(config, weights, config.source.high * 127 * 16 * config.rows**0.5, 0.03, source)
    codes = torch.randint(config.source.low, config.source.high + 1, (56, config.rows), generator=source)
    vectors = crossbar_vectors(tile, codes, folding, frame_vectors=8)

    # Of weights 0 half the conductances are noise cut off at 0; a code is a few of their steps.
    still = _tile(config, torch.zeros_like(weights), 16.0, 0.0, source)
    single = torch.eye(config.rows, dtype=codes.dtype).repeat(7, 1)
    exact = crossbar_vectors(still, single, folding, frame_vectors=6)
    inside = ("column_sum", "configuration", "replay", "placer", "programmer", "converter")
    tier, other = both_tiers(vectors, vectors.output_frame_beats)
    refused = refusals(tile_refusals(vectors), Job("mutant", vectors))
    named = ("Configuration", "ColumnSum", "Converter", "Replay")
    proofs = properties(*(f"streams/crossbar {name}" for name in named), REQUANTIZER)
    first = together(tier, bulk(jobs("weights of 0", exact, [Scenario()])), refused)

    def once_missed(fault: Fault) -> bool:
        return (fault.module.removeprefix("top.tile."), fault.what) in {
            ("programmer", "value is set to 1 instead of 0"),
            ("converter", "and becomes or in vector_taken"),
            ("configuration", "the condition of error is inverted"),
            ("column_sum", "$signal$22 is not reset"),
        }

    within = tuple(f"top.tile.{name}" for name in inside)
    return Subject(AxiCrossbar(config, folding), (first, other, proofs), within, once_missed)


SESSION = 281
"""A seed whose session with that engine, a short one, hits as many of the functional bins as any of 400 does."""
ENGINE = EngineConfig(
    lanes=2, group=2, outputs=1, channels=6, hidden=4, height=4, width=4, blocks=3, matrix_rows=40, window_rows=60,
    hidden_rows=10, channel_rows=14,
)  # fmt: skip


def register_bank() -> Subject:
    """The registers of an engine behind their AXI4-Lite port; its memory may be read, which takes several cycles."""
    registers = engine_map(ENGINE)
    registers = replace(registers, windows=tuple(replace(window, access="rw") for window in registers.windows))
    proofs = properties("axi4-lite/AxiLiteSlave", "registers/every kind of field")
    benches = register_resets(registers, answered=False), register_checks(registers, SEED), proofs

    def of_the_port(fault: Fault) -> bool:
        left_out = fault.kind == "reset" and fault.what.endswith("is not reset")
        captured = fault.what in ("ar changes in every cycle", "aw changes in every cycle")
        return fault.module == "top.port" and (left_out or captured)

    return Subject(RegisterBank(registers), benches, always=of_the_port)


def engine_framing() -> Subject:
    """The engine: framing of its streams, writer of its memory, descriptors, registers."""
    names = ("core.framing", "core.writer", "core.table", "registers")
    proofs = properties("engine/frames leave whole", "engine/writes are answered", "streams/engine Framing")

    limits = ENGINE.matrix_rows, ENGINE.window_rows, ENGINE.hidden_rows, ENGINE.channel_rows, ENGINE.width

    def once_missed(fault: Fault) -> bool:
        return (fault.module, fault.what) == ("top.registers.bank.port", "$signal$6 is not reset") or (
            # A descriptor that may have one more of something than there is.
            fault.module == "top.core.table"
            and fault.what in {f"{rows} becomes {rows + 1} in a part" for rows in limits}
        )

    return _engine(tuple(f"top.{name}" for name in names), proofs, once_missed)


def engine_datapath() -> Subject:
    """The engine: its three stages, their memories, scales and queues."""
    names = ("core.reduce", "core.spatial", "core.heads")
    proofs = properties("streams/engine Reduce", "streams/engine Spatial", "streams/engine Heads", PLACED)

    def once_missed(fault: Fault) -> bool:
        told = "part changes in every cycle", "part is set in every cycle"
        return fault.module == "top.core.spatial.scale" and fault.what in told

    return _engine(tuple(f"top.{name}" for name in names), proofs, once_missed)


def _engine(inside: tuple[str, ...], proofs: Bench, always: Callable[[Fault], bool] | None = None) -> Subject:
    registers = engine_map(ENGINE)
    frames, refused = engine_frames(ENGINE, RARE), together(descriptors(ENGINE), unknown_blocks(ENGINE))
    bulk = together(frames, refused, register_resets(registers, answered=True))
    session = together(engine_session(ENGINE, SESSION), register_checks(registers, SEED, inside=True))
    return Subject(AxiEngine(ENGINE), (bulk, session, proofs), inside, always)


SUBJECTS: dict[str, Callable[[], Subject]] = {
    make.__name__: make
    for make in (
        requantizer, line_buffer, register_slice, resize, core_dense, core_depthwise, denoiser, box_muller, inverse_cdf,
        crossbar, register_bank, engine_framing, engine_datapath,
    )
}  # fmt: skip
"""How to make each, by name."""
