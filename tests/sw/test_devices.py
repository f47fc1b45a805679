"""Device models against their published formulas, written out again here, and against their statistics.

Every statistical limit is one that a right model crosses with probability below 1e-4; seeds are fixed.
"""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from quietbar.analog.mapping import Mapped
from quietbar.analog.programming import conductances
from quietbar.noise import Chip, Conductance, Drift, Faults, ReadNoise, devices, presets

MINUTE, DAY = 60.0, 86_400.0
DEVICES = 200_000
Z = 4.0
"""Standard errors: a normal mean is beyond them with probability 6e-5."""


def population(conductance, target, seed=7, layer="conv", count=DEVICES):
    """Conductances of many devices with the same target, in microsiemens, and their reading deviations."""
    targets = torch.full((1, count, 1, 1), float(target), dtype=torch.float64)
    mapped = Mapped(conductance, 1, torch.ones(1, dtype=torch.float64), targets)
    now, deviation = conductances(mapped, Chip(seed, conductance=conductance), layer)
    return now.flatten().numpy(), None if deviation is None else deviation.flatten().numpy()


def check_moments(values, mean, deviation):
    count = len(values)
    assert abs(values.mean() - mean) < Z * deviation / math.sqrt(count) + 1e-9, "mean"
    assert abs(values.var() - deviation**2) < Z * deviation**2 * math.sqrt(2 / count) + 1e-9, "variance"


def only(conductance, **kept):
    """``conductance`` with ideal devices but for what is ``kept``."""
    ideal = Conductance()
    parts = {name: getattr(ideal, name) for name in ("programming", "drift", "read", "retention", "faults")}
    return dataclasses.replace(conductance, compensation="none", **(parts | kept))


# Phase-change memory, as in Joshi et al. 2020 and Nandakumar et al. 2019


def pcm_sigma(g):
    return max(-1.1731 * g**2 + 1.9650 * g + 0.2635, 0)


def pcm_drift(g):
    logarithm = math.log(g) if g > 0 else -math.inf
    mean = min(max(-0.0155 * logarithm + 0.0244, 0.049), 0.1)
    return mean, min(max(-0.0125 * logarithm - 0.0059, 0.008), 0.045)


def pcm_read(g, now, seconds):
    q = min(0.0088 / g**0.65, 0.2) if g > 0 else 0.2
    return now * q * math.sqrt(math.log((seconds + 250e-9) / (2 * 250e-9)))


