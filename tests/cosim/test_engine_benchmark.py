"""Speed of the tiers of simulation of the engine: figures only for outputs that are the reference's."""

import pytest

from quietbar.contract import BlockConfig
from quietbar.experiment.hardware_recipe import EngineRecipe
from quietbar_cosim import engine_benchmark
from quietbar_cosim.engine_benchmark import BARE, BULK, measure_runner

BLOCK, ENGINE = BlockConfig(8, 4, 6, 5), EngineRecipe(lanes=2, group=2, outputs=1)


def test_both_loops_are_measured_on_the_same_work():
    found = {speed.tier: speed for speed in measure_runner(BLOCK, ENGINE, frames=3, rounds=1)}
    assert list(found) == [BARE, BULK]
    for speed in found.values():
        assert speed.cycles > 0
        # One multiplication of each multiplier a cycle is the most there can be.
        assert 0 < speed.multiplications < ENGINE.smallest(noise=False).multipliers * speed.cycles


def test_a_wrong_output_has_no_speed(monkeypatch):
    expected = engine_benchmark.from_engine_beats

    def wrong(*arguments):
        return expected(*arguments) ^ 1

    monkeypatch.setattr(engine_benchmark, "from_engine_beats", wrong)
    with pytest.raises(AssertionError, match=BULK):
        measure_runner(BLOCK, ENGINE, frames=1, rounds=1)
