"""Formats, blocks and tiles: bounds are reached and never exceeded, and every bad field is refused by its name."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from quietbar.contract import BIAS, SIGMA, BlockConfig, ConfigurationError, CrossbarConfig, IntegerFormat
from quietbar.contract.crossbar import CONDUCTANCE, READ_SIGMA
from quietbar.contract.gaussian import SAMPLE, scaled_noise
from quietbar.contract.number import WEIGHT_LIMIT, signed_bits
from quietbar.contract.requantize import round_shift
from quietbar.contract.stream import to_words

BLOCKS = st.builds(
    BlockConfig,
    channels=st.integers(1, 4096),
    hidden=st.integers(1, 4096),
    height=st.integers(1, 4096),
    width=st.integers(1, 4096),
    kernel=st.sampled_from(["depthwise", "dense"]),
    mode=st.sampled_from(["mean", "sampling"]),
    signed=st.booleans(),
    fraction_bits=st.integers(1, 7),
)


@given(st.integers(1, 64), st.booleans())
def test_a_format_holds_two_to_the_bits_integers_around_its_zero(bits, signed) -> None:
    each = IntegerFormat(bits, signed)
    assert each.high - each.low + 1 == 2**bits
    assert each.low == (-(2 ** (bits - 1)) if signed else 0)
    assert each.magnitude == max(abs(each.low), abs(each.high))


@given(st.integers(0, 2**40))
def test_signed_bits_is_the_smallest_that_holds_both_signs(magnitude) -> None:
    bits = signed_bits(magnitude)
    assert IntegerFormat(bits, signed=True).high >= magnitude
    assert bits == 1 or IntegerFormat(bits - 1, signed=True).high < magnitude


@given(BLOCKS)
def test_the_accumulator_bound_is_reached_and_its_format_is_not_a_bit_too_wide(config) -> None:
    for stage in config.stages:
        furthest = max(stage.source.low, stage.source.high, key=abs)
        products = stage.inputs * WEIGHT_LIMIT * abs(furthest)
        assert -products + BIAS.low == -stage.accumulator_magnitude
        assert products + BIAS.high <= stage.accumulator_magnitude
        assert stage.accumulator.low <= -stage.accumulator_magnitude
        assert stage.accumulator_magnitude <= stage.accumulator.high
        assert IntegerFormat(stage.accumulator.bits - 1, signed=True).high < stage.accumulator_magnitude


@given(BLOCKS)
def test_the_noise_format_holds_every_noise(config) -> None:
    extremes = [config.mean_format.low, config.mean_format.high]
    if config.mode == "sampling":
        draws = [scaled_noise(max(SIGMA), eps, config.fraction_bits) for eps in (SAMPLE.low, SAMPLE.high)]
        extremes = [extremes[0] + draws[0], extremes[1] + draws[1]]
    assert config.noise_format.low <= extremes[0] and extremes[1] <= config.noise_format.high
    assert IntegerFormat(config.noise_format.bits - 1, signed=True).low > extremes[0] or config.mode == "mean"


@given(BLOCKS)
def test_costs_count_what_the_stages_hold(config) -> None:
    spatial = 9 * config.hidden * (config.hidden if config.kernel == "dense" else 1)
    heads = 2 if config.mode == "sampling" else 1
    weights = config.channels * config.hidden + spatial + heads * config.hidden * config.channels
    assert config.parameters == weights + 2 * config.hidden + heads * config.channels
    assert config.multiplications == config.height * config.width * weights


@given(BLOCKS)
def test_a_block_s_configuration_survives_a_manifest(config) -> None:
    assert BlockConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("channels", 0), ("channels", 4097), ("channels", 4.0), ("channels", True), ("hidden", -1), ("height", "8"),
        ("width", None), ("kernel", "separable"), ("mode", "median"), ("signed", "no"), ("fraction_bits", 0),
        ("fraction_bits", 8),
    ],
)  # fmt: skip
def test_a_bad_field_of_a_block_is_refused_by_its_name(field, value) -> None:
    fields = {"channels": 4, "hidden": 2, "height": 3, "width": 3, field: value}
    for make in (lambda: BlockConfig(**fields), lambda: BlockConfig.from_dict(fields)):
        with pytest.raises(ConfigurationError) as error:
            make()
        assert error.value.field == f"block.{field}"


def test_unknown_and_missing_fields_of_a_block_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"block[.]depth"):
        BlockConfig.from_dict({"channels": 4, "hidden": 2, "height": 3, "width": 3, "depth": 1})
    with pytest.raises(ConfigurationError, match=r"block[.]hidden"):
        BlockConfig.from_dict({"channels": 4, "height": 3, "width": 3})
    with pytest.raises(ConfigurationError, match=r"block[.]stage"):
        BlockConfig(4, 2, 3, 3).stage("log_sigma")


@given(
    st.builds(
        CrossbarConfig,
        rows=st.integers(1, 1024),
        columns=st.integers(1, 1024),
        dac_bits=st.integers(1, 8),
        adc_bits=st.integers(2, 8),
    )
)
def test_the_current_s_format_holds_every_current(config) -> None:
    noise = max(abs(round_shift(READ_SIGMA.high * eps, 11)) for eps in (SAMPLE.low, SAMPLE.high))
    largest = config.rows * config.dac.high * CONDUCTANCE.high + noise
    assert largest <= config.current_magnitude <= largest + 1
    assert config.current_magnitude + BIAS.magnitude <= config.current.high


@pytest.mark.parametrize(
    ("field", "value"),
    [("rows", 0), ("rows", 1025), ("columns", 0), ("columns", 2.5), ("dac_bits", 0), ("dac_bits", 9), ("adc_bits", 1),
     ("adc_bits", 9), ("noisy_programming", "yes"), ("slices", 0), ("slices", 2), ("row_tiles", 0), ("column_tiles", 0),
     ("faults", None), ("drift", 1.5), ("output", "floats")],
)  # fmt: skip
def test_a_bad_field_of_a_tile_is_refused_by_its_name(field, value) -> None:
    with pytest.raises(ConfigurationError) as error:
        CrossbarConfig(**{"rows": 4, "columns": 2, field: value})
    assert error.value.field == f"crossbar.{field}"


@given(st.integers(1, 8), st.integers(1, 8), st.integers(2, 8), st.integers(1, 1024))
def test_the_sum_s_format_is_the_smallest_that_holds_every_sum(slices, dac_bits, adc_bits, row_tiles) -> None:
    assume(slices * dac_bits <= 8 and slices * row_tiles > 1)
    config = CrossbarConfig(4, 2, dac_bits, adc_bits, slices=slices, row_tiles=row_tiles)
    least = row_tiles * sum(config.adc.low << (number * dac_bits) for number in range(slices))
    assert config.sum.low <= least < config.sum.low // 2 + 1
    assert config.sum.magnitude + BIAS.magnitude <= config.scaled.high


@pytest.mark.parametrize(("bits", "signed"), [(0, True), (65, True), (8.0, True), (8, "yes")])
def test_a_bad_format_is_refused(bits, signed) -> None:
    with pytest.raises(ConfigurationError, match=r"format[.]"):
        IntegerFormat(bits, signed)


def test_an_error_names_field_value_and_what_is_allowed() -> None:
    with pytest.raises(ConfigurationError) as error:
        BlockConfig(4, 2, 3, 3, fraction_bits=9)
    assert str(error.value) == "block.fraction_bits = 9: must be an integer from 1 to 7"


def test_words_are_sign_extended() -> None:
    assert to_words([0, 1, -1, -(2**23), 2**31]) == [0, 1, 0xFFFFFFFF, 0xFF800000, 0x80000000]
