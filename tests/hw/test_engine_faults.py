"""Faults planted in the engine's source, one at a time: reference, cycle model or counters catch each."""

import itertools

import pytest

from quietbar.contract import BlockConfig
from quietbar.contract.engine import EngineConfig
from quietbar_cosim.engine_host import with_engine
from quietbar_cosim.engines import EngineCase
from quietbar_cosim.planting import planted
from quietbar_hw.arithmetic import Requantizer
from quietbar_hw.engine.core import EngineCore
from quietbar_hw.engine.heads import Heads
from quietbar_hw.engine.reduce import Reduce
from quietbar_hw.engine.spatial import Spatial
from quietbar_hw.engine.timing import predict

ENGINE = EngineConfig(2, 2, 1, 4, 2, 3, 3, 2, 8, 8, 4, 4, noise=False)
BLOCKS = [BlockConfig(4, 2, 3, 3, kernel="dense"), BlockConfig(3, 1, 2, 2, kernel="depthwise", signed=True)]
CASE = EngineCase.random(ENGINE, BLOCKS, [0, 1, 0], 5)


def compare():
    async def act(host):
        await host.load(CASE.writes)
        expected = list(itertools.chain.from_iterable(CASE.expected))
        traffic = await host.exchange(list(itertools.chain.from_iterable(CASE.inputs)), len(expected), patience=300)
        assert traffic.beats == expected
        model = predict(ENGINE, BLOCKS, CASE.order)
        assert traffic.left == model.left.tolist()
        assert host.counters()["busy_cycles"] == model.busy
        assert host.counters()["frames"] == 3

    with_engine(ENGINE, act)


FAULTS = {
    "rounding": (Requantizer, "elaborate", "rounded.eq((fine + 1) >> 1)", "rounded.eq(fine >> 1)"),
    "edge above": (Spatial, "_windows", "Mux(outside[0], 0, above)", "above"),
    "saturation dropped": (Heads, "_subtract", "Mux(fits, rounded[:8], limit)", "rounded[:8]"),
    "block switched early": (Reduce, "elaborate", "frame.ready.eq(ended & slots.flag)", "frame.ready.eq(ended)"),
    "a beat of the heads too few": (Heads, "elaborate", "last_beat.eq(beat == fields.last_beat)",
                                 "last_beat.eq(beat == fields.last_beat - 1)"),
    "counter": (EngineCore, "elaborate", '"busy_cycles": control.busy,', '"busy_cycles": self.o.valid,'),
}  # fmt: skip


def test_without_a_fault_nothing_is_found():
    compare()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_caught(fault):
    with planted(*FAULTS[fault]), pytest.raises(AssertionError):
        compare()
