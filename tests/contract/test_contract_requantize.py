"""The one rounding rule: exact, half toward plus infinity, monotonic, clamped; and the multiplier for a ratio."""

from fractions import Fraction
from math import floor, inf, nan

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from quietbar.contract import ConfigurationError, choose_multiplier, requantize, round_shift
from quietbar.contract.requantize import (
    MULTIPLIER_HIGH,
    MULTIPLIER_LOW,
    SHIFT_HIGH,
    SHIFT_LOW,
    check_requantizer,
    clamp,
)

ACCUMULATORS = st.one_of(st.integers(-(2**40), 2**40), st.integers(-100, 100))
MULTIPLIERS = st.one_of(
    st.integers(MULTIPLIER_LOW, MULTIPLIER_HIGH), st.sampled_from((MULTIPLIER_LOW, MULTIPLIER_HIGH))
)
SHIFTS = st.one_of(st.integers(SHIFT_LOW, SHIFT_HIGH), st.sampled_from((SHIFT_LOW, SHIFT_HIGH)))
WIDE = 2**60


@given(ACCUMULATORS, MULTIPLIERS, SHIFTS)
@example(1, MULTIPLIER_LOW, 16)
@example(-1, MULTIPLIER_LOW, 16)
def test_it_is_the_rational_value_rounded_half_up(accumulator, multiplier, shift) -> None:
    exact = Fraction(accumulator * multiplier, 1 << shift)
    assert requantize(accumulator, multiplier, shift, -WIDE, WIDE) == floor(exact + Fraction(1, 2))


@given(ACCUMULATORS, MULTIPLIERS, SHIFTS)
def test_it_never_decreases_with_the_accumulator(accumulator, multiplier, shift) -> None:
    first, second = (requantize(value, multiplier, shift, -WIDE, WIDE) for value in (accumulator, accumulator + 1))
    assert first <= second


@given(ACCUMULATORS, MULTIPLIERS, SHIFTS, st.integers(-300, 300), st.integers(0, 300))
def test_it_clamps_after_rounding(accumulator, multiplier, shift, low, span) -> None:
    value = requantize(accumulator, multiplier, shift, low, low + span)
    assert low <= value <= low + span
    assert value == clamp(requantize(accumulator, multiplier, shift, -WIDE, WIDE), low, low + span)


@pytest.mark.parametrize(
    ("value", "expected"), [(-6, -1), (-5, -1), (-3, -1), (-2, 0), (-1, 0), (1, 0), (2, 1), (6, 2)]
)
def test_halves_go_up_on_both_sides_of_zero(value, expected) -> None:
    assert round_shift(value, 2) == expected
    assert round_shift(value, 0) == value


def test_other_rounding_rules_differ_from_it() -> None:
    def differing(rule) -> int:
        return sum(rule(value) != round_shift(value, 1) for value in range(-100, 101))

    assert differing(lambda value: value >> 1) == 100
    assert differing(lambda value: round(value / 2)) == 50
    assert differing(lambda value: int(value / 2 + (0.5 if value > 0 else -0.5))) == 50
    assert differing(lambda value: int(value / 2)) == 50


@given(st.floats(2.0**-32, 32767.0))
@example(2.0**-32)
@example(0.75)
@example(1.0)
@example(0.9999999)
def test_the_chosen_multiplier_is_normalized_and_nearest(ratio) -> None:
    multiplier, shift = choose_multiplier(ratio)
    check_requantizer(multiplier, shift, "it")
    error = abs(Fraction(multiplier, 1 << shift) - Fraction(ratio))
    # The grid's spacing at this ratio; at a power of two it is halved below.
    assert error <= Fraction(1, 1 << (shift + 1))


@given(MULTIPLIERS, SHIFTS)
def test_a_representable_ratio_is_found_again(multiplier, shift) -> None:
    assert choose_multiplier(multiplier * 2.0**-shift) == (multiplier, shift)


@pytest.mark.parametrize("ratio", [0.0, -1.0, inf, nan, 2.0**-33, 40000.0])
def test_an_impossible_ratio_is_refused_by_channel(ratio) -> None:
    with pytest.raises(ConfigurationError, match=r"layer1, channel 3[.]ratio"):
        choose_multiplier(ratio, "layer1, channel 3")


@pytest.mark.parametrize(
    ("multiplier", "shift", "field"),
    [
        (MULTIPLIER_LOW - 1, 1, "c.multiplier"),
        (MULTIPLIER_HIGH + 1, 1, "c.multiplier"),
        (40000.0, 1, "c.multiplier"),
        (True, 1, "c.multiplier"),
        (MULTIPLIER_LOW, SHIFT_LOW - 1, "c.shift"),
        (MULTIPLIER_LOW, SHIFT_HIGH + 1, "c.shift"),
    ],
)
def test_a_requantizer_that_the_hardware_lacks_is_refused(multiplier, shift, field) -> None:
    with pytest.raises(ConfigurationError) as error:
        check_requantizer(multiplier, shift, "c")
    assert error.value.field == field
