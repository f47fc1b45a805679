"""The vectorised Gaussian source equals the contract's from any start, by compiled kernels and by NumPy."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from quietbar.contract import ConfigurationError
from quietbar.contract.gaussian import SINE, exponent, pair, radius, samples
from quietbar.contract.seeds import SEED_HIGH
from quietbar.contract.uniform import leap, output, seed_state
from quietbar.integer import box_muller, gaussian, uniform

SEEDS = st.one_of(st.integers(0, SEED_HIGH), st.sampled_from((0, SEED_HIGH)))
CHUNK = 2 * uniform.BLOCKS * uniform.STEPS


@settings(deadline=None, max_examples=60)
@given(SEEDS, st.integers(0, 400), st.one_of(st.integers(0, 1000), st.integers(0, 2**62)))
@example(0, 0, 3)
@example(1, 1, 1)
@example(2, 2 * uniform.STEPS, 1)
@example(SEED_HIGH, 129, 2**62)
def test_equals_the_contract_from_any_start(seed, count, start) -> None:
    found = gaussian(seed, count, start)
    assert found.dtype == torch.int16 and found.shape == (count,)
    assert found.tolist() == samples(seed, count, start)


@pytest.mark.parametrize("code", ["1", "0"], ids=["compiled", "NumPy"])
@pytest.mark.parametrize("start", [0, 1, 5])
def test_one_call_equals_many_across_the_ends_of_chunks(start, code, monkeypatch) -> None:
    monkeypatch.setenv("QUIETBAR_NATIVE", code)
    whole = gaussian(9, 2 * CHUNK + 100, start)
    for position in (0, 127, 128, CHUNK - 3, CHUNK, 2 * CHUNK - 1, 2 * CHUNK + 90):
        assert whole[position : position + 10].tolist() == samples(9, 10, start + position)
    assert torch.equal(whole[CHUNK - 77 : CHUNK + 77], gaussian(9, 154, start + CHUNK - 77))


def test_draws_equal_the_contract_at_the_ends_of_chunks() -> None:
    size = uniform.BLOCKS * uniform.STEPS
    found = uniform.draws(4, size + 3, start=7)
    for position in (0, 1, 63, 64, size - 1, size, size + 2):
        assert int(found[position]) == output(leap(seed_state(4), 7 + position + 1))
    assert uniform.draws(4, 0).shape == (0,)


DRAWS = st.one_of(
    st.integers(0, 2**64 - 1),
    st.integers(0, 64).flatmap(lambda bits: st.integers(0, 2**bits - 1)),
    st.integers(0, 64).flatmap(lambda bits: st.integers(2**64 - 2**bits, 2**64 - 1)),
)


@settings(deadline=None)
@given(st.lists(DRAWS, min_size=1, max_size=50))
@example([0, 2**64 - 1, 2**16, 2**63, 0xFFFF])
def test_every_draw_gives_its_pair(draws) -> None:
    found = box_muller.samples_of_draws(np.array(draws, np.uint64)).reshape(-1, 2)
    assert [tuple(each) for each in found.tolist()] == [pair(draw) for draw in draws]


@given(st.integers(1, 2**31 - 1), st.integers(0, 2**48 - 1))
@example(1, 2**48 - 1)
@example(2**31 - 1, 0)
def test_root_and_logarithm_equal_the_contract(value, word) -> None:
    assert int(box_muller.radii(np.array([value]))[0]) == radius(value)
    assert int(box_muller.exponents(np.array([word]))[0]) == exponent(word)


@pytest.mark.parametrize(
    ("field", "arguments"),
    [("seed", (-1, 1)), ("seed", (2**64, 1)), ("count", (0, -1)), ("count", (0, 1.5)), ("start", (0, 1, -1))],
)
def test_arguments_out_of_range_are_refused_by_name(field, arguments) -> None:
    with pytest.raises(ConfigurationError) as error:
        gaussian(*arguments)
    assert error.value.field == field


@pytest.mark.parametrize("fault", ["sine one entry off", "draws start one late", "signs swapped"])
def test_a_planted_fault_is_caught(fault, monkeypatch) -> None:
    monkeypatch.setenv("QUIETBAR_NATIVE", "0")
    if fault == "sine one entry off":
        monkeypatch.setattr(box_muller, "_SINES", np.roll(box_muller._SINES, 1 << SINE.rest_bits))
    elif fault == "draws start one late":
        correct = box_muller.draw_chunks
        monkeypatch.setattr(box_muller, "draw_chunks", lambda seed, count, start: correct(seed, count, start + 1))
    else:
        first, second = box_muller.SIGN_OF_FIRST_BIT, box_muller.SIGN_OF_SECOND_BIT
        monkeypatch.setattr(box_muller, "SIGN_OF_FIRST_BIT", second)
        monkeypatch.setattr(box_muller, "SIGN_OF_SECOND_BIT", first)
    assert gaussian(1, 100).tolist() != samples(1, 100)


def test_seeds_are_not_correlated() -> None:
    first, second = (gaussian(seed, 1_000_000).double() / 2048 for seed in (7, 8))
    assert abs(first @ second) / 1_000_000 < 4 / 1000
