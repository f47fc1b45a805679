"""The vectorised inverse-CDF source equals the contract's from any start, draw by draw."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from quietbar.contract import ConfigurationError
from quietbar.contract.inverse_cdf import sample, samples
from quietbar.contract.seeds import SEED_HIGH
from quietbar.contract.sources import KINDS, source_samples
from quietbar.integer import inverse_cdf, uniform
from quietbar.integer.sources import source_array

SEEDS = st.one_of(st.integers(0, SEED_HIGH), st.sampled_from((0, SEED_HIGH)))
CHUNK = uniform.BLOCKS * uniform.STEPS
DRAWS = st.one_of(
    st.integers(0, 2**64 - 1),
    st.integers(0, 64).flatmap(lambda bits: st.integers(0, 2**bits - 1)),
    st.integers(0, 64).flatmap(lambda bits: st.integers(2**64 - 2**bits, 2**64 - 1)),
)


@settings(deadline=None, max_examples=40)
@given(SEEDS, st.integers(0, 400), st.one_of(st.integers(0, 1000), st.integers(0, 2**62 - 1)))
@example(0, 0, 3)
@example(1, 1, 1)
@example(2, uniform.STEPS, 1)
@example(SEED_HIGH, 129, 2**62 - 1)
def test_equals_the_contract_from_any_start(seed, count, start) -> None:
    found = inverse_cdf.inverse_cdf_array(seed, count, start)
    assert found.dtype == np.int16 and found.shape == (count,)
    assert found.tolist() == samples(seed, count, start)


@pytest.mark.parametrize("code", ["1", "0"], ids=["compiled", "NumPy"])
def test_one_call_equals_many_across_the_ends_of_chunks(code, monkeypatch) -> None:
    monkeypatch.setenv("QUIETBAR_NATIVE", code)
    whole = source_array("inverse-cdf", 9, 2 * CHUNK + 100, 3)
    for position in (0, 63, 64, CHUNK - 3, CHUNK, 2 * CHUNK - 1, 2 * CHUNK + 90):
        assert whole[position : position + 10].tolist() == samples(9, 10, 3 + position)


@settings(deadline=None)
@given(st.lists(DRAWS, min_size=1, max_size=50))
@example([0, 2**64 - 1, 2**20, 2**21, 2**63, 2**21 - 1])
def test_every_draw_gives_its_sample(draws) -> None:
    assert inverse_cdf.samples_of_draws(np.array(draws, np.uint64)).tolist() == [sample(draw) for draw in draws]


def test_every_segment_and_octave_is_met() -> None:
    """One draw in the middle of each segment of each octave, of either sign."""
    draws = [
        (1 << 42 - octave if octave < 43 else 0) << 21 | sign << 20 | segment << 15 | 0x4001
        for octave in range(44)
        for sign in (0, 1)
        for segment in range(32)
    ]
    assert inverse_cdf.samples_of_draws(np.array(draws, np.uint64)).tolist() == [sample(draw) for draw in draws]


@pytest.mark.parametrize("kind", KINDS)
def test_sources_by_name(kind) -> None:
    assert source_array(kind, 4, 50, 7).tolist() == source_samples(kind, 4, 50, 7)


def test_what_is_no_source_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="kind = 'clt': must be one of 'box-muller', 'inverse-cdf'"):
        source_array("clt", 0, 1)
    with pytest.raises(ConfigurationError, match="count = -1"):
        source_array("inverse-cdf", 0, -1)


@pytest.mark.parametrize("fault", ["base one row off", "draws start one late", "octave one off"])
def test_a_planted_fault_is_caught(fault, monkeypatch) -> None:
    monkeypatch.setenv("QUIETBAR_NATIVE", "0")
    if fault == "base one row off":
        monkeypatch.setattr(inverse_cdf, "_BASE", np.roll(inverse_cdf._BASE, 1))
    elif fault == "draws start one late":
        correct = inverse_cdf.draw_chunks
        monkeypatch.setattr(
            inverse_cdf, "draw_chunks", lambda seed, count, start, kind: correct(seed, count, start + 1, kind)
        )
    else:
        monkeypatch.setattr(inverse_cdf, "_BIAS", inverse_cdf._BIAS + 1)
    assert source_array("inverse-cdf", 1, 100).tolist() != samples(1, 100)
