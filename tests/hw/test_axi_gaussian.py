# amaranth: UnusedElaboratable=no
"""The packaged sources: AXI4-Stream's rules hold, whatever the stalls and the seeds; errors are told and mended."""

import random

import pytest
from amaranth.sim import Simulator

from quietbar.contract.sources import SourceConfig, source_samples
from quietbar_cosim.planting import planted
from quietbar_hw.gaussian import AxiGaussianSource, GaussianSource
from quietbar_hw.gaussian.top import Error
from quietbar_hw.register_slice import RegisterSlice
from quietbar_hw.simulation import run_streams
from quietbar_hw.verilog import lint, write_verilog

CONFIGS = [
    SourceConfig("box-muller", 1),
    SourceConfig("box-muller", 2),
    SourceConfig("box-muller", 4),
    SourceConfig("inverse-cdf", 1),
    SourceConfig("inverse-cdf", 3),
]
PATIENCE = 250
"""Cycles without a transfer after which the bench gives up."""
IDS = [f"{each.kind}-{each.lanes}" for each in CONFIGS]


def signed(word):
    return word - (1 << 16) if word >> 15 else word


def run(config, frames, transfers, stall=0.0, seed=0):
    """Send ``frames``, each a pair of (cycle before which it is not sent, words); take ``transfers``.

    Returns the transfers as (marked, samples), the cycle of each, and the error bits at the end. The stream's rules are
    checked on the way.
    """
    component = AxiGaussianSource(config)
    found, cycles, errors = [], [], []
    pauses = random.Random(seed)

    async def send(context):
        now = 0
        for moment, words in frames:
            if moment > now:
                await context.tick().repeat(moment - now)
                now = moment
            for index, word in enumerate(words):
                context.set(component.s_axis_cfg_tvalid, 1)
                context.set(component.s_axis_cfg_tdata, word)
                context.set(component.s_axis_cfg_tlast, index == len(words) - 1)
                assert context.get(component.s_axis_cfg_tready)
                await context.tick()
                now += 1
                context.set(component.s_axis_cfg_tvalid, 0)
                while stall and pauses.random() < stall:
                    await context.tick()
                    now += 1

    async def take(context):
        waiting, cycle = None, 0
        while len(found) < transfers and cycle < (cycles[-1] if cycles else 0) + PATIENCE:
            context.set(component.m_axis_tready, ready := int(pauses.random() >= stall))
            offer = None
            if context.get(component.m_axis_tvalid):
                data = context.get(component.m_axis_tdata)
                offer = context.get(component.m_axis_tuser), data
                if ready:
                    samples = [signed(data >> 16 * lane & 0xFFFF) for lane in range(config.lanes)]
                    found.append((offer[0], samples))
                    cycles.append(cycle)
            assert waiting is None or offer == waiting, f"cycle {cycle}: what waits has changed"
            waiting = None if ready else offer
            await context.tick()
            cycle += 1
        errors.append(context.get(component.error))

    simulator = Simulator(component)
    simulator.add_clock(1e-8)
    simulator.add_testbench(send, background=True)
    simulator.add_testbench(take)
    simulator.run()
    return found, cycles, errors[0]


def expected(config, seed, transfers, start=0):
    samples = source_samples(config.kind, seed, transfers * config.lanes, start)
    return [(int(index == 0), samples[index * config.lanes : (index + 1) * config.lanes]) for index in range(transfers)]


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize("config", CONFIGS, ids=IDS)
def test_gives_the_samples_of_a_seed_from_any_start(config, stall):
    found, cycles, error = run(config, [(0, config.seed_frame(77, 10))], 60, stall)
    assert error == 0 and found == expected(config, 77, 60, 10)
    if not stall:
        assert cycles == list(range(cycles[0], cycles[0] + 60)), "a transfer every cycle"
        assert cycles[0] == len(config.seed_frame(77)) - 1 + AxiGaussianSource(config).latency


