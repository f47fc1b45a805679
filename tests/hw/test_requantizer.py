"""The requantiser equals `quietbar.contract.requantize`, extremes and all."""

import itertools
import random

import pytest
from amaranth.sim import Simulator

from quietbar.contract import INT8, UINT8, IntegerFormat, requantize
from quietbar.contract.block import LOG_SIGMA
from quietbar.contract.requantize import MULTIPLIER_HIGH, MULTIPLIER_LOW, SHIFT_HIGH, SHIFT_LOW
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
                    results.append(context.get(component.value))
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
    source = random.Random(seed)
    for _ in range(count):
        multiplier, shift = source.randint(MULTIPLIER_LOW, MULTIPLIER_HIGH), source.randint(SHIFT_LOW, SHIFT_HIGH)
        # Half of the accumulators land near the edges of the clamp and near a tie, where the mistakes are made.
        aim = source.choice((target.low, target.high, source.randint(target.low, target.high)))
        near = ((2 * aim + source.choice((-1, 1))) << shift) // (2 * multiplier) + source.randint(-1, 1)
        value = source.choice((near, source.randint(accumulator.low, accumulator.high)))
        yield max(accumulator.low, min(accumulator.high, value)), multiplier, shift


@pytest.mark.parametrize(("accumulator", "target"), FORMATS)
def test_equals_the_contract(accumulator, target):
    operands = list(interesting_operands(accumulator, target, 600, seed=1))
    expected = [requantize(*triple, target.low, target.high) for triple in operands]
    assert {target.low, target.high} < set(expected)
    assert requantize_in_hardware(accumulator, target, operands) == expected


def test_rounds_half_toward_plus_infinity():
    ties = [(value, MULTIPLIER_LOW, 16) for value in (-5, -3, -1, 1, 3, 5)]
    assert requantize_in_hardware(IntegerFormat(24, True), INT8, ties) == [-2, -1, 0, 1, 2, 3]


def test_stands_still_while_not_enabled():
    accumulator, target = FORMATS[0]
    operands = list(interesting_operands(accumulator, target, 50, seed=2))
    expected = [requantize(*triple, target.low, target.high) for triple in operands]
    source = random.Random(3)
    pattern = [source.random() < 0.5 for _ in range(1000)]
    assert requantize_in_hardware(accumulator, target, operands, pattern.__getitem__) == expected
