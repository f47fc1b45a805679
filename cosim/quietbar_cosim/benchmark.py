"""Speed of the tiers of simulation: the same vectors, every output compared."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import torch

from quietbar.contract import BlockConfig, derive_seed
from quietbar.integer import Bundle, IntegerTap, Scales, random_parameters
from quietbar_hw.denoiser import AxiDenoiser

from .blocks import block_vectors, choose_folding, denoiser_design, random_frames
from .build import cocotb_program, shared_library
from .denoiser import RTLDenoiser
from .elaborated import run_elaborated
from .regression import run_bulk, run_cocotb
from .vectors import Job, Vectors

BLOCK = BlockConfig(channels=16, hidden=4, height=32, width=32)
BULK_FRAMES, COCOTB_FRAMES = 200, 4
SEED = 1


@dataclass(frozen=True)
class Speed:
    """How fast one tier ran: simulated cycles and frames a second of wall clock."""

    tier: str
    cycles_per_second: float
    frames_per_second: float


def measure_tiers(config: BlockConfig = BLOCK) -> list[Speed]:
    """The tiers from slow to fast, on a denoiser of ``config`` without stalls.

    The bulk runner's loop is bare C++ round the verilated model, so there is no faster way to run that model on a core.

    Raises:
        AssertionError: an output differs; a wrong result has no speed.
    """
    folding = choose_folding(config)
    design, parameters = denoiser_design(config, folding), random_parameters(config, SEED)
    cocotb_program(design)
    shared_library(design)

    def vectors(frames: int) -> Vectors:
        return block_vectors(parameters, random_frames(config, frames, SEED), folding.lanes)

    found = []
    small = BlockConfig(**{**config.to_dict(), "height": min(8, config.height), "width": min(8, config.width)})
    small_vectors = block_vectors(random_parameters(small, SEED), random_frames(small, 1, SEED), folding.lanes)
    few, many = vectors(COCOTB_FRAMES), vectors(BULK_FRAMES)
    for tier, given, frames, runs in (
        (
            "Amaranth's simulator (8 x 8)",
            small_vectors,
            1,
            lambda job: run_elaborated(AxiDenoiser(small, folding), job),
        ),
        ("cocotb on Verilator", few, COCOTB_FRAMES, lambda job: run_cocotb(design, job)),
        ("bulk runner", many, BULK_FRAMES, lambda job: run_bulk(design, job)),
    ):
        (run,) = runs([Job(tier, given)])
        assert (run.output == given.expected).all(), tier
        found.append(Speed(tier, run.cycles / run.seconds, frames / run.seconds))

    tap = IntegerTap("block", parameters, Scales(activation=1.0, reduce=1.0, spatial=1.0))
    bundle, images = Bundle({"block": tap}), random_frames(config, BULK_FRAMES, derive_seed(SEED, "images"))
    engine = RTLDenoiser(bundle, "block")
    engine(images[:1])
    start, cycles = time.perf_counter(), engine.cycles
    denoised = engine(images)
    seconds = time.perf_counter() - start
    assert torch.equal(denoised, bundle.run("block", images))
    name = f"RTLDenoiser, {len(os.sched_getaffinity(0))} cores"
    found.append(Speed(name, (engine.cycles - cycles) / seconds, BULK_FRAMES / seconds))
    engine.close()
    return found