@pytest.mark.parametrize("moment", [20, 40, 41, 61])
@pytest.mark.parametrize("config", CONFIGS, ids=IDS)
def test_a_seed_in_the_middle_begins_its_sequence_at_a_mark(config, moment):
    """What waited of the old sequence still comes, two transfers at most; then the new one, marked."""
    frames = [(0, config.seed_frame(1)), (moment, config.seed_frame(2)), (moment + 50, config.seed_frame(3))]
    for stall in (0.0, 0.4):
        found, _, error = run(config, frames, 200, stall, seed=moment)
        assert error == 0
        marks = [index for index, (marked, _) in enumerate(found) if marked]
        assert len(marks) in (1, 2, 3), "a seed may be replaced before any of it came out"
        for begin, end in zip(marks, [*marks[1:], len(found)], strict=True):
            assert any(found[begin:end] == expected(config, seed, end - begin) for seed in (1, 2, 3))
        assert found[marks[-1] :] == expected(config, 3, len(found) - marks[-1])


@pytest.mark.parametrize("config", [CONFIGS[1], CONFIGS[3]], ids=[IDS[1], IDS[3]])
@pytest.mark.parametrize(
    ("change", "bit"),
    [
        (lambda words: words[:-1], Error.LENGTH),
        (lambda words: words[:1], Error.LENGTH),
        (lambda words: [*words, 5], Error.LENGTH),
        (lambda words: [*words, 5, 6, 7], Error.LENGTH),
        (lambda words: [3, *words[1:]], Error.KIND),
        (lambda words: [1], Error.KIND),
        (lambda words: [2 | 1 << 31, *words[1:]], Error.KIND),
        (lambda words: [words[0], *[0] * (len(words) - 1)], Error.STATE),
    ],
    ids=["short", "kind alone", "long", "longer", "other kind", "other kind alone", "kind's top bit", "zeros"],
)
def test_a_faulty_frame_is_told_and_gives_nothing(config, change, bit):
    words = config.seed_frame(4)
    found, _, error = run(config, [(0, change(words))], 1)
    assert (found, error) == ([], 1 << bit)
    found, _, error = run(config, [(0, change(words)), (40, words)], 10)
    assert (found, error) == (expected(config, 4, 10), 1 << bit), "the next whole frame mends it"
    if bit == Error.KIND:
        found, _, error = run(config, [(0, words), (30, change(words))], 60)
        assert (found, error) == (expected(config, 4, 60), 1 << bit), "it was ignored"


def test_lint_is_clean(tmp_path):
    for config in (CONFIGS[0], CONFIGS[4]):
        lint(write_verilog(AxiGaussianSource(config), tmp_path, "quietbar_gaussian"))


@pytest.mark.parametrize("stall", [0.0, 0.5, 0.9])
def test_a_register_slice_keeps_the_order(stall):
    numbers = list(range(200))
    found = run_streams(RegisterSlice(8), {"i": numbers}, {"o": 200}, stall=stall, seed=3)
    assert found["o"] == numbers
    if not stall:
        assert found["cycles"] == [201]


def test_planted_faults_are_caught():
    config = CONFIGS[3]
    with planted(RegisterSlice, "elaborate", "Mux(holding, spare, entering)", "entering"):
        found, *_ = run(config, [(0, config.seed_frame(1))], 60, 0.5)
        assert found != expected(config, 1, 60)
    with planted(GaussianSource, "elaborate", "uniform.step.eq(launch)", "uniform.step.eq(uniform.loaded)"):
        found, *_ = run(CONFIGS[1], [(0, CONFIGS[1].seed_frame(1))], 60, 0.5)
        assert found != expected(CONFIGS[1], 1, 60)
    words = config.seed_frame(1)
    words[-1] ^= 1
    found, *_ = run(config, [(0, words)], 60)
    assert found != expected(config, 1, 60)
    with (
        planted(RegisterSlice, "elaborate", "with m.If(leaving):", "with m.If(leaving | self.i.valid):"),
        pytest.raises(AssertionError, match="what waits has changed"),
    ):
        run(config, [(0, config.seed_frame(1))], 60, 0.5)
