"""LFSR258 as published, of full period, and able to leap."""

from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quietbar.contract import ConfigurationError, check_seed, derive_seed
from quietbar.contract.seeds import SEED_HIGH
from quietbar.contract.stream import FrameKind, seed_frame
from quietbar.contract.uniform import COMPONENTS, WORD_MASK, apply, leap, leap_matrix, output, seed_state, step

SEEDS = st.one_of(st.integers(0, SEED_HIGH), st.sampled_from((0, SEED_HIGH)))

FACTORS = {
    63: (7, 7, 73, 127, 337, 92737, 649657),
    55: (23, 31, 89, 881, 3191, 201961),
    52: (3, 5, 53, 157, 1613, 2731, 8191),
    47: (2351, 4513, 13264529),
    41: (13367, 164511353),
}
"""Prime factors of 2**order - 1."""


def published_step(y1, y2, y3, y4, y5):
    """The program of the paper's figure, word for word but for C's 64-bit wrap."""
    b = (((y1 << 1) & WORD_MASK) ^ y1) >> 53
    y1 = (((y1 & 18446744073709551614) << 10) & WORD_MASK) ^ b
    b = (((y2 << 24) & WORD_MASK) ^ y2) >> 50
    y2 = (((y2 & 18446744073709551104) << 5) & WORD_MASK) ^ b
    b = (((y3 << 3) & WORD_MASK) ^ y3) >> 23
    y3 = (((y3 & 18446744073709547520) << 29) & WORD_MASK) ^ b
    b = (((y4 << 5) & WORD_MASK) ^ y4) >> 24
    y4 = (((y4 & 18446744073709420544) << 23) & WORD_MASK) ^ b
    b = (((y5 << 3) & WORD_MASK) ^ y5) >> 33
    y5 = (((y5 & 18446744073701163008) << 8) & WORD_MASK) ^ b
    return y1, y2, y3, y4, y5


@given(SEEDS)
def test_a_step_is_the_published_one(seed) -> None:
    state = expected = seed_state(seed)
    for _ in range(20):
        state, expected = step(state), published_step(*expected)
        assert state == expected
    assert output(state) == expected[0] ^ expected[1] ^ expected[2] ^ expected[3] ^ expected[4]


def test_seeds_become_states_by_splitmix64() -> None:
    # The first outputs of Vigna's splitmix64.c for seed 0.
    assert seed_state(0) == (
        0xE220A8397B1DCDAF,
        0x6E789E6AA1B965F4,
        0x06C45D188009454F,
        0xF88BB8A8724C81EC,
        0x1B39896A51A8749B,
    )


@given(SEEDS)
def test_every_word_of_a_state_is_alive(seed) -> None:
    for component, word in zip(COMPONENTS, seed_state(seed), strict=True):
        assert component.least <= word <= WORD_MASK


@pytest.mark.parametrize("index", range(len(COMPONENTS)))
def test_each_component_has_its_full_period(index) -> None:
    order, word = COMPONENTS[index].order, COMPONENTS[index].step(0xDEADBEEFCAFEF00D)
    period = (1 << order) - 1
    assert prod(FACTORS[order]) == period

    def after(steps: int) -> int:
        state = list(seed_state(0))
        state[index] = word
        return leap(tuple(state), steps)[index]

    assert after(period) == word
    for prime in set(FACTORS[order]):
        assert after(period // prime) != word


@settings(deadline=None)
@given(SEEDS, st.integers(0, 300))
def test_a_leap_is_so_many_steps(seed, steps) -> None:
    state = seed_state(seed)
    for _ in range(steps):
        state = step(state)
    assert leap(seed_state(seed), steps) == state


@settings(deadline=None, max_examples=20)
@given(SEEDS, st.integers(0, 2**80), st.integers(0, 2**80))
def test_leaps_add_up(seed, first, second) -> None:
    assert leap(leap(seed_state(seed), first), second) == leap(seed_state(seed), first + second)


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 7, 64, 1000])
def test_a_leap_matrix_is_the_power_of_one_step(steps) -> None:
    for index, word in enumerate(seed_state(5)):
        assert apply(leap_matrix(index, steps), word) == leap(seed_state(5), steps)[index]


@pytest.mark.parametrize("lanes", [1, 2, 3, 8])
@pytest.mark.parametrize("start", [0, 5])
def test_lanes_interleave_to_the_one_sequence_of_a_seed(lanes, start) -> None:
    expected, state = [], leap(seed_state(11), start)
    for _ in range(4 * lanes):
        state = step(state)
        expected.append(output(state))
    kind, *words = seed_frame(11, lanes, start)
    assert kind == FrameKind.SEED and len(words) == 10 * lanes
    pairs = [low | high << 32 for low, high in zip(words[::2], words[1::2], strict=True)]
    states = [tuple(pairs[5 * lane : 5 * lane + 5]) for lane in range(lanes)]
    found = []
    for _ in range(4):
        found += [output(state) for state in states]
        states = [leap(state, lanes) for state in states]
    assert found == expected


def test_derived_seeds_are_pinned_and_differ_by_every_name() -> None:
    # The first eight bytes of `printf 7/layer1.conv/gain | sha256sum`.
    assert derive_seed(7, "layer1.conv", "gain") == 0x6D828C0A934A6AF6
    names = [(7,), (7, "a"), (7, "b"), (8, "a"), (7, "a", 1), (7, "a", 2)]
    assert len({derive_seed(*name) for name in names}) == len(names)


@pytest.mark.parametrize("seed", [-1, SEED_HIGH + 1, 1.0, "1", True, None])
def test_what_is_no_seed_is_refused(seed) -> None:
    for function in (check_seed, seed_state, derive_seed):
        with pytest.raises(ConfigurationError, match="seed"):
            function(seed)
