"""What the engine's memory keeps of a word of scales: the multiplier in its place, and the window of the rest."""

import random

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import data
from amaranth.sim import Simulator

from quietbar.contract.engine import SHIFT_PLACE, WORD_BITS
from quietbar.contract.requantize import MULTIPLIER_HIGH, MULTIPLIER_LOW, SHIFT_HIGH, SHIFT_LOW
from quietbar_cosim.planting import planted
from quietbar_hw.arithmetic.placed import placed
from quietbar_hw.engine import memory


def kept(pairs):
    """What is kept of the words of multipliers and shifts."""
    m, word, found = Module(), Signal(WORD_BITS), []
    scale = data.View(memory.SCALE, Signal(memory.SCALE.size))
    m.d.comb += scale.eq(memory._placed(m, word))

    async def bench(context):
        for multiplier, shift in pairs:
            context.set(word, multiplier | shift << SHIFT_PLACE)
            await context.tick()
            found.append((context.get(scale.multiplier), context.get(scale.window)))

    simulator = Simulator(m)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
    return found


SOURCE = random.Random(1)
PAIRS = [
    (multiplier, shift)
    for shift in range(SHIFT_LOW, SHIFT_HIGH + 1)
    for multiplier in (MULTIPLIER_LOW, MULTIPLIER_HIGH, SOURCE.randint(MULTIPLIER_LOW, MULTIPLIER_HIGH))
]


def test_multipliers_of_every_shift_are_in_their_places():
    assert kept(PAIRS) == [placed(*pair) for pair in PAIRS]


@pytest.mark.parametrize(
    ("sound", "fault"), [("(-shift)[:", "(1 - shift)[:"), ("(shift - 1)[len", "shift[len")], ids=["place", "window"]
)
def test_a_fault_is_caught(sound, fault):
    with planted(memory, "_placed", sound, fault):
        assert kept(PAIRS) != [placed(*pair) for pair in PAIRS]
