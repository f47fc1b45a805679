"""Whole denoising blocks in Verilog: every kernel, mode and format, with stalls, extremes and resets."""

import numpy as np
import pytest
import torch

from quietbar.contract import BlockConfig
from quietbar.contract.number import BIAS, WEIGHT_LIMIT
from quietbar.contract.requantize import MULTIPLIER_HIGH, MULTIPLIER_LOW, SHIFT_HIGH, SHIFT_LOW
from quietbar.contract.seeds import SEED_HIGH
from quietbar.integer import parameter_frame, random_parameters, run_block
from quietbar_cosim.blocks import (
    BlockSubject,
    block_vectors,
    choose_folding,
    denoiser_design,
    from_beats,
    random_frames,
    to_beats,
)
from quietbar_cosim.build import design_of
from quietbar_cosim.bulk import Simulator
from quietbar_cosim.elaborated import run_elaborated
from quietbar_cosim.parts import Parts
from quietbar_cosim.regression import run_bulk, run_cocotb
from quietbar_cosim.replay import verify
from quietbar_cosim.rules import StreamError
from quietbar_cosim.vectors import jobs, scenarios
from quietbar_hw.denoiser import AxiDenoiser

SEED = 2027
BLOCKS = {
    "mean_depthwise": BlockConfig(8, 2, 6, 5),
    "mean_dense_row": BlockConfig(6, 3, 1, 7, kernel="dense", signed=True, fraction_bits=1),
    "sampling_depthwise_column": BlockConfig(4, 2, 7, 1, mode="sampling", fraction_bits=7),
    "sampling_dense_odd": BlockConfig(3, 2, 3, 5, kernel="dense", mode="sampling", signed=True),
    "sampling_pixel": BlockConfig(4, 1, 1, 1, mode="sampling"),
}


@pytest.fixture(scope="module")
def blocks():
    """All blocks side by side: one build for the benches of this file."""
    return design_of(
        Parts({name: AxiDenoiser(config, choose_folding(config)) for name, config in BLOCKS.items()}), "blocks"
    )


def block_jobs(name, parameters, frames, chosen, seed=SEED, what=""):
    config = BLOCKS[name]
    vectors = block_vectors(parameters, frames, choose_folding(config).lanes, seed, prefix=f"{name}_")
    subject = BlockSubject(parameters, frames, seed)
    return jobs(" ".join(filter(None, ("block", name, what))), vectors, chosen, subject)


@pytest.mark.parametrize("name", BLOCKS)
def test_block_under_stalls_and_resets(blocks, name):
    """The reset comes in the middle of the first frame, with rows, sums and samples on their way."""
    config = BLOCKS[name]
    beats = config.pixels * config.channels // choose_folding(config).lanes
    frames = random_frames(config, 5, SEED)
    verify(f"block_{name}", blocks, block_jobs(name, random_parameters(config, SEED), frames, scenarios(SEED, beats)))


@pytest.mark.parametrize("name", BLOCKS)
def test_block_at_the_extremes(blocks, name):
    """Each operand at either end of its range, against activations at either end of theirs."""
    config, listed = BLOCKS[name], []
    low, high = config.activation.low, config.activation.high
    ends = torch.tensor([low, high, low])[:, None, None, None].expand(-1, config.channels, config.height, config.width)
    frames = torch.cat([ends.to(torch.int64), random_frames(config, 1, 8).long()])
    frames[2, :, ::2] = high
    for what, change in EXTREMES.items():
        parameters = random_parameters(config, SEED)
        for integers in parameters.stages.values():
            change(integers)
        listed += block_jobs(name, parameters, frames, scenarios(SEED, 1)[:1], SEED_HIGH, what)
    verify(f"block_{name}_extremes", blocks, listed)


EXTREMES = {
    "weights at their greatest": lambda integers: integers.weights.fill_(WEIGHT_LIMIT),
    "weights at their least": lambda integers: integers.weights.fill_(-WEIGHT_LIMIT),
    "weights nil": lambda integers: integers.weights.zero_(),
    "biases at their greatest": lambda integers: integers.bias.fill_(BIAS.high),
    "biases at their least": lambda integers: integers.bias.fill_(BIAS.low),
    "multipliers at their greatest": lambda integers: integers.multiplier.fill_(MULTIPLIER_HIGH),
    "multipliers at their least": lambda integers: integers.multiplier.fill_(MULTIPLIER_LOW),
    "shifts at their least": lambda integers: integers.shift.fill_(SHIFT_LOW),
    "shifts at their greatest": lambda integers: integers.shift.fill_(SHIFT_HIGH),
    "a shift that leaves a few bits": lambda integers: integers.shift.fill_(30),
}


