"""The engine's core equals the integer reference and the cycle model: blocks in any order, of any shape, stalled."""

import itertools
from dataclasses import replace

import pytest
import torch

from quietbar.contract import BlockConfig
from quietbar.contract.engine import REFERENCE, EngineConfig
from quietbar.contract.sources import KINDS
from quietbar_cosim.engine_host import with_engine
from quietbar_cosim.engines import EngineCase, random_case
from quietbar_cosim.stalls import NO_STALLS, bursty_stalls, random_stalls
from quietbar_hw.engine.timing import predict

SMALL = EngineConfig(4, 2, 1, 16, 8, 9, 9, 4, 64, 64, 16, 32)
BLOCKS = [
    BlockConfig(8, 2, 3, 4, kernel="dense"),
    BlockConfig(16, 4, 5, 3, kernel="depthwise", mode="sampling", signed=True),
    BlockConfig(6, 3, 1, 1, kernel="dense", signed=True),
    BlockConfig(4, 5, 2, 9, kernel="dense", mode="sampling"),
]
STALLS = {
    "no stalls": (NO_STALLS, NO_STALLS),
    "random stalls": (random_stalls(0.4, 1), random_stalls(0.4, 2)),
    "bursty stalls": (bursty_stalls(5), bursty_stalls(6)),
}


def beats(frames):
    return list(itertools.chain.from_iterable(frames))


def compare(case, stalls=(NO_STALLS, NO_STALLS), engine=None):
    """Hold a core to reference, cycle model and counters."""

    async def act(host):
        await host.load(case.writes)
        expected = beats(case.expected)
        traffic = await host.exchange(
            beats(case.inputs), len(expected), input_stalls=stalls[0].cycles(), output_stalls=stalls[1].cycles()
        )
        assert traffic.beats == expected
        assert not host.seen()
        model = predict(
            case.engine, case.blocks, case.order, input_stalls=stalls[0].cycles(), output_stalls=stalls[1].cycles()
        )
        assert traffic.taken == model.taken.tolist()
        assert traffic.left == model.left.tolist()
        await host.cycles(2)
        counters = host.counters()
        assert counters["frames"] == len(case.order)
        assert counters["busy_cycles"] == model.busy
        assert counters["stalled_in_cycles"] == model.stalled_in
        assert not host.context.get(host.control.busy)

    with_engine(engine or case.engine, act)


@pytest.mark.parametrize("stalls", STALLS.values(), ids=STALLS)
def test_blocks_in_any_order_equal_reference_and_cycle_model(stalls):
    compare(EngineCase.random(SMALL, BLOCKS, [0, 1, 2, 3, 3, 2, 2, 1, 0, 0], 7), stalls)


@pytest.mark.parametrize("lanes", [1, 4])
def test_the_inverse_cdf_in_place_of_box_muller(lanes):
    """Frames that sample follow ones that do not, and the sequence runs on; one lane is allowed here."""
    engine = replace(SMALL, lanes=lanes, matrix_rows=128, channel_rows=64, source="inverse-cdf")
    compare(EngineCase.random(engine, BLOCKS, [3, 1, 0, 1, 2, 3], 7), STALLS["bursty stalls"])


@pytest.mark.parametrize("source", KINDS)
def test_another_seed_or_another_source_shows(source):
    """The comparison of the tests above can fail."""
    case = EngineCase.random(replace(SMALL, source=source), BLOCKS, [3], 7)
    other = next(kind for kind in KINDS if kind != source)
    wrong = {"seed": replace(case, seed=8), "source": replace(case, engine=replace(case.engine, source=other))}
    for expected in wrong.values():
        assert not torch.equal(expected.expected_frames[0], case.expected_frames[0])

    async def act(host):
        await host.load(wrong["seed"].writes)
        traffic = await host.exchange(beats(case.inputs), len(beats(case.expected)))
        assert traffic.beats != beats(case.expected)
        assert traffic.beats == beats(wrong["seed"].expected)

    with_engine(case.engine, act)


@pytest.mark.parametrize("seed", range(6))
def test_random_engines_run_random_blocks(seed):
    compare(random_case(seed), STALLS[list(STALLS)[seed % len(STALLS)]])


@pytest.mark.parametrize("kernel", ["dense", "depthwise"])
def test_frames_of_every_small_size(kernel):
    """From 1 x 1 up, back to back: the edges of one frame never show in another."""
    engine = EngineConfig(2, 2, 2, 4, 2, 4, 4, 16, 64, 64, 16, 32, noise=False)
    sizes = list(itertools.product(range(1, 5), range(1, 5)))
    blocks = [BlockConfig(4, 2, height, width, kernel=kernel) for height, width in sizes]
    compare(EngineCase.random(engine, blocks, [*range(16), *range(15, -1, -1)], 3))


@pytest.mark.parametrize(("channels", "size", "cycles"), [(16, 32, 4097), (32, 16, 4098), (64, 8, 4100)])
def test_the_taps_of_resnet20_use_their_multipliers(channels, size, cycles):
    """What a frame takes more than the multiplications is the first column of the 3x3 stage: 0.1 % at most."""
    block = BlockConfig(channels, channels // 4, size, size, kernel="dense", mode="sampling")
    model = predict(REFERENCE, [block], [0] * 3)
    per_frame = int(model.frame_ends[2] - model.frame_ends[1])
    assert per_frame == cycles
    assert block.multiplications / (REFERENCE.multipliers * per_frame) > 0.998


def test_the_widest_frame_loses_no_cycle():
    """The skip queue, the line memory and the samples are deep enough where they are needed most."""
    block = BlockConfig(64, 4, 3, 64, kernel="dense", mode="sampling")
    model = predict(REFERENCE, [block], [0] * 4)
    assert int(model.frame_ends[3] - model.frame_ends[2]) == 3 * 64 * 16
