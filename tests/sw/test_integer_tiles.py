"""Arrays of tiles: drift, faults, sliced input, partial sums and scale equal the contract's scalar formulas."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from quietbar.contract import BIAS, ConfigurationError, CrossbarConfig, requantize, round_shift
from quietbar.contract.crossbar import CONDUCTANCE, PROGRAMMING, READ_SIGMA, STUCK_AT_FULL_CONDUCTANCE, Fault
from quietbar.contract.drift import (
    DECAY,
    EXPONENT,
    EXPONENT_MEAN,
    EXPONENT_SIGMA,
    FIRST_READ_SECONDS,
    TIME,
    drifted,
    exponent,
    time_of,
)
from quietbar.contract.gaussian import samples
from quietbar.contract.requantize import MULTIPLIER_HIGH, MULTIPLIER_LOW
from quietbar.contract.seeds import derive_seed
from quietbar.contract.stream import FrameKind
from quietbar.integer import crossbar
from quietbar.noise import Chip, presets

SEEDS = st.integers(0, (1 << 64) - 1)


@st.composite
def configs(draw) -> CrossbarConfig:
    dac_bits = draw(st.integers(1, 8))
    return CrossbarConfig(
        rows=draw(st.integers(1, 4)),
        columns=draw(st.integers(1, 3)),
        dac_bits=dac_bits,
        adc_bits=draw(st.integers(2, 8)),
        noisy_programming=draw(st.booleans()),
        slices=draw(st.integers(1, 8 // dac_bits)),
        row_tiles=draw(st.integers(1, 3)),
        column_tiles=draw(st.integers(1, 2)),
        faults=True,
        drift=True,
        output=draw(st.sampled_from(("sums", "signed", "unsigned"))),
    )


def whole(config, low, high, *more):
    """Integers (inputs, outputs, ...) in the closed range, its ends often."""
    shape = (config.inputs, config.outputs, *more)
    elements = st.one_of(st.integers(low, high), st.sampled_from((low, high)))
    count = torch.Size(shape).numel()
    return st.lists(elements, min_size=count, max_size=count).map(lambda values: torch.tensor(values).reshape(shape))


def table(count, shifts):
    """Addends, factors and shifts for so many columns."""

    def column(low, high):
        elements = st.one_of(st.integers(low, high), st.sampled_from((low, high)))
        return st.lists(elements, min_size=count, max_size=count).map(tuple)

    return st.tuples(column(BIAS.low, BIAS.high), column(MULTIPLIER_LOW, MULTIPLIER_HIGH), column(*shifts))


def scalar_convert(config, pair, converter, vectors, seed, scale) -> list[list[int]]:
    """The docstring of `quietbar.contract.crossbar`, term by term."""
    draws = iter(samples(seed, len(vectors) * config.conversions))
    outputs = []
    for x in vectors:
        sums = [0] * config.outputs
        for part, tile, j in itertools.product(range(config.slices), range(config.row_tiles), range(config.outputs)):
            current = round_shift(converter.read_sigma * next(draws), 11)
            for i in range(tile * config.rows, (tile + 1) * config.rows):
                applied = (x[i] >> (part * config.dac_bits)) & ((1 << config.dac_bits) - 1)
                current += applied * int(pair[0][i, j] - pair[1][i, j])
            assert abs(current) <= config.current_magnitude
            at = tile * config.outputs + j
            code = requantize(
                current + converter.offset[at], converter.gain[at], converter.shift[at], config.adc.low, config.adc.high
            )
            sums[j] += code << (part * config.dac_bits)
        assert all(config.sum.low <= each <= config.sum.high for each in sums)
        if scale is not None:
            ends = config.target.low, config.target.high
            sums = [
                requantize(each + scale.bias[j], scale.multiplier[j], scale.shift[j], *ends)
                for j, each in enumerate(sums)
            ]
        outputs.append(sums)
    return outputs


@settings(deadline=None, max_examples=60)
@given(st.data(), SEEDS)
def test_conversion_equals_the_scalar_formula(data, seed) -> None:
    config = data.draw(configs())
    conductances = whole(config, CONDUCTANCE.low, CONDUCTANCE.high)
    pair = data.draw(conductances), data.draw(conductances)
    codes = st.lists(st.integers(0, config.source.high), min_size=config.inputs, max_size=config.inputs)
    vectors = data.draw(st.lists(codes, min_size=1, max_size=3))
    converter = crossbar.Converter(
        *data.draw(table(config.row_tiles * config.outputs, (20, 36))), data.draw(st.integers(0, READ_SIGMA.high))
    )
    scale = None if config.output == "sums" else crossbar.Scale(*data.draw(table(config.outputs, (8, 30))))
    found = crossbar.convert(config, *pair, converter, torch.tensor(vectors), seed, scale=scale)
    assert found.tolist() == scalar_convert(config, pair, converter, vectors, seed, scale)


@settings(deadline=None, max_examples=40)
@given(st.data(), SEEDS, st.integers(TIME.low, TIME.high))
def test_exponents_and_drift_equal_the_scalar_formula(data, seed, time) -> None:
    config = data.draw(configs())
    weights = data.draw(whole(config, -127, 127))
    exponents = crossbar.draw_exponents(config, weights, seed)
    draws = iter(samples(seed, 2 * config.weights))
    for index, weight in enumerate(weights.flatten().tolist()):
        for side, level in enumerate((max(weight, 0), max(-weight, 0))):
            expected = exponent(level, next(draws)) if config.noisy_programming else EXPONENT_MEAN[level]
            assert int(exponents[side].flatten()[index]) == expected
    conductances = whole(config, CONDUCTANCE.low, CONDUCTANCE.high)
    pair = data.draw(conductances), data.draw(conductances)
    aged = crossbar.drift(config, pair, exponents, time)
    for side in range(2):
        flat = zip(*(each[side].flatten().tolist() for each in (pair, exponents, aged)), strict=True)
        assert all(drifted(conductance, nu, time) == found for conductance, nu, found in flat)


def test_drift_follows_the_power_law_to_its_resolution() -> None:
    for nu, time in itertools.product((0, 1, 51, 102, 255), (0, 1, 320, 660, 1023)):
        exact = 4095 * 2 ** -(nu / 1024 * time / 32)
        # Half a step of the loss is a 512th octave; then the conductance is rounded.
        assert abs(drifted(4095, nu, time) - exact) <= exact * (2 ** (1 / 512) - 1) + 0.6


def test_time_zero_leaves_every_conductance() -> None:
    assert all(drifted(g, nu, 0) == g for g in range(CONDUCTANCE.high + 1) for nu in (0, 255))


def test_the_tables_are_monotonous_and_in_their_published_ranges() -> None:
    assert DECAY[0] == 1 << 15 and list(DECAY) == sorted(DECAY, reverse=True)
    assert (max(EXPONENT_MEAN), min(EXPONENT_MEAN)) == (round(0.1 * 1024), round(0.049 * 1024))
    assert (max(EXPONENT_SIGMA), min(EXPONENT_SIGMA)) == (round(0.045 * 1024), round(0.008 * 1024))
    assert max(EXPONENT_MEAN) <= EXPONENT.high


@pytest.mark.parametrize(("seconds", "time"), [(20, 0), (40, 32), (3600, 240), (86400, 386), (31_536_000, 659)])
def test_time_steps_are_octaves_of_the_first_read(seconds, time) -> None:
    assert time_of(seconds) == time


CONFIG = CrossbarConfig(4, 3, row_tiles=2, faults=True, drift=True, output="signed")
ZEROS = torch.zeros(8, 3, dtype=torch.int64)
PAIR = (ZEROS + 100, ZEROS + 200)


def test_a_stuck_device_has_its_own_conductance_and_no_other_is_touched() -> None:
    faults = torch.zeros(8, 3, 2, dtype=torch.int64)
    faults[1, 2, 0], faults[5, 0, 1] = Fault.STUCK_AT_FULL, Fault.STUCK_AT_ZERO
    plus, minus = crossbar.stick(CONFIG, PAIR, faults)
    expected_plus, expected_minus = PAIR[0].clone(), PAIR[1].clone()
    expected_plus[1, 2], expected_minus[5, 0] = STUCK_AT_FULL_CONDUCTANCE, 0
    assert torch.equal(plus, expected_plus) and torch.equal(minus, expected_minus)


def test_a_chip_s_faults_are_as_many_as_asked_and_grow_with_the_share() -> None:
    config, chip = CrossbarConfig(64, 64, faults=True), Chip(3)
    few, many = (crossbar.draw_faults(config, chip, "layer", share, 2 * share) for share in (0.01, 0.02))
    for fault, share in ((Fault.STUCK_AT_ZERO, 0.01), (Fault.STUCK_AT_FULL, 0.02)):
        count = int((few == fault).sum())
        deviation = (8192 * share * (1 - share)) ** 0.5
        assert abs(count - 8192 * share) < 4 * deviation
        assert bool((many[few == fault] == fault).all())
    assert not crossbar.draw_faults(config, chip, "layer", 0, 0).any()
    assert bool((crossbar.draw_faults(config, chip, "layer", 1, 0) == Fault.STUCK_AT_ZERO).all())


def test_the_static_variation_of_devices_is_the_chip_s() -> None:
    """Programming noise and exponents are the numbers that `Chip.static_draws` gives the float models."""
    config, chip, level = CrossbarConfig(8, 3, drift=True), Chip(4), 90
    weights = torch.full((8, 3), level)
    plus, _ = crossbar.program(config, weights, derive_seed(chip.seed, "layer", "programming"))
    nu, _ = crossbar.draw_exponents(config, weights, derive_seed(chip.seed, "layer", "drift"))
    for found, kind, mean, sigma, step in (
        (plus, "programming", 16 * level, PROGRAMMING[level] / 256, 16),
        (nu, "drift", EXPONENT_MEAN[level], EXPONENT_SIGMA[level], 1),
    ):
        draws = torch.from_numpy(chip.static_draws("layer", kind, 48)).reshape(8, 3, 2)
        assert torch.allclose(found.double(), mean + step * sigma * draws[..., 0], atol=0.5)


def test_slices_of_a_wide_converter_add_up_to_the_whole_input() -> None:
    """Where no conversion rounds or clips, bit-serial and parallel input give the same sums."""
    generator = torch.Generator().manual_seed(1)
    pair = tuple(torch.randint(0, 4, (2, 3), generator=generator) for _ in range(2))
    x = torch.randint(0, 16, (50, 2), generator=generator)
    neutral = crossbar.Converter((0,) * 3, (MULTIPLIER_LOW,) * 3, (15,) * 3)
    parallel = crossbar.convert(CrossbarConfig(2, 3, dac_bits=4), *pair, neutral, x)
    serial = crossbar.convert(CrossbarConfig(2, 3, dac_bits=1, slices=4), *pair, neutral, x)
    assert parallel.unique().numel() > 50
    assert torch.equal(parallel, serial)


def test_row_tiles_add_up_and_column_tiles_change_nothing() -> None:
    generator = torch.Generator().manual_seed(2)
    pair = tuple(torch.randint(0, 4, (6, 4), generator=generator) for _ in range(2))
    x = torch.randint(0, 4, (20, 6), generator=generator)

    def sums(**shape):
        config = CrossbarConfig(**shape, dac_bits=2)
        columns = config.row_tiles * 4
        neutral = crossbar.Converter((0,) * columns, (MULTIPLIER_LOW,) * columns, (15,) * columns, read_sigma=0)
        return crossbar.convert(config, *pair, neutral, x)

    one = sums(rows=6, columns=4)
    assert torch.equal(one, sums(rows=2, columns=4, row_tiles=3))
    assert torch.equal(one, sums(rows=3, columns=2, row_tiles=2, column_tiles=2))


def test_a_chip_s_sums_vary_as_a_float_layer_however_they_are_split() -> None:
    """Offsets and noise of the conversions add up to those that `quietbar.noise.Variation` states for the result."""
    chip, full_scale, reference = Chip(5, presets.process_and_aging), 2e6, 3e5
    for split in ({}, {"row_tiles": 4}, {"dac_bits": 2, "slices": 4, "row_tiles": 2}):
        config = CrossbarConfig(4, 10, **split)
        converter = crossbar.converter_for_chip(config, chip, "layer", full_scale, reference)
        weights = torch.tensor([1 << (number * config.dac_bits) for number in range(config.slices)])
        ratio = torch.tensor(converter.gain) * 2.0 ** -torch.tensor(converter.shift).double() * full_scale / 127
        offset = (ratio * torch.tensor(converter.offset)).reshape(config.row_tiles, 10).sum(0) * weights.sum()
        expected = reference * chip.variation.offset_mismatch * torch.tensor(chip.static_draws("layer", "offset", 10))
        assert torch.allclose(offset, expected, atol=1.0 * config.row_tiles * int(weights.sum()))
        noise = converter.read_sigma * (config.row_tiles * int((weights**2).sum())) ** 0.5 * chip.variation.drift
        assert noise == pytest.approx(chip.variation.sigma * reference, rel=1e-4)


def test_a_designed_scale_scales_as_asked() -> None:
    scale = crossbar.design_scale(CONFIG, [0.5, 0.25, 1.5], bias=[1.0, -3.0, 0.0])
    assert [
        requantize(sum_ + bias, multiplier, shift, -128, 127)
        for sum_, bias, multiplier, shift in zip((80, 80, 80), scale.bias, scale.multiplier, scale.shift, strict=True)
    ] == [41, 17, 120]


def test_frames_carry_the_words_of_the_contract() -> None:
    config = CrossbarConfig(1, 2, faults=True, drift=True, output="unsigned")
    weights = torch.tensor([[-1, 127]])
    assert crossbar.exponents_frame(config, weights) == [FrameKind.EXPONENTS, 0xFFFFFFFF, 127]
    assert crossbar.time_frame(TIME.high) == [FrameKind.TIME, 1023]
    assert crossbar.faults_frame(config, torch.tensor([[[1, 0], [2, 1]]])) == [FrameKind.FAULTS, 1, 6]
    scale = crossbar.Scale((BIAS.low, 3), (MULTIPLIER_LOW, MULTIPLIER_HIGH), (1, 47))
    assert crossbar.scale_frame(config, scale) == [
        FrameKind.SCALE, 0xFF800000, 3, MULTIPLIER_LOW, MULTIPLIER_HIGH, 1, 47,
    ]  # fmt: skip


SUMS = CrossbarConfig(4, 3)
BAD_FAULTS = ZEROS[..., None].repeat(1, 1, 2) + 3
NEUTRAL = crossbar.Converter((0,) * 6, (MULTIPLIER_LOW,) * 6, (16,) * 6)


@pytest.mark.parametrize(
    ("field", "call"),
    [
        ("crossbar.time", lambda: crossbar.drift(CONFIG, PAIR, PAIR, TIME.high + 1)),
        ("crossbar.conductances, element 0, 0", lambda: crossbar.drift(CONFIG, (ZEROS - 1, ZEROS), (ZEROS, ZEROS), 0)),
        ("crossbar.exponents, element 0, 0", lambda: crossbar.drift(CONFIG, PAIR, (ZEROS + 256, ZEROS), 0)),
        ("crossbar.faults", lambda: crossbar.stick(CONFIG, PAIR, ZEROS)),
        ("crossbar.faults, element 0, 0, 0", lambda: crossbar.faults_frame(CONFIG, BAD_FAULTS)),
        ("crossbar.weights", lambda: crossbar.draw_exponents(CONFIG, ZEROS[1:])),
        ("crossbar.time", lambda: crossbar.time_frame(-1)),
        ("seconds", lambda: time_of(FIRST_READ_SECONDS - 1)),
        ("faults.at_zero", lambda: crossbar.draw_faults(CONFIG, Chip(1), "layer", -0.1, 0)),
        ("faults.at_full", lambda: crossbar.draw_faults(CONFIG, Chip(1), "layer", 0.5, 0.6)),
        ("converter.columns", lambda: crossbar.converter_frame(SUMS, NEUTRAL)),
        ("crossbar.scale", lambda: crossbar.convert(CONFIG, *PAIR, NEUTRAL, torch.zeros(1, 8, dtype=torch.int64))),
        ("crossbar.scale", lambda: crossbar.scale_frame(SUMS, crossbar.design_scale(SUMS, 1.0))),
        ("scale.columns", lambda: crossbar.scale_frame(CONFIG, crossbar.Scale((0,), (MULTIPLIER_LOW,), (1,)))),
        ("scale.multiplier", lambda: crossbar.Scale((0,), (), (1,))),
        ("scale.column[0].bias", lambda: crossbar.Scale((BIAS.high + 1,), (MULTIPLIER_LOW,), (1,))),
        ("scale.ratio[1]", lambda: crossbar.design_scale(CONFIG, [1.0, 0.0, 1.0])),
    ],
)  # fmt: skip
def test_what_is_outside_the_contract_is_refused_by_name(field: str, call) -> None:
    with pytest.raises(ConfigurationError) as error:
        call()
    assert error.value.field == field
