"""The requantiser equals `quietbar.contract.requantize`, extremes and all."""

import itertools
import random

import pytest
from amaranth.sim import Simulator

from quietbar.contract import INT8, UINT8, IntegerFormat, requantize
from quietbar.contract.block import LOG_SIGMA
from quietbar.contract.requantize import MULTIPLIER_HIGH, MULTIPLIER_LOW, SHIFT_HIGH, SHIFT_LOW, round_shift
from quietbar_cosim.planting import planted
from quietbar_hw.arithmetic import Requantizer

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


FAULTS = {
    "bits beyond the window forgotten": ("fits.eq(~beyond &", "fits.eq("),
    "only the lowest of them seen": ("differs[number:].any()", "differs[number]"),
    "a window a place off": ("[wide[shift:][:kept]", "[wide[shift and shift + 1 :][:kept]"),
    "limits exchanged": ("Mux(fine < 0, self.target.low, self.target.high)",
                         "Mux(fine < 0, self.target.high, self.target.low)"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_caught(fault):
    accumulator, target = FORMATS[1]
    operands = list(interesting_operands(accumulator, target, 100, seed=4))
    with planted(Requantizer, "elaborate", *FAULTS[fault]):
        assert requantize_in_hardware(accumulator, target, operands) != list(specified(operands, target))
