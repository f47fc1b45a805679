"""The compiled Gaussian sources give the samples of the NumPy code and of the contract, wherever they are entered."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from quietbar import native
from quietbar.contract.gaussian import pair
from quietbar.contract.inverse_cdf import sample
from quietbar.contract.seeds import SEED_HIGH
from quietbar.contract.sources import KINDS, SAMPLES_PER_DRAW, source_samples
from quietbar.contract.uniform import WORD_BITS, WORD_MASK, component_matrix
from quietbar.integer import box_muller, compiled, inverse_cdf
from quietbar.integer.sources import source_array

pytestmark = pytest.mark.skipif(native.kernels() is None, reason=f"no compiled kernels: {native.status()}")

LANES, STEPS, UNIT = 16, 64, 16 << 11
"""Of gaussian.cpp: lanes, steps between two stores of a lane, draws of a unit of work."""

BY_NUMPY = {"box-muller": box_muller.samples_by_numpy, "inverse-cdf": inverse_cdf.samples_by_numpy}

SEEDS = st.one_of(st.integers(0, SEED_HIGH), st.sampled_from((0, SEED_HIGH)))
STARTS = st.one_of(st.integers(0, 1000), st.integers(0, 2**62 - 1), st.integers(0, 61).map(lambda power: 1 << power))
DRAWS = st.one_of(
    st.integers(0, 3 * LANES),
    st.builds(lambda runs, off: runs * LANES * STEPS + off, st.integers(1, 4), st.integers(-LANES - 1, LANES + 1)),
    st.builds(lambda units, off: units * UNIT + off, st.integers(1, 2), st.integers(-3, 3)),
)


@settings(max_examples=150)
@given(st.sampled_from(KINDS), SEEDS, DRAWS, STARTS, st.integers(1, 3))
@example("box-muller", SEED_HIGH, 2 * UNIT + 1, 2**62 - 1, 3)
@example("inverse-cdf", SEED_HIGH, 2 * UNIT + 1, 2**62 - 1, 3)
def test_equals_numpy_for_every_number_of_draws(kind, seed, draws, start, threads) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = compiled.compiled_samples(kind, seed, draws, start)
    finally:
        torch.set_num_threads(before)
    assert found is not None and found.dtype == np.int16
    assert np.array_equal(found, BY_NUMPY[kind](seed, draws, start))


@settings(max_examples=40)
@given(st.sampled_from(KINDS), SEEDS, st.integers(1, 300), st.integers(0, 2**61))
def test_equals_the_contract(kind, seed, count, start) -> None:
    assert source_array(kind, seed, count, start).tolist() == source_samples(kind, seed, count, start)


@settings(max_examples=40)
@given(st.sampled_from(KINDS), SEEDS, st.lists(st.integers(0, 700), max_size=6), st.integers(0, 2**61))
def test_a_sequence_drawn_in_parts_is_the_sequence_drawn_at_once(kind, seed, counts, start) -> None:
    """Parts of any length, odd ones too: the next one goes on in the middle of a pair, a run or a unit."""
    places = np.cumsum([0, *counts]).tolist()
    parts = [source_array(kind, seed, count, start + place) for count, place in zip(counts, places[:-1], strict=True)]
    together = np.concatenate(parts) if parts else np.empty(0, np.int16)
    assert np.array_equal(together, source_array(kind, seed, sum(counts), start))


@pytest.mark.parametrize("kind", KINDS)
def test_every_lane_of_a_unit_and_the_next_unit_go_on_where_the_last_one_ended(kind) -> None:
    each = SAMPLES_PER_DRAW[kind]
    draws = UNIT + LANES * STEPS + 5
    whole = source_array(kind, 11, draws * each, 6)
    lanes = [lane * (UNIT // LANES) for lane in range(LANES)]
    for draw in [*lanes, *(place - 1 for place in lanes[1:]), UNIT - 1, UNIT, draws - 2]:
        place = draw * each
        assert whole[place : place + 2].tolist() == source_samples(kind, 11, 2, 6 + place)


DRAWN = st.one_of(
    st.integers(0, 2**64 - 1),
    st.integers(0, 64).flatmap(lambda bits: st.integers(0, 2**bits - 1)),
    st.integers(0, 64).flatmap(lambda bits: st.integers(2**64 - 2**bits, 2**64 - 1)),
)
ENDS = (0, 2**64 - 1, 1 << 16, 1 << 17, 1 << 21, 1 << 20, (1 << 21) - 1, 0xFFFF, 1 << 63, 2**64 - (1 << 16), 0x7FFF)


def state_before(kind, draw: int) -> tuple[int, ...]:
    """A state from which one step gives ``draw``: the step is linear over GF(2), so elimination finds one."""
    components = compiled.GENERATORS[kind].components
    pivots: dict[int, tuple[int, int]] = {}  # leading bit -> image, and which bits of all words it is the image of

    def reduced(image: int, bits: int) -> tuple[int, int]:
        while image and (pivot := pivots.get(image.bit_length())):
            image, bits = image ^ pivot[0], bits ^ pivot[1]
        return image, bits

    for index, component in enumerate(components):
        for bit in range(WORD_BITS - component.order, WORD_BITS):
            image, bits = reduced(component.step(1 << bit), 1 << (WORD_BITS * index + bit))
            if image:
                pivots[image.bit_length()] = (image, bits)
    image, bits = reduced(draw, 0)
    assert image == 0
    return tuple(bits >> WORD_BITS * index & WORD_MASK for index in range(len(components)))


def first_samples(kind, draws) -> list[list[int]]:
    """Of each draw what the kernels make of it."""
    return [compiled.samples_after(native.kernels(), kind, state_before(kind, draw), 1).tolist() for draw in draws]


def expected_samples(kind, draws) -> list[list[int]]:
    return [list(pair(draw)) if kind == "box-muller" else [sample(draw)] for draw in draws]


@settings(max_examples=60)
@given(st.sampled_from(KINDS), st.lists(DRAWN, min_size=1, max_size=20))
@example("box-muller", [*ENDS])
@example("inverse-cdf", [*ENDS])
def test_every_draw_gives_its_samples(kind, draws) -> None:
    """The rare ones too, such as the longest radius or the last octave."""
    assert first_samples(kind, draws) == expected_samples(kind, draws)


@pytest.mark.parametrize("kind", KINDS)
def test_the_matrices_are_those_of_the_contract(kind) -> None:
    generator = compiled.GENERATORS[kind]
    found = compiled._matrices(generator)
    assert found.shape == (len(generator.components), compiled.POWERS, WORD_BITS)
    for own, component in zip(found, generator.components, strict=True):
        for power in (0, 1, 5, 17, 40, 62):
            assert own[power].tolist() == list(component_matrix(component, 1 << power))


@pytest.mark.parametrize(
    ("kinds", "sound", "faulty"),
    [
        (KINDS, "image ^= matrix[bit]", "image |= matrix[bit]"),
        (KINDS, "start + unit * UNIT, matrices", "start, matrices"),
        (KINDS, "const int64_t at = lane * run + first", "const int64_t at = lane * run"),
        (KINDS, "kept = std::min(steps, count - at)", "kept = std::min(steps, count - at - 1)"),
        (KINDS, "(word & own.keep) << own.shift", "word << own.shift"),
        (["box-muller"], "difference < 1 ? 1 : difference", "difference < 1 ? 64 : difference"),
        (["box-muller"], "((value >> (shift - 1)) + 1) >> 1", "value >> shift"),
        (["box-muller"], "draw >> (WORD - RADIUS_BITS) | 1", "draw >> (WORD - RADIUS_BITS) | 2"),
        (["box-muller"], "wave(angle ^ low(ANGLE_BITS))", "wave(angle ^ low(ANGLE_BITS - 1))"),
        (["inverse-cdf"], "pattern < BIAS ? 0 : pattern - BIAS", "pattern - BIAS + 1"),
        (["inverse-cdf"], "2 * (draw & low(PLACE_BITS)) + 1", "2 * (draw & low(PLACE_BITS))"),
        (["inverse-cdf"], "draw >> SIGN_BIT & 1, static_cast", "draw >> PLACE_BITS & 1, static_cast"),
    ],
    ids=[
        "leap by or instead of exclusive-or",
        "units from one place",
        "parts of a lane over each other",
        "last draw forgotten",
        "bits kept that carry no state",
        "least exponent",
        "cut instead of rounded",
        "lowest bit of the radius",
        "cosine of half the quadrant",
        "octave one off",
        "left end of a place",
        "sign from another bit",
    ],
)
def test_a_fault_planted_in_the_sources_is_caught(plant, kinds, sound, faulty) -> None:
    plant("gaussian.cpp", sound, faulty)
    compiled._matrices.cache_clear()
    try:
        for kind in kinds:
            found = compiled.compiled_samples(kind, 3, UNIT + 100, 1000)
            equal = np.array_equal(found, BY_NUMPY[kind](3, UNIT + 100, 1000))
            assert not equal or first_samples(kind, ENDS) != expected_samples(kind, ENDS)
    finally:
        compiled._matrices.cache_clear()
