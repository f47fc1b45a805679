"""Requantiser, Gaussian source and 3x3 core in Verilog, under every stall pattern, with extremes of every operand."""

import itertools

import numpy as np
import pytest

from quietbar.contract import INT8, UINT8, BlockConfig, IntegerFormat
from quietbar.contract.gaussian import SAMPLE, pair
from quietbar.contract.requantize import MULTIPLIER_HIGH, SHIFT_HIGH, SHIFT_LOW
from quietbar.contract.seeds import SEED_HIGH
from quietbar.contract.stream import FrameKind, seed_frame
from quietbar.contract.uniform import COMPONENTS, leap, output, seed_state, step
from quietbar.integer import gaussian, random_parameters
from quietbar_cosim.build import design_of
from quietbar_cosim.part_vectors import core_vectors, requantizer_vectors
from quietbar_cosim.parts import CorePart, GaussianPart, Parts, RequantizerPart
from quietbar_cosim.replay import verify
from quietbar_cosim.vectors import Job, Vectors, jobs, pack, scenarios
from quietbar_hw.conv.folding import StageFolding

ACCUMULATOR = IntegerFormat(26, signed=True)
REQUANTIZERS = {"unsigned": UINT8, "signed": INT8, "fine": IntegerFormat(12, signed=True)}
CORES = {
    "dense": (BlockConfig(8, 4, 6, 5, kernel="dense"), StageFolding(9, 4)),
    "depthwise": (BlockConfig(8, 4, 5, 7, kernel="depthwise"), StageFolding(9, 2)),
}
SEED = 2026


@pytest.fixture(scope="module")
def parts():
    """All parts side by side: one build for the benches of this file."""
    components = {f"requantizer_{name}": RequantizerPart(ACCUMULATOR, target) for name, target in REQUANTIZERS.items()}
    components |= {f"gaussian_{lanes}": GaussianPart(lanes) for lanes in (1, 3)}
    components |= {f"core_{name}": CorePart(*core) for name, core in CORES.items()}
    return design_of(Parts(components), "parts")


@pytest.mark.parametrize("name", REQUANTIZERS)
def test_requantizer(parts, name):
    vectors = requantizer_vectors(ACCUMULATOR, REQUANTIZERS[name], 2000, SEED, f"requantizer_{name}_")
    verify(f"requantizer_{name}", parts, jobs(f"requantizer {name}", vectors, scenarios(SEED, 500)))


def test_a_high_bit_of_the_product_that_is_lost_shows_in_the_vectors():
    """Also where all that it does is to take the result beyond the range."""
    vectors = requantizer_vectors(ACCUMULATOR, UINT8, 0, SEED)
    words = np.concatenate([vectors.inputs, np.zeros((len(vectors.inputs), 2), np.uint8)], axis=1).view("<u8")[:, 0]
    accumulators = np.left_shift(words, 64 - ACCUMULATOR.bits).view(np.int64) >> 64 - ACCUMULATOR.bits
    products = accumulators * (words >> ACCUMULATOR.bits & 0xFFFF).astype(np.int64)
    shifts = (words >> ACCUMULATOR.bits + 16).astype(np.int64)

    def requantized(values):
        return ((values + (1 << shifts - 1)) >> shifts).clip(UINT8.low, UINT8.high)

    assert np.array_equal(requantized(products), vectors.expected_elements)
    for bit in range(16, ACCUMULATOR.bits + 15):
        lost = np.where(products < 0, products | 1 << bit, products & ~(1 << bit))
        assert (requantized(lost) != vectors.expected_elements)[bit >= shifts + UINT8.bits].any(), bit


def gaussian_vectors(lanes, words, samples):
    beats = np.asarray(samples).reshape(-1, 2 * lanes)
    return Vectors(
        configuration=(tuple(words),),
        inputs=None,
        frame_beats=1,
        expected=pack(beats, SAMPLE.bits),
        output_frame_beats=0,
        lanes=2 * lanes,
        element=SAMPLE,
        axes=(("sample", beats.size),),
        prefix=f"gaussian_{lanes}_",
    )


