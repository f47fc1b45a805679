"""Faults planted in the engine's source, one at a time: reference, cycle model or counters catch each."""

import itertools
from dataclasses import replace

import pytest

from quietbar.contract import BlockConfig
from quietbar.contract.engine import EngineConfig, EngineError
from quietbar_cosim.engine_host import with_engine
from quietbar_cosim.engines import EngineCase
from quietbar_cosim.planting import planted
from quietbar_hw.arithmetic import placed
from quietbar_hw.engine import memory
from quietbar_hw.engine.core import EngineCore
from quietbar_hw.engine.framing import Framing
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
    "rounding": (placed, "round_off", "rounded.eq((value + 1) >> 1)", "rounded.eq(value >> 1)"),
    "a multiplier out of its place": (memory, "_placed", "(-shift)[:", "(1 - shift)[:"),
    "edge above": (Spatial, "_windows", "Mux(outside[0], 0, above)", "above"),
    "a column before the pixel below it": (Spatial, "_rows", "ends_pixel & (~first_row | arrival.ends_frame)",
                                           "ends_pixel"),
    "the columns of the last row forgotten": (Spatial, "_rows", "Mux(ends_pixel & arrival.ends_frame, behind, 0)", "0"),
    "saturation dropped": (Heads, "_subtract", "Mux(fits, rounded[:8], limit)", "rounded[:8]"),
    "block switched early": (Reduce, "elaborate", "frame.ready.eq(ended & slots.flag)", "frame.ready.eq(ended)"),
    "a beat of the heads too few": (Heads, "elaborate", "last_beat.eq(beat == fields.last_beat)",
                                 "last_beat.eq(beat == fields.last_beat - 1)"),
    "a beat dropped on its way to the stages": (Framing, "elaborate", "self.element.valid.eq(emit)",
                                                "self.element.valid.eq(emit & ~(ends_row & ~ends_frame))"),
    "a beat dropped that waits for its noise": (Framing, "elaborate", "self.skipped.valid.eq(emit)",
                                                "self.skipped.valid.eq(emit & ~(ends_row & ~ends_frame))"),
    "tlast missing on the way out": (Framing, "elaborate", "self.skipped.payload.last.eq(ends_frame)",
                                     "self.skipped.payload.last.eq(0)"),
    "counter": (EngineCore, "elaborate", '"busy_cycles": control.busy,', '"busy_cycles": self.o.valid,'),
}  # fmt: skip


def test_without_a_fault_nothing_is_found():
    compare()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_caught(fault):
    with planted(*FAULTS[fault]), pytest.raises(AssertionError):
        compare()


def compare_spoilt():
    """A frame whose ``tlast`` comes early, one whose ``tlast`` is missing, and a sound one after each."""
    first, second, third = CASE.inputs
    early = [*first[:4], replace(first[4], last=True)]
    late = [*first[:-1], replace(first[-1], last=False), replace(first[0], last=True)]
    expected = [*CASE.expected[0], *CASE.expected[1], *CASE.expected[2], *CASE.expected[1]]

    async def act(host):
        await host.load(CASE.writes)
        traffic = await host.exchange([*early, *second, *late, *second], len(expected), patience=300)
        bad = {len(first) - 1, len(first) + len(second) + len(third) - 1}
        assert [(beat.last, beat.block, beat.bad) for beat in traffic.beats] == [
            (beat.last, beat.block, at in bad) for at, beat in enumerate(expected)
        ]
        sound = slice(len(first), len(first) + len(second))
        assert traffic.beats[sound] == expected[sound]
        assert traffic.beats[-len(second) :] == CASE.expected[1]
        assert host.seen() == EngineError.FRAME_SHORT | EngineError.FRAME_LONG
        counters = host.counters()
        assert (counters["frames"], counters["bad_frames"]) == (2, 2)

    with_engine(ENGINE, act)


TLAST_FAULTS = {
    "tlast ignored": (Framing, "elaborate", "short, long = beat.last & ~ends_frame, ends_frame & ~beat.last",
                      "short, long = beat.last & 0, beat.last & 0"),
    "early tlast ignored": (Framing, "elaborate", "short, long = beat.last & ~ends_frame,",
                            "short, long = beat.last & 0,"),
    "missing tlast ignored": (Framing, "elaborate", "ends_frame & ~beat.last\n", "beat.last & 0\n"),
    "a frame cut short comes out as a good one": (
        Framing, "elaborate", "spoilt = bad | filling | changed | (beat.last != ends_frame)", "spoilt = changed"
    ),
}  # fmt: skip


def test_without_a_fault_spoilt_frames_are_told_and_the_others_are_whole():
    compare_spoilt()


@pytest.mark.parametrize("fault", TLAST_FAULTS)
def test_a_fault_in_what_ends_a_frame_is_caught(fault):
    with planted(*TLAST_FAULTS[fault]), pytest.raises(AssertionError):
        compare_spoilt()


@pytest.mark.parametrize("fault", ["tlast ignored", "early tlast ignored"])
def test_sound_frames_do_not_show_that_tlast_is_ignored(fault):
    """Which is why frames are spoilt, too."""
    with planted(*TLAST_FAULTS[fault]):
        compare()
