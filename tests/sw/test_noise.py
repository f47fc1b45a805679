"""Variations, chips and the temporal noise source."""

import json
import math
import tomllib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from quietbar.contract import gaussian as specification
from quietbar.contract.errors import ConfigurationError
from quietbar.contract.seeds import derive_seed
from quietbar.noise import Chip, Variation, presets, temporal

MASK = (1 << 64) - 1


# Variations


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sigma": -0.1}, "variation.sigma = -0.1: must be a finite number of at least 0"),
        ({"sigma": math.nan}, "variation.sigma = nan: must be a finite number of at least 0"),
        ({"sigma": True}, "variation.sigma = True: must be a finite number of at least 0"),
        ({"gain_mismatch": math.inf}, "variation.gain_mismatch = inf: must be a finite number of at least 0"),
        ({"offset_mismatch": "a"}, "variation.offset_mismatch = 'a': must be a finite number of at least 0"),
        ({"nu": -1}, "variation.nu = -1: must be a finite number of at least 0"),
        ({"t0": 0}, "variation.t0 = 0: must be a finite number above 0"),
        ({"seconds": 3}, "variation.seconds = 3: must be a finite number of at least 20 (variation.t0)"),
        ({"reference": "max"}, "variation.reference = 'max': must be one of 'std', 'range'"),
    ],
)
def test_a_field_outside_its_range_is_refused_by_name(fields, message):
    with pytest.raises(ConfigurationError) as raised:
        Variation(**fields)
    assert str(raised.value) == message


def test_an_unknown_key_is_refused_by_name():
    with pytest.raises(ConfigurationError, match=r"variation.sgima = 1: must be absent \(did you mean 'sigma'\?\)"):
        Variation.from_dict({"sgima": 1})


@given(
    st.builds(
        Variation,
        sigma=st.floats(0, 10),
        reference=st.sampled_from(["std", "range"]),
        gain_mismatch=st.floats(0, 10),
        offset_mismatch=st.floats(0, 10),
        seconds=st.floats(20, 1e10),
        nu=st.floats(0, 1),
    )
)
def test_json_and_toml_give_back_the_same_variation(variation):
    fields = variation.to_dict()
    assert Variation.from_dict(json.loads(json.dumps(fields))) == variation
    toml = "\n".join(f"{name} = {json.dumps(value)}" for name, value in fields.items())
    assert Variation.from_dict(tomllib.loads(toml)) == variation


def test_drift_is_a_power_of_the_time_since_the_first_reading():
    assert Variation(seconds=86_400, nu=0.05, t0=20).drift == pytest.approx((86_400 / 20) ** -0.05, rel=1e-15)
    assert Variation(seconds=86_400).drift == 1


def test_presets_go_by_name():
    assert all(presets.by_name(name) is getattr(presets, name) for name in presets.NAMES)
    assert presets.quiet == Variation()
    with pytest.raises(ConfigurationError, match="preset = 'loud': must be one of 'quiet', 'temporal'"):
        presets.by_name("loud")


# Chips


def test_static_draws_are_the_samples_of_the_contract():
    draws = Chip(7).static_draws("layer1.0.conv1", "gain", 64)
    samples = specification.samples(derive_seed(7, "layer1.0.conv1", "gain"), 64)
    assert draws.dtype == np.float64
    assert (draws * 2048).tolist() == samples


def test_static_draws_belong_to_chip_layer_and_kind_but_not_to_the_variation():
    chip = Chip(7, presets.process)
    draws = chip.static_draws("a", "gain", 32).tolist()
    assert draws == Chip(7, presets.quiet).static_draws("a", "gain", 32).tolist()
    others = [
        Chip(8).static_draws("a", "gain", 32),
        chip.static_draws("b", "gain", 32),
        chip.static_draws("a", "offset", 32),
    ]
    assert all(draws != other.tolist() for other in others)


def test_static_draws_over_many_chips_are_standard_normal():
    draws = np.concatenate([Chip(seed).static_draws("conv", "gain", 64) for seed in range(200)])
    assert stats.kstest(draws, "norm").pvalue > 1e-3
    assert abs(draws.mean()) < 4 / math.sqrt(draws.size)
    assert abs(draws.var() - 1) < 4 * math.sqrt(2 / draws.size)


@pytest.mark.parametrize("seed", [-1, 1 << 64, 1.0, True])
def test_a_bad_chip_seed_is_refused(seed):
    with pytest.raises(ConfigurationError, match=r"chip.seed = .*: must be an integer from 0 to 18446744073709551615"):
        Chip(seed)


def test_a_chip_wants_a_variation():
    with pytest.raises(ConfigurationError, match=r"chip.variation = 'temporal': must be a Variation, e.g. "):
        Chip(1, "temporal")


# The temporal source