TIERS_CONFIG = BlockConfig(8, 2, 4, 4, kernel="dense", mode="sampling")


def test_all_tiers_agree_to_the_bit_and_to_the_cycle():
    """The same vectors through cocotb on Verilator, the bulk runner, and Amaranth's simulator."""
    folding = choose_folding(TIERS_CONFIG)
    design = denoiser_design(TIERS_CONFIG, folding)
    parameters, frames = random_parameters(TIERS_CONFIG, SEED), random_frames(TIERS_CONFIG, 3, SEED)
    vectors = block_vectors(parameters, frames, folding.lanes, SEED)
    listed = jobs("block", vectors, scenarios(SEED, 1)[:4])
    slow, fast = run_cocotb(design, listed), run_bulk(design, listed)
    elaborated = run_elaborated(AxiDenoiser(TIERS_CONFIG, folding), listed)
    for job, *runs in zip(listed, slow, fast, elaborated, strict=True):
        assert all(np.array_equal(run.output, vectors.expected) for run in runs), job.scenario.name
        assert len({run.cycles for run in runs}) == 1, job.scenario.name


def test_a_new_configuration_between_frames_takes_effect_at_the_frame():
    folding = choose_folding(TIERS_CONFIG)
    frames = random_frames(TIERS_CONFIG, 2, SEED)
    frame_beats = TIERS_CONFIG.pixels * TIERS_CONFIG.channels // folding.lanes
    with Simulator(denoiser_design(TIERS_CONFIG, folding)) as simulator:
        for seed in (1, 2, 3):
            parameters = random_parameters(TIERS_CONFIG, seed)
            vectors = block_vectors(parameters, frames, folding.lanes, seed)
            run = simulator.run(
                vectors.configuration,
                vectors.inputs,
                frame_beats=frame_beats,
                output_beats=len(vectors.expected),
                output_frame_beats=frame_beats,
            )
            expected = run_block(TIERS_CONFIG, parameters, frames, seed)
            assert torch.equal(from_beats(run.output, TIERS_CONFIG), expected), f"parameters {seed}"


def test_data_before_configuration_is_an_error_and_not_a_hang():
    folding = choose_folding(TIERS_CONFIG)
    beats = to_beats(random_frames(TIERS_CONFIG, 1, SEED), folding.lanes)
    with (
        Simulator(denoiser_design(TIERS_CONFIG, folding)) as simulator,
        pytest.raises(StreamError, match="error, cycle 2: is 0x10"),
    ):
        simulator.run(beats=beats, frame_beats=len(beats), output_beats=len(beats))


def test_a_frame_cut_short_is_an_error_and_a_reset_mends_it():
    folding = choose_folding(TIERS_CONFIG)
    parameters, frames = random_parameters(TIERS_CONFIG, SEED), random_frames(TIERS_CONFIG, 1, SEED)
    vectors = block_vectors(parameters, frames, folding.lanes, SEED)
    count = len(vectors.expected)
    with Simulator(denoiser_design(TIERS_CONFIG, folding)) as simulator:
        with pytest.raises(StreamError, match=r"error, cycle \d+: is 0x1: "):
            simulator.run(vectors.configuration, vectors.inputs, frame_beats=count // 2, output_beats=count)
        run = simulator.run(vectors.configuration, vectors.inputs, frame_beats=count, output_beats=count, reset=True)
        assert np.array_equal(run.output, vectors.expected)


def test_parameters_out_of_range_are_refused_by_the_hardware():
    folding = choose_folding(TIERS_CONFIG)
    words = parameter_frame(TIERS_CONFIG, random_parameters(TIERS_CONFIG, SEED))
    words[5] = WEIGHT_LIMIT + 1
    refused = pytest.raises(StreamError, match=rf"error, cycle \d+: is 0x8: \d of {len(words)} words taken")
    with Simulator(denoiser_design(TIERS_CONFIG, folding)) as simulator, refused:
        simulator.run([words], frame_beats=1)