@given(st.one_of(st.floats(0, 1), st.sampled_from([0.0, 1.0, 1e-12, 0.2])), st.floats(-4, 4), st.floats(20, 1e9))
def test_phase_change_memory_follows_its_formulas(g, sample, seconds):
    conductance = dataclasses.replace(presets.pcm, seconds=seconds)
    target, draw = torch.tensor([25 * g], dtype=torch.float64), torch.tensor([sample], dtype=torch.float64)
    programmed = devices.programmed(conductance, target, draw)
    assert float(programmed) == pytest.approx(max(25 * g + pcm_sigma(g) * sample, 0), rel=1e-12, abs=1e-12)
    mean, deviation = pcm_drift(g)
    exponents = devices.drift_exponents(conductance, target, draw)
    assert float(exponents) == pytest.approx(max(mean + deviation * sample, 0), rel=1e-12, abs=1e-15)
    left = devices.drift_factor(conductance, exponents)
    assert float(left) == pytest.approx((seconds / 20) ** -float(exponents), rel=1e-12)
    now = programmed * left
    read = devices.read_deviation(conductance, target, now)
    assert float(read) == pytest.approx(pcm_read(g, float(now), seconds), rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("g", [0.1, 0.5, 1.0])
def test_programmed_phase_change_devices_have_the_published_spread(g):
    now, _ = population(only(presets.pcm, programming=presets.pcm.programming), 25 * g)
    check_moments(now, 25 * g, pcm_sigma(g))
    assert stats.kstest((now - 25 * g) / pcm_sigma(g), "norm").pvalue > 1e-4


def test_an_erased_device_is_half_normal_for_conductance_is_not_negative():
    now, _ = population(only(presets.pcm, programming=presets.pcm.programming), 0.0)
    sigma = 0.2635
    assert now.min() == 0
    zeros, count = int((now == 0).sum()), len(now)
    # The source's grid of 1/2048 puts samples of exactly 0 here too: 0.02 %.
    assert abs(zeros / count - 0.5) < Z * math.sqrt(0.25 / count) + 0.0002
    check_moments(now, sigma / math.sqrt(2 * math.pi), sigma * math.sqrt(0.5 - 0.5 / math.pi))


@pytest.mark.parametrize("g", [0.05, 0.3, 1.0])
def test_exponents_of_drift_are_normal_over_devices(g):
    conductance = only(presets.pcm, drift=presets.pcm.drift, seconds=DAY)
    now, _ = population(conductance, 25 * g)
    exponents = -np.log(now / (25 * g)) / math.log(DAY / 20)
    mean, deviation = pcm_drift(g)
    clipped = stats.norm.cdf(-mean / deviation)
    assert clipped < 0.02, "so little that the moments of the clipped normal are these"
    low = -mean / deviation
    expected = mean * (1 - clipped) + deviation * stats.norm.pdf(low)
    square = (mean**2 + deviation**2) * (1 - clipped) + mean * deviation * stats.norm.pdf(low)
    check_moments(exponents, expected, math.sqrt(square - expected**2))


def test_a_device_keeps_its_exponent_over_time():
    conductance = only(presets.pcm, drift=presets.pcm.drift)
    found = []
    for seconds in (MINUTE, DAY, 365 * DAY):
        now, _ = population(dataclasses.replace(conductance, seconds=seconds), 12.5, count=1000)
        found.append(-np.log(now / 12.5) / math.log(seconds / 20))
    assert np.allclose(found[0], found[1], rtol=1e-9) and np.allclose(found[1], found[2], rtol=1e-9)


def test_at_the_first_reading_nothing_has_drifted():
    now, _ = population(only(presets.pcm, drift=presets.pcm.drift), 12.5, count=10)
    assert (now == 12.5).all()


@pytest.mark.parametrize("g", [0.2, 1.0])
def test_noise_redrawn_over_time_has_the_deviation_of_a_reading_and_is_new_each_time(g):
    read = dataclasses.replace(presets.pcm.read, redraw="time")
    hour, day = (population(only(presets.pcm, read=read, seconds=seconds), 25 * g) for seconds in (3600.0, DAY))
    assert hour[1] is None and day[1] is None
    check_moments(hour[0], 25 * g, pcm_read(g, 25 * g, 3600.0))
    check_moments(day[0], 25 * g, pcm_read(g, 25 * g, DAY))
    assert abs(np.corrcoef(hour[0], day[0])[0, 1]) < Z / math.sqrt(DEVICES)


# RRAM


@pytest.mark.parametrize("target", [50.0, 137.0, 225.0])
def test_rram_of_milo_has_its_line(target):
    now, _ = population(presets.rram_milo, target)
    check_moments(now, target, -0.009107 * target + 4.782321)


WAN = {
    1.0: (0.348, 16.030, -43.853, 45.393, -16.815),
    DAY: (0.701, 22.086, -50.773, 47.095, -16.458),
    2 * DAY: (0.782, 20.274, -43.507, 37.062, -11.934),
}


@pytest.mark.parametrize("g", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("seconds", [1.0, math.sqrt(DAY), DAY, 2 * DAY])
def test_rram_of_wan_spreads_as_published_at_each_time(g, seconds):
    conductance = only(presets.rram_wan, programming=presets.rram_wan.programming, retention=presets.rram_wan.retention)
    now, _ = population(dataclasses.replace(conductance, seconds=seconds), 40 * g)
    at = {time: sum(c * g**k for k, c in enumerate(coefficients)) for time, coefficients in WAN.items()}
    # Half a day's logarithm is half way between the measured times of one second and one day.
    expected = (at[1.0] + at[DAY]) / 2 if seconds not in at else at[seconds]
    check_moments(now, 40 * g, max(expected, at[1.0]))


@pytest.mark.parametrize("seconds", [1.0, DAY, 3e8])
def test_rram_of_falcone_relaxes_as_published(seconds):
    now, _ = population(dataclasses.replace(presets.rram_cmo, seconds=seconds), 50.0)
    added = 0.04201137 * math.log(seconds) + 0.41183342
    programming = 0.01129027418 * 50 + 0.0112185391
    check_moments(now, 50 - 0.08900206 * math.log(seconds), math.hypot(added, programming))


def test_nothing_is_made_up_after_the_last_measured_time():
    from quietbar.contract.errors import ConfigurationError

    with pytest.raises(
        ConfigurationError, match=r"conductance.seconds = 259200.0: must be at most 172800, the last of"
    ):
        dataclasses.replace(presets.rram_wan, seconds=3 * DAY)


# The generic model


def test_noise_of_the_largest_weight_is_the_same_on_every_weight():
    for target in (-100.0, 0.0, 30.0):
        now, _ = population(presets.of_largest_weight(0.08), target)
        check_moments(now, target, 8.0)


# Faults


@pytest.mark.parametrize(
    ("at_min", "at_max"), [(0.01, 0.0), (0.0, 0.01), (0.01, 0.01), (0.05, 0.05), (1e-4, 0.3), (1.0, 0.0), (0.0, 1.0)]
)
def test_devices_are_stuck_at_the_rates_asked_for(at_min, at_max):
    found = np.concatenate([Chip(seed).faults("conv", DEVICES, at_min, at_max) for seed in range(5)])
    for code, rate in ((1, at_min), (2, at_max)):
        low, high = stats.binom.interval(0.9999, found.size, rate) if 0 < rate < 1 else (rate * found.size,) * 2
        assert low <= (found == code).sum() <= high


def test_a_rate_that_a_simulator_got_wrong_by_a_hundredfold_is_caught():
    """What another simulator makes of 1 % stuck at minimum: the rate times itself."""
    found = Chip(1).faults("conv", DEVICES, 0.01**2, 0.0)
    low, high = stats.binom.interval(0.9999, found.size, 0.01)
    assert not low <= (found == 1).sum() <= high


def test_stuck_devices_stay_where_they_are_whatever_the_rest_says():
    conductance = dataclasses.replace(presets.pcm, faults=Faults(0.2, 0.1), seconds=DAY, g_min=0.5)
    now, deviation = population(conductance, 12.5, count=10_000)
    stuck = Chip(7).faults("conv", 10_000, 0.2, 0.1)
    assert (now[stuck == 1] == 0.5).all() and (now[stuck == 2] == 25.0).all()
    assert not np.isin(now[stuck == 0], (0.5, 25.0)).any()
    assert deviation[stuck == 2] == pytest.approx(pcm_read(1.0, 25.0, DAY))


def test_a_chip_with_more_faults_has_those_of_one_with_fewer():
    few, many = (Chip(3).faults("conv", 5000, rate, rate / 2) for rate in (0.05, 0.3))
    assert (many[few > 0] == few[few > 0]).all() and (many > 0).sum() > (few > 0).sum()


def test_faults_of_a_part_are_a_part_of_the_faults():
    whole = Chip(3).faults("conv", 5000, 0.1, 0.1)
    assert (Chip(3).faults("conv", 1000, 0.1, 0.1, start=1234) == whole[1234:2234]).all()


# Draws


@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_devices_computed_in_chunks_are_the_same(monkeypatch, chunk):
    conductance = dataclasses.replace(presets.pcm, seconds=DAY, faults=Faults(0.1, 0.1))
    whole = population(conductance, 12.5, count=100)
    monkeypatch.setattr("quietbar.analog.programming.CHUNK", chunk)
    parts = population(conductance, 12.5, count=100)
    assert (whole[0] == parts[0]).all() and (whole[1] == parts[1]).all()


def test_programming_drift_and_layers_draw_independently():
    samples = [
        Chip(7).static_draws(layer, kind, DEVICES)
        for layer, kind in (("a", "programming"), ("a", "drift"), ("a", "retention"), ("b", "programming"))
    ]
    correlations = np.corrcoef(samples) - np.eye(len(samples))
    assert np.abs(correlations).max() < 4.5 / math.sqrt(DEVICES)


@pytest.mark.parametrize(
    ("fault", "what"),
    [
        (lambda now: now * 1.01, "mean"),
        (lambda now: 12.5 + (now - 12.5) * 1.02, "variance"),
        (lambda now: np.full_like(now, now[0]), "mean|variance"),
    ],
    ids=["conductances 1 % high", "2 % too wide", "one draw for all devices of a level"],
)
def test_the_check_of_moments_catches_a_planted_fault(fault, what):
    now, _ = population(only(presets.pcm, programming=presets.pcm.programming), 12.5)
    with pytest.raises(AssertionError, match=what):
        check_moments(fault(now), 12.5, pcm_sigma(0.5))


def test_a_constant_exponent_is_the_same_at_every_level():
    conductance = Conductance(drift=Drift.constant(0.05), seconds=DAY)
    target = torch.tensor([0.0, 1.0, 25.0], dtype=torch.float64)
    assert devices.drift_exponents(conductance, target, torch.ones(3)).tolist() == [0.05] * 3
    assert not Drift().is_active and not Drift.constant(0.0).is_active and Drift.constant(0.0, 0.1).is_active
    assert not ReadNoise(coefficient=1.0, limit=0.0).is_noisy
