"""Where the multipliers' cycles go: every cycle has one item, and ResNet-20's taps lose next to none."""

import pytest

from quietbar.contract import BlockConfig
from quietbar.contract.engine import REFERENCE, EngineConfig
from quietbar_cosim.stalls import random_stalls
from quietbar_hw.engine.losses import losses, steady_losses
from quietbar_hw.engine.timing import predict

TAPS = [(16, 32), (32, 16), (64, 8)]


def tap(channels, size):
    return BlockConfig(channels, channels // 4, size, size, kernel="dense", mode="sampling")


@pytest.mark.parametrize(("channels", "size"), TAPS)
def test_the_taps_of_resnet20_use_their_multipliers(channels, size):
    steady, run = steady_losses(REFERENCE, tap(channels, size)), losses(REFERENCE, tap(channels, size), 4)
    assert steady.share > 0.998
    assert run.share > 0.95
    assert steady.lost["fill"] == steady.lost["stall"] == steady.lost["padding"] == 0


@pytest.mark.parametrize("kernel", ["dense", "depthwise"])
@pytest.mark.parametrize("mode", ["mean", "sampling"])
@pytest.mark.parametrize("stalled", [False, True])
def test_items_and_useful_cycles_add_up(kernel, mode, stalled):
    """To the last one, whatever the block: nothing is counted twice and nothing left out."""
    engine = EngineConfig(2, 2, 1, 8, 6, 5, 5, 4, 64, 64, 16, 32)
    block = BlockConfig(6, 3, 4, 5, kernel=kernel, mode=mode)
    stalls = [random_stalls(0.5, 1).cycles(), random_stalls(0.5, 2).cycles()] if stalled else []
    found = losses(engine, block, 3, *stalls)
    assert found.useful == 3 * block.multiplications
    assert found.useful + sum(found.lost.values()) == found.available
    assert found.lost["padding"] > 0, "3 hidden channels fill two groups of 2"
    assert (found.lost["stall"] != 0) == stalled
    assert found.cycles == predict(engine, [block], [0] * 3).cycles or stalled
