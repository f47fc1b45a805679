"""The requantisers equal `quietbar.contract.requantize`, extremes and all."""

import itertools
import random

import pytest
from amaranth.sim import Simulator

from quietbar.contract import INT8, UINT8, IntegerFormat, requantize
from quietbar.contract.block import LOG_SIGMA
from quietbar.contract.requantize import MULTIPLIER_HIGH, MULTIPLIER_LOW, SHIFT_HIGH, SHIFT_LOW, round_shift
from quietbar_cosim.planting import planted
from quietbar_hw.arithmetic import PlacedRequantizer, Requantizer
from quietbar_hw.arithmetic import placed as placing
from quietbar_hw.arithmetic import requantize as requantizing
from quietbar_hw.arithmetic.placed import NUMBER_BITS, PLACED_BITS, WINDOW, placed

FORMATS = [
    (IntegerFormat(26, True), UINT8),
    (IntegerFormat(26, True), INT8),
    (IntegerFormat(25, True), IntegerFormat(12, True)),
    (IntegerFormat(30, True), LOG_SIGMA),
    (IntegerFormat(25, True), IntegerFormat(2, True)),
    (IntegerFormat(18, True), INT8),
    (IntegerFormat(9, True), UINT8),
]


def requantize_in_hardware(accumulator, target, operands, enabled=lambda cycle: True):
    """The component's results for (accumulator, multiplier, shift) triples, one an enabled cycle."""
    component, results = Requantizer(accumulator, target), []

    async def bench(context):
        pending, launched = list(reversed(operands)), 0
        for cycle in itertools.count():
            context.set(component.enable, enabled(cycle))
            if enabled(cycle):
                if pending:
                    for port, value in zip(("accumulator", "multiplier", "shift"), pending.pop(), strict=True):
                        context.set(getattr(component, port), value)
                if launched >= Requantizer.LATENCY:
                    results.append((context.get(component.value), bool(context.get(component.saturated))))
                launched += 1
            if len(results) == len(operands):
                return
            await context.tick()

    simulator = Simulator(component)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
    return results


def requantize_placed(accumulator, target, operands):
    """The results of a `PlacedRequantizer`, an operand a cycle."""
    component, results = PlacedRequantizer(accumulator, target), []

    async def bench(context):
        for cycle in range(len(operands) + PlacedRequantizer.LATENCY):
            if cycle >= PlacedRequantizer.LATENCY:
                results.append((context.get(component.value), bool(context.get(component.saturated))))
            value, multiplier, shift = operands[min(cycle, len(operands) - 1)]
            context.set(component.accumulator, value)
            factor, window = placed(multiplier, shift)
            context.set(component.multiplier, factor)
            context.set(component.window, window)
            await context.tick()

    simulator = Simulator(component)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
    return results


def interesting_operands(accumulator, target, count, seed):
    extremes = (accumulator.low, accumulator.low + 1, -1, 0, 1, accumulator.high)
    yield from itertools.product(extremes, (MULTIPLIER_LOW, MULTIPLIER_HIGH), (SHIFT_LOW, 2, 16, SHIFT_HIGH))
    # A single bit, so that nothing but it tells a product that is too large.
    powers = [sign << place for place in range(accumulator.bits - 1) for sign in (1, -1)]
    yield from itertools.product(powers, (MULTIPLIER_LOW,), (SHIFT_LOW, 9, 20))
    source = random.Random(seed)
    for _ in range(count):
        multiplier, shift = source.randint(MULTIPLIER_LOW, MULTIPLIER_HIGH), source.randint(SHIFT_LOW, SHIFT_HIGH)
        # Half of the accumulators land near the edges of the clamp and near a tie, where the mistakes are made.
        aim = source.choice((target.low, target.high, source.randint(target.low, target.high)))
        near = ((2 * aim + source.choice((-1, 1))) << shift) // (2 * multiplier) + source.randint(-1, 1)
        value = source.choice((near, source.randint(accumulator.low, accumulator.high)))
        yield max(accumulator.low, min(accumulator.high, value)), multiplier, shift


def specified(operands, target):
    """Results of the contract, and whether each is a limit that the number before it lies beyond."""
    for accumulator, multiplier, shift in operands:
        value = round_shift(accumulator * multiplier, shift)
        yield (
            requantize(accumulator, multiplier, shift, target.low, target.high),
            not target.low <= value <= target.high,
        )


