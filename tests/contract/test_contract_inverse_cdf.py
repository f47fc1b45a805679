"""The inverse CDF's table is pinned, near the quantiles it stands for; its generator is as good as its page says."""

import hashlib
import json
from itertools import pairwise
from statistics import NormalDist

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from quietbar.contract import ConfigurationError, inverse_cdf
from quietbar.contract.inverse_cdf import QUANTILE, row_of, sample, samples, seed_frame, seed_words, window_bits
from quietbar.contract.sources import KINDS, SourceConfig, source_samples
from quietbar.contract.stream import FrameKind
from quietbar.contract.uniform import LFSR161, WORD_BITS, CombinedGenerator, output

BITS_BELOW = 21
DRAWS = st.one_of(
    st.integers(0, 2**64 - 1),
    st.integers(0, 64).flatmap(lambda bits: st.integers(0, 2**bits - 1)),
    st.integers(0, 64).flatmap(lambda bits: st.integers(2**64 - 2**bits, 2**64 - 1)),
)


def test_the_table_is_the_same_integers_on_every_machine() -> None:
    columns = [QUANTILE.base, QUANTILE.slope, QUANTILE.curve]
    digest = hashlib.sha256(json.dumps(columns).encode()).hexdigest()
    assert digest == "35b2ac853a68c9bceacffe56d526876465e5f070126e3e90d1d2ce8daf16a3d7"


def test_the_table_fits_its_columns() -> None:
    for column, bits in ((QUANTILE.base, 23), (QUANTILE.slope, 17), (QUANTILE.curve, 10)):
        assert len(column) == 512 and min(column) >= 0 and max(column).bit_length() == bits
    for row in range(512):
        for place in (1 - (1 << 15), (1 << 15) - 1):
            assert 0 <= QUANTILE.slope[row] + (QUANTILE.curve[row] * place >> 13) < 1 << 17
            assert 0 <= QUANTILE.value(row, place) < 1 << 23


def test_every_segment_has_a_row_of_its_own() -> None:
    fine = [row_of(octave, segment) for octave in range(4) for segment in range(32)]
    coarse = [row_of(octave, segment) for octave in range(4, 44) for segment in range(8)]
    assert len({*fine, *coarse}) == len(fine) + len(coarse) and max(*fine, *coarse) < 512


def quantile(draw: int) -> float:
    """The exact magnitude that a draw stands for."""
    octave = 43 - (draw >> BITS_BELOW).bit_length()
    segments, bits = (32, 5) if octave < 4 else (8, 3)
    below = ((draw & ((1 << 15 + bits) - 1)) + 0.5) / (segments << 15)
    return -NormalDist().inv_cdf(2.0 ** -(octave + 2) * (2 - below))


@given(DRAWS)
@example(0)
@example(2**64 - 1)
@example(2**15 - 1)
@example((1 << 63) - 1)
def test_a_sample_is_the_quantile_to_the_last_place(draw) -> None:
    found = sample(draw)
    # Half a place is the rounding.
    assert abs(abs(found) - quantile(draw) * 2048) < 0.54
    assert found <= 0 if draw >> 20 & 1 else found >= 0
    assert found == -sample(draw ^ 1 << 20)


def test_magnitudes_never_fall_within_an_octave() -> None:
    for octave in (0, 3, 4, 20, 43):
        segments = 32 if octave < 4 else 8
        places = [
            QUANTILE.value(row_of(octave, segment), place)
            for segment in range(segments)
            for place in range(1 - (1 << 15), 1 << 15, 62)
        ]
        steps = [later - earlier for earlier, later in pairwise(places)]
        assert min(steps) >= -16, "less than a thirtieth of the last place where segments meet"


def test_samples_are_pinned_and_may_start_anywhere() -> None:
    assert samples(0, 8) == [-953, 1315, 4130, -2016, 4778, -3657, 2426, 579]
    whole = samples(3, 40)
    for start in range(20):
        assert samples(3, 7, start) == whole[start : start + 7]


def test_the_largest_samples() -> None:
    assert sample((1 << 20) - 1) == -sample((1 << 21) - 1) == max(sample(place) for place in range(1 << 20))
    assert sample((1 << 20) - 1) == 15391


