"""The vectorised requantizer equals the contract's, on every operand and at every end of its range."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from quietbar.contract import ConfigurationError
from quietbar.contract import requantize as specification
from quietbar.contract.requantize import MULTIPLIER_HIGH, MULTIPLIER_LOW, SHIFT_HIGH, SHIFT_LOW
from quietbar.integer import arithmetic, requantize
from quietbar.integer.arithmetic import ACCUMULATOR_MAGNITUDE


def closed(low: int, high: int) -> st.SearchStrategy[int]:
    return st.one_of(st.integers(low, high), st.sampled_from((low, high)))


ACCUMULATORS = st.one_of(
    closed(-ACCUMULATOR_MAGNITUDE, ACCUMULATOR_MAGNITUDE), st.integers(-70000, 70000), st.sampled_from((-1, 0, 1))
)
MULTIPLIERS = closed(MULTIPLIER_LOW, MULTIPLIER_HIGH)
BOUNDS = [(0, 255), (-128, 127), (-2048, 2047), (-(2**62), 2**62), (5, 5)]
SHIFTS = st.one_of(closed(SHIFT_LOW, SHIFT_HIGH), st.integers(14, 26))


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(ACCUMULATORS, MULTIPLIERS, SHIFTS), min_size=1, max_size=8), st.sampled_from(BOUNDS))
@example([(ACCUMULATOR_MAGNITUDE, MULTIPLIER_HIGH, SHIFT_HIGH)], (-(2**62), 2**62))
@example([(-ACCUMULATOR_MAGNITUDE, MULTIPLIER_HIGH, SHIFT_LOW)], (-(2**62), 2**62))
@example([(acc, MULTIPLIER_LOW, 16) for acc in (-3, -2, -1, 1, 2, 3)], (-128, 127))
def test_equals_the_specification(cases, bounds) -> None:
    columns = (torch.tensor(column) for column in zip(*cases, strict=True))
    assert requantize(*columns, *bounds).tolist() == [specification(*case, *bounds) for case in cases]


@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32, torch.int64])
def test_per_channel_operands_broadcast_over_batches_and_pixels(dtype) -> None:
    acc = torch.arange(-60, 60).reshape(2, 3, 4, 5).to(dtype)
    multiplier, shift = torch.tensor([40000, 50000, 60000]), torch.tensor([17, 15, 18])
    found = requantize(acc, multiplier.view(3, 1, 1), shift.view(3, 1, 1), -20, 20)
    for channel in range(3):
        operands = int(multiplier[channel]), int(shift[channel]), -20, 20
        expected = [specification(value, *operands) for value in acc[:, channel].flatten().tolist()]
        assert found[:, channel].flatten().tolist() == expected


def test_a_half_rounds_toward_plus_infinity() -> None:
    assert requantize(torch.tensor([-3, -1, 1, 3]), MULTIPLIER_LOW, 16, -128, 127).tolist() == [-1, 0, 1, 2]


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ((torch.tensor([1]), torch.tensor([40000, 32767]), 4, 0, 255), "requantizer.multiplier, channel 1"),
        ((torch.tensor([1]), torch.tensor([[40000], [65536]]), 4, 0, 255), "requantizer.multiplier, channel 1, 0"),
        ((torch.tensor([1]), 40000, torch.tensor([1, 47, 48]), 0, 255), "requantizer.shift, channel 2"),
        ((torch.tensor([1]), 40000, 0, 0, 255), "requantizer.shift"),
        ((torch.tensor([1.0]), 40000, 4, 0, 255), "requantizer.accumulator"),
        ((torch.tensor([1]), 40000.0, 4, 0, 255), "requantizer.multiplier"),
        ((torch.tensor([0, ACCUMULATOR_MAGNITUDE + 1]), 40000, 4, 0, 255), "requantizer.accumulator, element 1"),
        ((torch.tensor([1]), 40000, 4, 1, 0), "requantizer.low"),
    ],
)
def test_what_the_hardware_lacks_is_refused_by_channel(arguments, field) -> None:
    with pytest.raises(ConfigurationError) as error:
        requantize(*arguments)
    assert error.value.field == field


def test_a_dropped_rounding_constant_does_not_pass(monkeypatch) -> None:
    monkeypatch.setattr(arithmetic, "round_shift", lambda values, shift: values >> shift)
    with pytest.raises(AssertionError):
        test_a_half_rounds_toward_plus_infinity()
    with pytest.raises(AssertionError):
        test_per_channel_operands_broadcast_over_batches_and_pixels(torch.int16)