@pytest.mark.parametrize(("accumulator", "target"), FORMATS)
def test_equals_the_contract(accumulator, target):
    operands = list(interesting_operands(accumulator, target, 600, seed=1))
    expected = list(specified(operands, target))
    assert {target.low, target.high} < {value for value, _ in expected}
    assert requantize_in_hardware(accumulator, target, operands) == expected
    assert requantize_placed(accumulator, target, operands) == expected


@pytest.mark.parametrize("shift", range(SHIFT_LOW, SHIFT_HIGH + 1))
def test_a_placed_multiplier_leaves_the_number_of_a_window(shift):
    for multiplier in (MULTIPLIER_LOW, MULTIPLIER_HIGH):
        factor, window = placed(multiplier, shift)
        assert factor < 1 << PLACED_BITS and window < 1 << NUMBER_BITS
        for accumulator in (-(1 << 23), -5, 5, (1 << 23) - 1):
            expected = round_shift(accumulator * multiplier, shift)
            assert round_shift(accumulator * factor, WINDOW * (window + 1)) == expected


def test_rounds_half_toward_plus_infinity():
    ties = [(value, MULTIPLIER_LOW, 16) for value in (-5, -3, -1, 1, 3, 5)]
    found = [value for value, _ in requantize_in_hardware(IntegerFormat(24, True), INT8, ties)]
    assert found == [-2, -1, 0, 1, 2, 3]


def test_stands_still_while_not_enabled():
    accumulator, target = FORMATS[0]
    operands = list(interesting_operands(accumulator, target, 50, seed=2))
    expected = list(specified(operands, target))
    source = random.Random(3)
    pattern = [source.random() < 0.5 for _ in range(1000)]
    assert requantize_in_hardware(accumulator, target, operands, pattern.__getitem__) == expected


LAST_STEP = {
    "bits beyond the window forgotten": ("fits.eq(~beyond &", "fits.eq("),
    "rounding forgotten": ("rounded.eq((value + 1) >> 1)", "rounded.eq(value >> 1)"),
    "limits exchanged": ("Mux(value < 0, target.low, target.high)", "Mux(value < 0, target.high, target.low)"),
}
FAULTS = {
    "only the lowest of them seen": ("differs[number:].any()", "differs[number]"),
    "a window a place off": ("[wide[shift:][:kept]", "[wide[shift and shift + 1 :][:kept]"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_caught(fault):
    accumulator, target = FORMATS[1]
    operands = list(interesting_operands(accumulator, target, 100, seed=4))
    with planted(Requantizer, "elaborate", *FAULTS[fault]):
        assert requantize_in_hardware(accumulator, target, operands) != list(specified(operands, target))


PLACED_FAULTS = {
    "the upper half of them seen": ("Cat(differs[2 * place :])", "Cat(differs[2 * place + 1 :])"),
    "a window a place off": ("* place + WINDOW - 1 :][:kept]", "* place + WINDOW - (place < 2) :][:kept]"),
    "a product left out": ('delay(m, low * upper, 1, "middle_low")', 'delay(m, low * 0, 1, "middle_low")'),
}


@pytest.mark.parametrize("fault", PLACED_FAULTS)
def test_a_fault_with_placed_multipliers_is_caught(fault):
    accumulator, target = FORMATS[1]
    operands = list(interesting_operands(accumulator, target, 100, seed=4))
    with planted(PlacedRequantizer, "elaborate", *PLACED_FAULTS[fault]):
        assert requantize_placed(accumulator, target, operands) != list(specified(operands, target))


@pytest.mark.parametrize("fault", LAST_STEP)
@pytest.mark.parametrize(
    ("owner", "results"),
    [(requantizing, requantize_in_hardware), (placing, requantize_placed)],
    ids=["plain", "placed"],
)
def test_a_fault_in_the_last_step_is_caught(owner, results, fault):
    accumulator, target = FORMATS[1]
    operands = list(interesting_operands(accumulator, target, 100, seed=4))
    with planted(owner, "round_off", *LAST_STEP[fault]):
        assert results(accumulator, target, operands) != list(specified(operands, target))