def splitmix64(seed, number):
    """Output ``number`` of SplitMix64, one word at a time in Python integers."""
    z = (seed + (number + 1) * 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def test_splitmix64_gives_its_published_first_outputs():
    assert [splitmix64(1234567, j) for j in range(3)] == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@settings(max_examples=60)
@given(
    st.one_of(st.integers(0, MASK), st.sampled_from([0, MASK])),
    st.one_of(st.integers(0, 1 << 50), st.sampled_from([0, (1 << 62) - 1])),
    st.integers(1, 40),
)
def test_each_number_is_the_quantile_picked_by_its_part_of_its_word(seed, image, size):
    words = -(-size // 4)
    parts = [splitmix64(seed, image * words + j) >> (16 * part) & 0xFFFF for j in range(words) for part in range(4)]
    edges = stats.norm.ppf(np.array(parts[:size])[:, None] / 65536 + np.array([0, 1]) / 65536)
    expected = (stats.norm.pdf(edges[:, 0]) - stats.norm.pdf(edges[:, 1])) * 65536
    assert temporal.standard_normal(seed, 1, size, image)[0].numpy() == pytest.approx(expected, rel=1e-4, abs=1e-6)


SIZES = st.sampled_from([1, 3, 4, 10, 16, 37, 4096, 4 * temporal.CHUNK + 8])


@settings(max_examples=40)
@given(SIZES, st.integers(1, 5), st.integers(0, 5), st.integers(0, 1000))
def test_an_image_meets_the_same_noise_in_whatever_batch_it_comes(size, before, after, first):
    whole = temporal.standard_normal(5, before + after, size, first)
    parts = [temporal.standard_normal(5, before, size, first), temporal.standard_normal(5, after, size, first + before)]
    assert torch.equal(whole, torch.cat(parts))


def test_noise_does_not_depend_on_the_number_of_threads():
    one = temporal.standard_normal(5, 3, 4 * temporal.CHUNK + 4)
    torch.set_num_threads(2)
    try:
        two = temporal.standard_normal(5, 3, 4 * temporal.CHUNK + 4)
    finally:
        torch.set_num_threads(1)
    assert torch.equal(one, two)


def test_noise_does_not_touch_torchs_random_state():
    before = torch.get_rng_state()
    temporal.standard_normal(5, 3, 100)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_an_elements_noise_does_not_depend_on_type_or_memory_layout(layout, dtype):
    values = torch.zeros(2, 4, 3, 5, dtype=dtype).to(memory_format=layout)
    temporal.add_noise_(values, 1.0, 5, 0)
    expected = temporal.standard_normal(5, 2, 60).view(2, 4, 3, 5)
    assert torch.equal(values, expected.to(dtype))


def test_memory_of_inference_mode_serves_training_too():
    temporal._scratch.cache_clear()
    temporal.quantiles.cache_clear()
    with torch.inference_mode():
        first = temporal.standard_normal(5, 2, 60).clone()
    assert torch.equal(first, temporal.standard_normal(5, 2, 60))


def test_no_images_and_no_elements_are_no_error():
    temporal.add_noise_(torch.zeros(0, 5), 1.0, 5, 0)
    temporal.add_noise_(torch.zeros(5, 0), 1.0, 5, 0)


def check_normal(noise):
    """Refuse (images, elements) that are not independent normal numbers; a good source fails each limit once in 1e4."""
    numbers = noise.double().numpy()
    flat, count = numbers.reshape(-1), numbers.size
    assert abs(flat.mean()) < 4 / math.sqrt(count), "mean"
    assert abs(flat.var() - 1) < 4 * math.sqrt(2 / count), "variance"
    assert abs((flat**4).mean() - 3) < 4 * math.sqrt(96 / count), "fourth moment"
    assert stats.kstest(flat, "norm").pvalue > 1e-4, "distribution"
    for sigmas in (2, 3, 3.5):
        beyond, expected = int((np.abs(flat) > sigmas).sum()), count * 2 * stats.norm.sf(sigmas)
        low, high = stats.poisson.interval(0.9999, expected)
        assert low <= beyond <= high, f"tail at {sigmas} sigma"
    for lag in (1, 2, 3, 4, 5, 8, 16, 64):
        assert abs((flat[lag:] * flat[:-lag]).mean()) < 4.5 / math.sqrt(count), f"correlation at lag {lag}"
    for first in range(3):
        product = numbers[first] * numbers[first + 1]
        assert abs(product.mean()) < 4.5 / math.sqrt(product.size), "correlation of images"


def test_four_million_numbers_are_independent_and_normal():
    check_normal(temporal.standard_normal(Chip(7).temporal_seed("conv1"), 64, 65536))


def test_noise_of_two_layers_is_uncorrelated():
    first, second = (temporal.standard_normal(Chip(7).temporal_seed(name), 1, 1 << 20) for name in ("a", "b"))
    assert abs(float((first * second).mean())) < 4.5 / math.sqrt(1 << 20)


@pytest.mark.parametrize(
    ("fault", "what"),
    [
        (lambda noise: noise[:1].expand(64, -1), "correlation of images|tail|mean|variance|distribution"),
        (lambda noise: noise * 1.003, "variance"),
        (lambda noise: noise + 0.003, "mean"),
        (lambda noise: noise.clamp(-3, 3), "fourth moment|variance"),
        (lambda noise: (noise + noise.roll(1, 1)) / math.sqrt(2), "correlation at lag 1"),
        (lambda noise: torch.sign(noise), "fourth moment"),
    ],
    ids=["same noise for every image", "0.3 % too wide", "off center", "cut tails", "smeared", "signs"],
)
def test_the_check_of_the_source_catches_a_planted_fault(fault, what):
    with pytest.raises(AssertionError, match=what):
        check_normal(fault(temporal.standard_normal(5, 64, 65536)))


def test_a_source_without_its_last_mixing_stage_would_not_pass(monkeypatch):
    monkeypatch.setenv("QUIETBAR_NATIVE", "0")
    monkeypatch.setattr(temporal, "STAGES", ((30, 1),))
    with pytest.raises(AssertionError):
        check_normal(temporal.standard_normal(5, 64, 65536))