@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("seed", [0, 7, SEED_HIGH])
def test_gaussian_source(parts, lanes, seed):
    words = seed_frame(seed, lanes)
    vectors = gaussian_vectors(lanes, words, gaussian(seed, 3000))
    chosen = scenarios(SEED, 200)
    listed = jobs(f"gaussian {lanes} lanes, seed {seed}", vectors, chosen if seed == 7 else chosen[:2])
    verify(f"gaussian_{lanes}_{seed}", parts, listed)


def test_a_seed_may_be_entered_anywhere(parts):
    vectors = gaussian_vectors(3, seed_frame(7, 3, start_draw=1_000_001), gaussian(7, 600, start=2_000_002))
    verify("gaussian_start", parts, [Job("gaussian from draw 1000001", vectors)])


def test_gaussian_source_at_the_extremes_of_a_draw(parts):
    """Draws of all zeros and ones, the least and the largest radius and angle: states made so that they come first."""
    ones = (1 << 48) - 1
    radii = (0, 1, 2, 3, 1 << 47, (1 << 47) - 1, ones, ones - 1, *(1 << bit for bit in range(4, 47, 6)))
    angles = (0, 1, (1 << 14) - 1, 1 << 13, 3 << 14, 1 << 14, 1 << 15, (1 << 16) - 1)
    listed = []
    for radius, angle in itertools.product(radii, angles):
        draw = radius << 16 | angle
        state = state_with_output(draw)
        draws = [output(state), output(step(state)), output(step(step(state)))]
        assert draws[0] == draw
        words = [FrameKind.SEED, *(half for word in state for half in (word & 0xFFFFFFFF, word >> 32))]
        vectors = gaussian_vectors(1, words, [sample for each in draws for sample in pair(each)])
        listed.append(Job(f"gaussian, first draw {draw:#018x}", vectors))
    verify("gaussian_extremes", parts, listed)


def state_with_output(draw):
    """Five valid words whose exclusive-or is ``draw``."""
    for steps in itertools.count():
        *words, _ = leap(seed_state(1), steps)
        last = draw ^ words[0] ^ words[1] ^ words[2] ^ words[3]
        if last >= COMPONENTS[4].least:
            return (*words, last)


@pytest.mark.parametrize("name", CORES)
def test_core(parts, name):
    config, _ = CORES[name]
    frames = np.random.default_rng(SEED).integers(
        0, 255, (6, config.hidden, config.height, config.width), endpoint=True
    )
    frames[0], frames[1], frames[2] = 0, 255, np.where(frames[2] > 127, 255, 0)
    vectors = core_vectors(*CORES[name], random_parameters(config, SEED), frames.astype(np.uint8), f"core_{name}_")
    # A reset comes in the middle of the first frame, with rows in the line buffer.
    beats = len(vectors.expected) // len(frames)
    verify(f"core_{name}", parts, jobs(f"core {name}", vectors, scenarios(SEED, beats)))


@pytest.mark.parametrize("name", CORES)
def test_core_at_the_extremes(parts, name):
    """The largest sums of either sign: all weights and biases at one end, all activations at the other."""
    config, _ = CORES[name]
    frames = np.full((1, config.hidden, config.height, config.width), 255, np.uint8)
    listed = []
    for sign, shift in itertools.product((-1, 1), (SHIFT_LOW, 16, SHIFT_HIGH)):
        parameters = random_parameters(config, SEED)
        integers = parameters.stages["spatial"]
        integers.weights.fill_(sign * 127)
        integers.bias.fill_(-(1 << 23) if sign < 0 else (1 << 23) - 1)
        integers.multiplier.fill_(MULTIPLIER_HIGH)
        integers.shift.fill_(shift)
        vectors = core_vectors(*CORES[name], parameters, frames, f"core_{name}_")
        listed.append(Job(f"core {name}, weights {sign * 127}, shift {shift}", vectors))
    verify(f"core_{name}_extremes", parts, listed)
