"""The vectorised crossbar equals the scalar formulas of the contract, and refuses what they do not cover."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from quietbar.contract import BIAS, WEIGHT_LIMIT, ConfigurationError, CrossbarConfig, requantize, round_shift
from quietbar.contract.crossbar import CONDUCTANCE, PROGRAMMING, READ_SIGMA
from quietbar.contract.gaussian import samples, scaled_noise
from quietbar.contract.requantize import MULTIPLIER_HIGH, MULTIPLIER_LOW, SHIFT_HIGH, SHIFT_LOW, clamp
from quietbar.contract.seeds import SEED_HIGH
from quietbar.contract.stream import FrameKind
from quietbar.integer import crossbar
from quietbar.noise import Chip, presets

SEEDS = st.integers(0, SEED_HIGH)


def scalar_program(config: CrossbarConfig, weights: list[list[int]], seed: int) -> tuple[list, list]:
    draws = iter(samples(seed, 2 * config.weights))

    def conductance(level: int) -> int:
        noise = scaled_noise(PROGRAMMING[level], next(draws), 4) if config.noisy_programming else 0
        return clamp((level << 4) + noise, CONDUCTANCE.low, CONDUCTANCE.high)

    pairs = [[(conductance(max(w, 0)), conductance(max(-w, 0))) for w in row] for row in weights]
    return [[plus for plus, _ in row] for row in pairs], [[minus for _, minus in row] for row in pairs]


def scalar_convert(config, g_plus, g_minus, converter, vectors, seed, start) -> list[list[int]]:
    draws = iter(samples(seed, len(vectors) * config.columns, start))
    codes = []
    for x in vectors:
        codes.append([])
        for j in range(config.columns):
            current = sum(x[i] * (g_plus[i][j] - g_minus[i][j]) for i in range(config.rows))
            current += round_shift(converter.read_sigma * next(draws), 11)
            assert abs(current) <= config.current_magnitude
            low, high = config.target.low, config.target.high
            codes[-1].append(
                requantize(current + converter.offset[j], converter.gain[j], converter.shift[j], low, high)
            )
    return codes


@st.composite
def configs(draw) -> CrossbarConfig:
    return CrossbarConfig(
        rows=draw(st.integers(1, 9)),
        columns=draw(st.integers(1, 6)),
        dac_bits=draw(st.integers(1, 8)),
        adc_bits=draw(st.integers(2, 8)),
        noisy_programming=draw(st.booleans()),
    )


def matrix(rows: int, columns: int, low: int, high: int):
    elements = st.one_of(st.integers(low, high), st.sampled_from((low, high)))
    return st.lists(st.lists(elements, min_size=columns, max_size=columns), min_size=rows, max_size=rows)


def converters(columns: int):
    def column(low: int, high: int):
        elements = st.one_of(st.integers(low, high), st.sampled_from((low, high)))
        return st.lists(elements, min_size=columns, max_size=columns).map(tuple)

    return st.builds(
        crossbar.Converter,
        offset=column(BIAS.low, BIAS.high),
        gain=column(MULTIPLIER_LOW, MULTIPLIER_HIGH),
        shift=st.one_of(column(SHIFT_LOW, SHIFT_HIGH), column(22, 38)),
        read_sigma=st.one_of(st.integers(0, READ_SIGMA.high), st.sampled_from((0, READ_SIGMA.high))),
    )


@settings(deadline=None, max_examples=60)
@given(st.data(), SEEDS)
def test_programming_equals_the_scalar_formula(data, seed) -> None:
    config = data.draw(configs())
    weights = data.draw(matrix(config.rows, config.columns, -WEIGHT_LIMIT, WEIGHT_LIMIT))
    g_plus, g_minus = crossbar.program(config, torch.tensor(weights), seed)
    assert (g_plus.tolist(), g_minus.tolist()) == scalar_program(config, weights, seed)


@settings(deadline=None, max_examples=80)
@given(st.data(), SEEDS, st.integers(0, 1000))
def test_conversion_equals_the_scalar_formula(data, seed, start) -> None:
    config = data.draw(configs())
    conductances = matrix(config.rows, config.columns, CONDUCTANCE.low, CONDUCTANCE.high)
    g_plus, g_minus = data.draw(conductances), data.draw(conductances)
    vectors = data.draw(matrix(data.draw(st.integers(1, 4)), config.rows, config.source.low, config.source.high))
    converter = data.draw(converters(config.columns))
    codes = crossbar.convert(
        config, torch.tensor(g_plus), torch.tensor(g_minus), converter, torch.tensor(vectors), seed, start
    )
    assert codes.tolist() == scalar_convert(config, g_plus, g_minus, converter, vectors, seed, start)


def test_the_largest_tile_at_every_extreme_stays_exact() -> None:
    config = CrossbarConfig(1024, 2)
    full, none = torch.full((1024, 2), CONDUCTANCE.high), torch.zeros(1024, 2, dtype=torch.int64)
    x = torch.full((2, 1024), config.source.high)
    high = 1024 * 255 * CONDUCTANCE.high
    for offset in (BIAS.low, BIAS.high):
        converter = crossbar.Converter((offset,) * 2, (MULTIPLIER_LOW, MULTIPLIER_HIGH), (39, 40))
        for sign, g_plus, g_minus in ((1, full, none), (-1, none, full)):
            expected = [
                requantize(sign * high + offset, gain, shift, -128, 127)
                for gain, shift in zip(converter.gain, converter.shift, strict=True)
            ]
            assert crossbar.convert(config, g_plus, g_minus, converter, x).tolist() == [expected, expected]


@example(0)
@example(1)
@given(st.integers(0, 7))
def test_vectors_in_one_call_or_one_by_one_give_the_same_codes(split: int) -> None:
    config = CrossbarConfig(5, 3)
    generator = torch.Generator().manual_seed(3)
    g_plus = torch.randint(0, CONDUCTANCE.high + 1, (5, 3), generator=generator)
    x = torch.randint(0, 256, (7, 5), generator=generator)
    converter = crossbar.Converter((5, -6, 7), (40000, 50000, 60000), (28, 27, 29), read_sigma=9000)
    whole = crossbar.convert(config, g_plus, g_plus.flip(0), converter, x, seed=11)
    parts = [
        crossbar.convert(config, g_plus, g_plus.flip(0), converter, part, seed=11, start=start)
        for part, start in ((x[:split], 0), (x[split:], 3 * split))
    ]
    assert torch.equal(torch.cat(parts), whole)
    assert whole.unique().numel() > 5, "the case must exercise the codes"


def test_leading_dimensions_are_kept_and_read_in_raster_order() -> None:
    config = CrossbarConfig(4, 2)
    g_plus, g_minus = crossbar.program(config, torch.arange(-4, 4).reshape(4, 2) * 30, seed=1)
    converter = crossbar.Converter((0, 0), (40000, 40000), (25, 25), read_sigma=500)
    x = torch.arange(2 * 3 * 4).reshape(2, 3, 4) * 10
    codes = crossbar.convert(config, g_plus, g_minus, converter, x, seed=2)
    flat = crossbar.convert(config, g_plus, g_minus, converter, x.reshape(6, 4), seed=2)
    assert codes.shape == (2, 3, 2)
    assert torch.equal(codes.reshape(6, 2), flat)


def test_frames_carry_sign_extended_words_in_the_order_of_the_contract() -> None:
    config = CrossbarConfig(2, 2)
    assert crossbar.program_frame(config, torch.tensor([[1, -1], [127, -127]])) == [
        FrameKind.PROGRAM, 1, 0xFFFFFFFF, 127, 0xFFFFFF81,
    ]  # fmt: skip
    converter = crossbar.Converter((BIAS.low, 3), (MULTIPLIER_LOW, MULTIPLIER_HIGH), (1, 47), read_sigma=9)
    assert crossbar.converter_frame(config, converter) == [
        FrameKind.CONVERTER, 0xFF800000, 3, MULTIPLIER_LOW, MULTIPLIER_HIGH, 1, 47, 9,
    ]  # fmt: skip


def test_an_ideal_converter_maps_full_scale_to_the_highest_code() -> None:
    config = CrossbarConfig(16, 3)
    full_scale = 16 * 255 * 127 * 16 / 4
    converter = crossbar.design_converter(config, full_scale)
    assert converter.offset == (0, 0, 0)
    for gain, shift in zip(converter.gain, converter.shift, strict=True):
        assert requantize(round(full_scale), gain, shift, -128, 127) == 127
        assert requantize(-round(full_scale), gain, shift, -128, 127) == -127
        assert requantize(round(full_scale / 2), gain, shift, -128, 127) in (63, 64)


def test_gain_offset_and_noise_of_a_designed_converter_are_as_asked() -> None:
    config = CrossbarConfig(16, 3)
    converter = crossbar.design_converter(
        config, [1e6, 2e6, 3e6], gain=[1.1, 1.0, 0.8], offset=torch.tensor([0.0, 20_000, -60_000]), read_noise=15_000.4
    )
    assert converter.offset == (0, 20_000, -75_000), "the offset comes before the gain"
    assert converter.read_sigma == 15_000
    ratios = [gain * 2.0**-shift for gain, shift in zip(converter.gain, converter.shift, strict=True)]
    assert ratios == pytest.approx([1.1 * 127 / 1e6, 127 / 2e6, 0.8 * 127 / 3e6], rel=2**-15)


def test_a_chip_varies_its_codes_as_it_varies_a_float_layer() -> None:
    """Without rounding, ``code * full scale / 127`` is the result that `quietbar.noise.Variation` states."""
    config, layer, full_scale, reference = CrossbarConfig(16, 40), "layer1.conv", 2e6, 3e5
    chip = Chip(5, presets.process_and_aging)
    converter = crossbar.converter_for_chip(config, chip, layer, full_scale, reference)
    ratio = torch.tensor(converter.gain) * 2.0 ** -torch.tensor(converter.shift).double() * full_scale / 127
    variation = chip.variation
    gain = (1 + variation.gain_mismatch * torch.tensor(chip.static_draws(layer, "gain", 40))) * variation.drift
    offset = reference * variation.offset_mismatch * torch.tensor(chip.static_draws(layer, "offset", 40))
    for current in (-1e6, 0.0, 1e6):
        result = ratio * (current + torch.tensor(converter.offset))
        assert torch.allclose(result, gain * current + offset, atol=20.0), "offsets round to 1, gains to 2**-16"
    assert converter.read_sigma * variation.drift == pytest.approx(variation.sigma * reference, abs=1)


def test_the_same_chip_has_other_draws_in_another_layer() -> None:
    config, chip = CrossbarConfig(16, 4), Chip(5, presets.process)
    first, again, other = (crossbar.converter_for_chip(config, chip, name, 2e6, 3e5) for name in ("a", "a", "b"))
    assert first == again != other


CONFIG = CrossbarConfig(2, 3)
WEIGHTS = torch.zeros(2, 3, dtype=torch.int64)
VECTORS = torch.zeros(4, 2, dtype=torch.int64)
NEUTRAL = crossbar.Converter((0,) * 3, (MULTIPLIER_LOW,) * 3, (16,) * 3)


def convert(x=VECTORS, g_plus=WEIGHTS, g_minus=WEIGHTS, start=0):
    return crossbar.convert(CONFIG, g_plus, g_minus, NEUTRAL, x, start=start)


@pytest.mark.parametrize(
    ("field", "call"),
    [
        ("crossbar.weights", lambda: crossbar.program(CONFIG, torch.zeros(3, 2, dtype=torch.int64))),
        ("crossbar.weights", lambda: crossbar.program(CONFIG, torch.zeros(2, 3))),
        ("crossbar.weights", lambda: crossbar.program(CONFIG, [[0, 0, 0], [0, 0, 0]])),
        ("crossbar.weights, element 1, 0", lambda: crossbar.program(CONFIG, torch.tensor([[0, 0, 0], [-128, 0, 0]]))),
        ("crossbar.weights", lambda: crossbar.program_frame(CONFIG, WEIGHTS[:1])),
        ("seed", lambda: crossbar.program(CONFIG, WEIGHTS, seed=-1)),
        ("crossbar.x", lambda: convert(x=VECTORS.T)),
        ("crossbar.x", lambda: convert(x=torch.tensor(3))),
        ("crossbar.x", lambda: convert(x=VECTORS.bool())),
        ("crossbar.x, element 0", lambda: convert(x=torch.tensor([256, 0]))),
        ("crossbar.x, element 1", lambda: convert(x=torch.tensor([0, -1]))),
        ("crossbar.g_plus, element 0, 0", lambda: convert(g_plus=WEIGHTS - 1)),
        ("crossbar.g_minus, element 0, 0", lambda: convert(g_minus=WEIGHTS + CONDUCTANCE.high + 1)),
        ("crossbar.start", lambda: convert(start=-1)),
        ("converter.columns", lambda: crossbar.converter_frame(CrossbarConfig(2, 2), NEUTRAL)),
        ("converter.gain", lambda: dataclasses.replace(NEUTRAL, gain=(MULTIPLIER_LOW,))),
        ("converter.column[1].offset", lambda: dataclasses.replace(NEUTRAL, offset=(0, BIAS.high + 1, 0))),
        ("converter.column[2].multiplier", lambda: dataclasses.replace(NEUTRAL, gain=(MULTIPLIER_LOW,) * 2 + (1,))),
        ("converter.column[0].shift", lambda: dataclasses.replace(NEUTRAL, shift=(0, 1, 1))),
        ("converter.read_sigma", lambda: dataclasses.replace(NEUTRAL, read_sigma=READ_SIGMA.high + 1)),
        ("converter.full_scale[0]", lambda: crossbar.design_converter(CONFIG, 0.0)),
        ("converter.full_scale[1]", lambda: crossbar.design_converter(CONFIG, [1.0, float("nan"), 1.0])),
        ("converter.gain", lambda: crossbar.design_converter(CONFIG, 1e6, gain=[1.0])),
        ("converter.gain[2]", lambda: crossbar.design_converter(CONFIG, 1e6, gain=[1.0, 1.0, -1.0])),
        ("converter.offset[0]", lambda: crossbar.design_converter(CONFIG, 1e6, offset=float("inf"))),
        ("converter.read_noise", lambda: crossbar.design_converter(CONFIG, 1e6, read_noise=-0.1)),
        ("converter.read_sigma", lambda: crossbar.design_converter(CONFIG, 1e6, read_noise=2.0**20)),
        ("converter.column[0].offset", lambda: crossbar.design_converter(CONFIG, 1e6, offset=1e7)),
        ("converter.column[0].ratio", lambda: crossbar.design_converter(CONFIG, 1e-9)),
    ],
)  # fmt: skip
def test_what_is_outside_the_contract_is_refused_by_name(field: str, call) -> None:
    with pytest.raises(ConfigurationError) as error:
        call()
    assert error.value.field == field
