"""The Gaussian source's tables are pinned, near the functions they stand for, and fit the widths that are stated."""

import hashlib
import json
import math
from math import cos, log, pi, sin, sqrt

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from quietbar.contract import block, crossbar, gaussian
from quietbar.contract.gaussian import (
    ANGLE_BITS,
    EXPONENT_BITS,
    LOGARITHM,
    OCTAVES,
    RADIUS_VALUE_BITS,
    SAMPLE,
    SINE,
    SQUARE_ROOT,
    exponent,
    pair,
    radius,
    samples,
    scaled_noise,
    sine,
)

DRAWS = st.one_of(
    st.integers(0, 2**64 - 1),
    st.integers(0, 64).flatmap(lambda bits: st.integers(0, 2**bits - 1)),
    st.integers(0, 64).flatmap(lambda bits: st.integers(2**64 - 2**bits, 2**64 - 1)),
)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ((LOGARITHM.base, LOGARITHM.slope), "f05ec064f345afba22ebc9be6005330c2b397aa95a040dfd7f11b8ada9b885f2"),
        ((SQUARE_ROOT.base, SQUARE_ROOT.slope), "0ad15386a0c39d2004260561aa54419586e0b6ce1272977ba144894fbccfd87b"),
        ((SINE.base, SINE.slope), "9eb2936413ae122e1b385bc3fc47f71eedd50256eadb66acb57f33aac40dd363"),
        (OCTAVES, "a34f455b2bfcfb7165e2fd0c2c6c1474bb5199d50b0e50509c47c240cec52c0c"),
        (block.SIGMA, "8757a6f30301a73e959c2a4320307d065c86ea25c05ce92cc714e9d15768b6fc"),
        (crossbar.PROGRAMMING, "6a4f80e14c467c0c15a0f421b8fccd157702d4e4ff6a81ae611e4e3b85212fd4"),
    ],
    ids=["logarithm", "square root", "sine", "octaves", "sigma", "programming"],
)  # fmt: skip
def test_tables_are_the_same_integers_on_every_machine(table, expected) -> None:
    assert hashlib.sha256(json.dumps(table).encode()).hexdigest() == expected


@pytest.mark.parametrize(
    ("table", "base_bits", "slope_bits"), [(LOGARITHM, 25, 16), (SQUARE_ROOT, 18, 9), (SINE, 17, 8)]
)
def test_tables_fit_their_columns(table, base_bits, slope_bits) -> None:
    assert (table.base_bits, table.slope_bits) == (base_bits, slope_bits)
    assert len(table.base) == len(table.slope) == 512
    assert min(table.base) >= 0 and min(table.slope) >= 0


def test_the_sine_is_within_three_halves_of_its_last_place() -> None:
    for angle in range(1 << ANGLE_BITS):
        exact = sin((angle + 0.5) / (1 << ANGLE_BITS) * pi / 2) * 65536
        assert abs(sine(angle) - exact) < 1.5


@given(st.integers(1, 2**EXPONENT_BITS - 1))
@example(1)
@example(2**EXPONENT_BITS - 1)
def test_the_root_is_within_three_halves_of_its_last_place(value) -> None:
    assert abs(radius(value) - sqrt(value / 2**24) * 2**13) < 1.5


@given(DRAWS)
def test_the_exponent_is_within_sixteen_of_its_last_place(draw) -> None:
    word = draw >> 16
    exact = -2 * log((word | 1) / 2**48) * 2**24
    assert abs(exponent(word) - exact) < 16
    assert 1 <= exponent(word) < 2**EXPONENT_BITS


@given(DRAWS)
@example(0)
@example(2**64 - 1)
def test_a_pair_is_box_muller_to_the_last_place(draw) -> None:
    length = sqrt(-2 * log((draw >> 16 | 1) / 2**48))
    angle = ((draw & 0x3FFF) + 0.5) / 0x4000 * pi / 2
    first, second = pair(draw)
    # Half a place is the rounding. Where the radius nearly vanishes, the logarithm's error weighs more under the root.
    limit = 0.8 if length > 0.02 else 2.0
    assert abs(abs(first) - length * cos(angle) * 2048) < limit
    assert abs(abs(second) - length * sin(angle) * 2048) < limit
    assert first <= 0 if draw >> 15 & 1 else first >= 0
    assert second <= 0 if draw >> 14 & 1 else second >= 0


def test_the_largest_samples_use_the_radius_s_width_and_fit_theirs() -> None:
    largest = radius(exponent(0))
    assert largest.bit_length() == RADIUS_VALUE_BITS
    assert pair(0)[0] == 16706 and pair(0x3FFF)[1] == 16706 and pair(0xFFFF)[1] == -16706
    assert SAMPLE.high > 16706


def test_signs_are_bits_of_their_own_and_negate_exactly() -> None:
    for draw in (0x123456789ABC0000, 0xFEDCBA9876543210 & ~0xC000):
        first, second = pair(draw)
        assert pair(draw | 0x8000) == (-first, second)
        assert pair(draw | 0x4000) == (first, -second)


def test_samples_may_start_anywhere() -> None:
    whole = samples(3, 40)
    for start in range(20):
        for count in (0, 1, 2, 7):
            assert samples(3, count, start) == whole[start : start + count]


def test_samples_are_pinned() -> None:
    assert samples(0, 8) == [-3705, -562, -12, -1908, -475, 4788, 2652, 51]
    assert samples(2**64 - 1, 4) == [174, -1208, 2574, 3416]


@given(st.integers(0, max(block.SIGMA)), st.integers(SAMPLE.low, SAMPLE.high), st.integers(1, 11))
def test_scaled_noise_is_the_product_rounded_half_up(sigma, sample, fraction_bits) -> None:
    exact = sigma / 2**8 * sample / 2**11 * 2**fraction_bits
    assert scaled_noise(sigma, sample, fraction_bits) == math.floor(exact + 0.5)


def test_sigma_has_eight_steps_to_an_octave() -> None:
    assert block.SIGMA[0] == 1 and block.SIGMA[8] == 2 and block.SIGMA[64] == 256 and len(block.SIGMA) == 128
    assert all(low <= high for low, high in zip(block.SIGMA, block.SIGMA[1:], strict=False))
    assert max(block.SIGMA).bit_length() == block.SIGMA_BITS == 16


def test_a_sine_table_one_entry_off_is_noticed(monkeypatch) -> None:
    shifted = gaussian.InterpolationTable(9, 5, (*SINE.base[1:], SINE.base[-1]), SINE.slope)
    monkeypatch.setattr(gaussian, "SINE", shifted)
    with pytest.raises(AssertionError):
        test_the_sine_is_within_three_halves_of_its_last_place()