@pytest.mark.parametrize("lanes", [1, 2, 3, 4, 7, 64])
@pytest.mark.parametrize("start", [0, 5])
def test_a_seed_frame_fills_the_windows(lanes, start) -> None:
    """Shifting the words in as the hardware does leaves the draws of all lanes in the windows."""
    kind, *words = seed_frame(11, lanes, start)
    assert kind == FrameKind.SEED and len(words) == seed_words(lanes) and len(words) % lanes == 0
    assert all(0 <= word < 1 << 32 for word in words)
    draws, offset = [0] * lanes, 0
    for index, component in enumerate(LFSR161.components):
        window = 0
        for word in words:
            window = window << component.shift | word >> offset & ((1 << component.shift) - 1)
        size = window_bits(index, lanes)
        assert window < 1 << size, "zeros come before what the windows keep"
        for lane in range(lanes):
            draws[lane] ^= window >> (size - WORD_BITS - lane * component.shift) & ((1 << WORD_BITS) - 1)
        offset += component.shift
    assert offset == 32
    assert draws == [output(LFSR161.state_before(11, start + lane + 1)) for lane in range(lanes)]


def dimensions(resolution: int) -> int:
    """In how many dimensions successive draws of LFSR161 are equidistributed to ``resolution`` leading bits."""
    sequences, offset = [], 0
    for component in LFSR161.components:
        bits = [1 << place for place in range(component.order)]
        for place in range(component.order, 2600):
            bits.append(bits[place - component.order] ^ bits[place - component.order + component.tap])
        sequences.append((bits, offset, component.shift))
        offset += component.order
    pivots: dict[int, int] = {}
    for draw in range(offset // resolution):
        for place in range(resolution):
            row = 0
            for bits, own, shift in sequences:
                row ^= bits[shift * draw + place] << own
            while row and row.bit_length() in pivots:
                row ^= pivots[row.bit_length()]
            if not row:
                return draw
            pivots[row.bit_length()] = row
    return offset // resolution


def test_the_generator_is_equidistributed_as_stated() -> None:
    gaps = [161 // resolution - dimensions(resolution) for resolution in range(1, 65)]
    assert sorted(gaps)[-10:] == [0] + [1] * 9


@pytest.mark.parametrize(("order", "primes"), [
    (57, (7, 32377, 524287, 1212847)), (55, (23, 31, 89, 881, 3191, 201961)), (49, (127, 4432676798593)),
])  # fmt: skip
def test_each_component_has_its_full_period(order, primes) -> None:
    """Its step to the power 2^k - 1 is the identity, and to no divisor of it by one prime."""
    (component,) = (each for each in LFSR161.components if each.order == order)
    period = rest = (1 << order) - 1
    for prime in primes:
        while rest % prime == 0:
            rest //= prime
    assert rest == 1
    word = component.step(1 << 63)
    state, generator = (word,), CombinedGenerator((component,))
    assert generator.leap(state, period) == state
    for prime in primes:
        assert generator.leap(state, period // prime) != state


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ziggurat", 1), "gaussian.kind = 'ziggurat': must be one of 'box-muller', 'inverse-cdf'"),
        (("inverse-cdf", 0), "gaussian.lanes = 0: must be an integer from 1 to 64"),
        (("box-muller", 3), "gaussian.lanes = 3: must be 1 or an even number"),
    ],
)
def test_a_source_that_is_not_there_is_refused(arguments, message) -> None:
    with pytest.raises(ConfigurationError, match=message):
        SourceConfig(*arguments)


def test_a_frame_that_starts_between_the_two_of_a_pair_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="start = 3: must be even"):
        SourceConfig("box-muller", 2).seed_frame(0, 3)
    with pytest.raises(ConfigurationError, match="kind = 'clt'"):
        source_samples("clt", 0, 1)
    assert {kind: len(SourceConfig(kind, 2).seed_frame(0)) for kind in KINDS} == {"box-muller": 11, "inverse-cdf": 11}


def test_a_table_entry_one_off_is_noticed(monkeypatch) -> None:
    faulty = inverse_cdf.QuadraticTable(
        (*QUANTILE.base[:400], QUANTILE.base[400] + 512, *QUANTILE.base[401:]), QUANTILE.slope, QUANTILE.curve
    )
    monkeypatch.setattr(inverse_cdf, "QUANTILE", faulty)
    draw = 1 << 63 | 16 << 15 | 1 << 14
    assert abs(sample(draw) - quantile(draw) * 2048) > 0.54
