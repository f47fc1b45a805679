"""Speed of simulating the engine: a bare loop round the RTL, the bulk runner, cocotb; every output compared."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from quietbar.contract import BlockConfig
from quietbar.contract.engine import EngineConfig
from quietbar.experiment.hardware_recipe import EngineRecipe
from quietbar.integer import Bundle, IntegerTap, Scales, random_parameters
from quietbar.integer.image import engine_image

from .blocks import random_frames
from .bulk import Run
from .engine import engine_design, from_engine_beats, open_engine, to_engine_beats
from .engine_accuracy import engine_for
from .engine_checks import check, observe
from .engine_sessions import Session
from .stalls import NO_STALLS

BLOCK = BlockConfig(channels=16, hidden=16, height=32, width=32)
"""That of ResNet-20's first tap, on the engine of ``recipes/cifar10-resnet20-engine.toml``."""
ENGINE = EngineRecipe(lanes=16, group=4, outputs=4)
SEED = 1

BARE, BULK, COCOTB = "bare C++ loop", "bulk runner", "cocotb, cocotbext-axi ends"


@dataclass(frozen=True)
class EngineSpeed:
    """How fast one tier is.

    Attributes:
        tier: of simulation.
        cycles: simulated a second of processor time.
        multiplications: useful ones, likewise: those that the block needs.
    """

    tier: str
    cycles: float
    multiplications: float


def measure_engine(
    block: BlockConfig = BLOCK, recipe: EngineRecipe = ENGINE, frames: int = 20, rounds: int = 11
) -> list[EngineSpeed]:
    """All tiers, the slowest one last, on one core and in seconds of processor time, so that other work counts little.

    Bare loop and bulk runner take turns, after a round that does not count; the figures are medians.

    Raises:
        AssertionError: an output differs; a wrong result has no speed.
    """
    bundle = _bundle(block)
    engine = engine_for(bundle, recipe)
    return [*_measure_runner(bundle, block, engine, frames, rounds), _measure_cocotb(block, engine)]


def measure_runner(
    block: BlockConfig = BLOCK, recipe: EngineRecipe = ENGINE, frames: int = 20, rounds: int = 11
) -> list[EngineSpeed]:
    """The bare loop and the bulk runner of :func:`measure_engine`."""
    bundle = _bundle(block)
    return _measure_runner(bundle, block, engine_for(bundle, recipe), frames, rounds)


def _bundle(block: BlockConfig) -> Bundle:
    scales = Scales(activation=1.0, reduce=1.0, spatial=1.0)
    return Bundle({"block": IntegerTap("block", random_parameters(block, SEED), scales)})


def _measure_runner(
    bundle: Bundle, block: BlockConfig, engine: EngineConfig, frames: int, rounds: int
) -> list[EngineSpeed]:
    image = engine_image(bundle, engine)
    simulator, _ = open_engine(engine_design(engine), image)
    descriptor, images = image.taps["block"], random_frames(block, frames, SEED)
    beats, expected = to_engine_beats(images, descriptor, engine), bundle.run("block", images)
    size = len(beats) // frames
    tiers: dict[str, Callable[[], Run]] = {
        BULK: lambda: simulator.run(
            beats=beats, frame_beats=size, output_beats=len(beats), output_frame_beats=size, identifier=0
        ),
        BARE: lambda: simulator.bare(beats, frame_beats=size),
    }
    rates: dict[str, list[float]] = {tier: [] for tier in tiers}
    for trial in range(rounds + 1):
        for tier, work in tiers.items():
            start = time.thread_time()
            run = work()
            seconds = time.thread_time() - start
            assert torch.equal(from_engine_beats(run.output, descriptor, engine), expected), tier
            if trial:
                rates[tier].append(run.cycles / seconds)
    simulator.close()
    return [_speed(tier, statistics.median(rates[tier]), block, run.cycles / frames) for tier in (BARE, BULK)]


def _measure_cocotb(block: BlockConfig, engine: EngineConfig) -> EngineSpeed:
    """One frame without stalls, sent, received and watched by the bench of the engine's sessions."""
    session = Session(SEED, replace(engine, blocks=2))
    session.blocks = [block]
    session.load_all()
    session.run(True)
    session.exchange(session.traffic(1, [0]), (NO_STALLS, NO_STALLS))
    observations = observe(session)
    check(session, observations)
    seen: dict[str, Any] = observations[-1]
    return _speed(COCOTB, len(seen["trace"]) / seen["seconds"], block, len(seen["trace"]))


def _speed(tier: str, rate: float, block: BlockConfig, frame_cycles: float) -> EngineSpeed:
    return EngineSpeed(tier, rate, block.multiplications * rate / frame_cycles)
