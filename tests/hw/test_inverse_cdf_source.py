# amaranth: UnusedElaboratable=no
"""The inverse-CDF source gives the contract's samples, whatever the lanes, the stalls and the moment of seeding."""

import dataclasses
import itertools

import numpy as np
import pytest
from amaranth.sim import Simulator

from quietbar.contract import ConfigurationError
from quietbar.contract.inverse_cdf import QUANTILE, row_of, sample, samples, seed_frame
from quietbar.contract.uniform import LFSR161, output
from quietbar_cosim.planting import planted
from quietbar_hw.gaussian import InverseCdfSource
from quietbar_hw.gaussian import inverse_cdf as pipeline_module
from quietbar_hw.gaussian.inverse_cdf import InverseCdf
from quietbar_hw.gaussian.windows import WindowedUniformSource
from quietbar_hw.simulation import run_streams

SEED_HIGH = (1 << 64) - 1


def seed_payloads(seed, lanes):
    """The payloads that seed a source, the first marked."""
    return [{"word": word, "first": index == 0} for index, word in enumerate(seed_frame(seed, lanes)[1:])]


def samples_of(source, seed, count, **options):
    transfers = count // source.lanes
    found = run_streams(source, {"load": seed_payloads(seed, source.lanes)}, {"samples": transfers}, **options)
    return [each for transfer in found["samples"] for each in transfer]


def simulate(component, bench):
    simulator = Simulator(component)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize("lanes", [1, 2, 3, 4, 9])
def test_lanes_of_the_uniform_source_share_one_sequence(lanes):
    source, found = WindowedUniformSource(lanes), []

    async def bench(context):
        for payload in seed_payloads(99, lanes):
            context.set(source.load.payload, payload)
            context.set(source.load.valid, 1)
            await context.tick()
        context.set(source.load.valid, 0)
        context.set(source.step, 1)
        while len(found) < 90:
            assert context.get(source.loaded) and not context.get(source.refused)
            found.extend(context.get(source.draws))
            await context.tick()

    simulate(source, bench)
    assert found == [output(LFSR161.state_before(99, draw + 1)) for draw in range(len(found))]


@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("dead", [None, 0, 1, 2])
def test_a_component_of_zeros_is_refused(lanes, dead):
    source, refused = WindowedUniformSource(lanes), []
    low = sum(component.shift for component in LFSR161.components[: dead or 0])
    zeros = ((1 << LFSR161.components[dead].shift) - 1) << low if dead is not None else 0

    async def bench(context):
        for payload in seed_payloads(3, lanes):
            context.set(source.load.payload, payload | {"word": payload["word"] & ~zeros})
            context.set(source.load.valid, 1)
            await context.tick()
        context.set(source.load.valid, 0)
        for _ in range(3):
            assert context.get(source.loaded)
            refused.append(context.get(source.refused))
            await context.tick()

    simulate(source, bench)
    assert refused == [int(dead is not None), 0, 0]


def test_extreme_draws():
    """Each octave and each segment, the ends of its places, both signs."""
    octaves = [1 << bit for bit in range(43)] + [0, (1 << 43) - 1]
    low = [0, (1 << 21) - 1, 1 << 20, (1 << 20) - 1, 1 << 14, (1 << 15) - 1, *(each << 15 for each in range(1, 32, 6))]
    draws = [octave << 21 | rest for octave in octaves for rest in low]
    draws += [1 << 63 | segment << 15 | place for segment in range(32) for place in (0, 1 << 14, (1 << 15) - 1)]
    assert samples_of_draws(draws) == [sample(draw) for draw in draws]


@pytest.mark.parametrize(
    ("lanes", "seed", "stall"), [(1, 0, 0.0), (1, 7, 0.3), (2, SEED_HIGH, 0.3), (3, 7, 0.6), (8, 7, 0.0)]
)
def test_equals_the_contract(lanes, seed, stall):
    count = 1200 // lanes * lanes
    assert samples_of(InverseCdfSource(lanes), seed, count, stall=stall) == samples(seed, count)


def test_gives_a_transfer_every_cycle():
    words = len(seed_payloads(1, 1))
    for count in (10, 110):
        options = {"load": seed_payloads(1, 1)}, {"samples": count}
        assert run_streams(InverseCdfSource(1), *options)["cycles"][0] == words - 1 + InverseCdfSource.LATENCY + count


@pytest.mark.parametrize("lanes", [1, 2])
@pytest.mark.parametrize("moment", [0, 1, 7, 8, 9, 19, 24, 40, 41])
def test_seeding_starts_afresh_at_any_moment(moment, lanes):
    """A new seed, also in the middle of loading one, throws away whatever is under way."""
    source, found = InverseCdfSource(lanes), []

    async def load(context, seed, count=None):
        for payload in seed_payloads(seed, lanes)[:count]:
            context.set(source.load.payload, payload)
            context.set(source.load.valid, 1)
            await context.tick()
        context.set(source.load.valid, 0)

    async def bench(context):
        await load(context, 1, moment)
        context.set(source.samples.ready, moment % 2)
        await context.tick().repeat(max(1, moment - 8))
        await load(context, 2)
        context.set(source.samples.ready, 1)
        while len(found) < 64:
            if context.get(source.samples.valid):
                found.extend(context.get(source.samples.payload))
            await context.tick()

    simulate(source, bench)
    assert found == samples(2, 64)


FAULTS = {
    "a lane one draw off": (
        WindowedUniformSource, "elaborate", "lane * component.shift\n", "max(0, lane - 1) * component.shift\n"
    ),
    "a leap one step short": (
        WindowedUniformSource, "elaborate", "window.eq(Cat(", "window.eq(window if index == 1 else Cat("
    ),
    "source advanced under stall": (InverseCdfSource, "elaborate", "uniform.loaded & move", "uniform.loaded"),
    "pipeline advanced under stall": (InverseCdfSource, "elaborate", "EnableInserter(move)(pipeline)", "pipeline"),
    "octave of fine rows one off": (InverseCdf, "_row", "Mux(octave_high == 0, fine", "Mux(octave_high == 1, fine"),
    "place one off": (InverseCdf, "elaborate", "Cat(Const(1, 1), draw", "Cat(Const(0, 1), draw"),
    "slope's shift forgotten": (InverseCdf, "elaborate", "(bend >> CURVE_SHIFT)", "bend[:4]"),
    "sign flipped": (InverseCdf, "elaborate", "Mux(negative, -", "Mux(~negative, -"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught(fault):
    with planted(*FAULTS[fault]):
        assert samples_of(InverseCdfSource(2), 5, 400, stall=0.5) != samples(5, 400)
    if "stall" in fault:
        with planted(*FAULTS[fault]):
            assert samples_of(InverseCdfSource(2), 5, 400) == samples(5, 400), "without stalls nothing is to be seen"


def telling_draws():
    """For each row, column and direction a draw whose sample changes if that entry is one off."""
    place = np.arange(1 << 15)
    odd = 2 * place + 1 - (1 << 15)

    def magnitudes(base, slope, curve):
        return base + ((slope + (curve * odd >> 13)) * odd >> 17) >> 9

    found = {}
    for octave in range(44):
        for segment in range(32 if octave < 4 else 8):
            row = row_of(octave, segment)
            entries = np.array([QUANTILE.base[row], QUANTILE.slope[row], QUANTILE.curve[row]])
            right = magnitudes(*entries)
            for column, by in itertools.product(range(3), (-1, 1)):
                differing = np.flatnonzero(magnitudes(*(entries + by * np.eye(3, dtype=int)[column])) != right)
                if differing.size:
                    above = 1 << 42 - octave if octave < 43 else 0
                    found[row, column, by] = above << 21 | segment << 15 | int(differing[0])
    return found


def samples_of_draws(draws):
    component, found = InverseCdf(), []

    async def bench(context):
        for draw in draws + [0] * InverseCdf.LATENCY:
            context.set(component.draw, draw)
            found.append(context.get(component.sample))
            await context.tick()

    simulate(component, bench)
    return found[InverseCdf.LATENCY :]


def test_every_entry_of_the_table_is_seen_to_its_last_bit(monkeypatch):
    """A draw for each entry tells if it is one off; so does the hardware with such an entry planted."""
    telling = telling_draws()
    rows = [row_of(octave, segment) for octave in range(44) for segment in range(32 if octave < 4 else 8)]
    # One slope may be one less and no sample of its segment changes.
    assert set(itertools.product(rows, range(3), (-1, 1))) - set(telling) == {(384, 1, -1)}
    draws = list(dict.fromkeys(telling.values()))
    expected = [sample(draw) for draw in draws]
    assert samples_of_draws(draws) == expected
    for column, name in enumerate(("base", "slope", "curve")):
        values = list(getattr(QUANTILE, name))
        values[400] += 1
        faulty = dataclasses.replace(QUANTILE, **{name: tuple(values)})
        monkeypatch.setattr(pipeline_module, "QUANTILE", faulty)
        differing = [
            draw for draw, one, other in zip(draws, samples_of_draws(draws), expected, strict=True) if one != other
        ]
        assert telling[400, column, 1] in differing
        assert all(draw >> 63 == 1 and draw >> 15 & 31 == 16 for draw in differing), "row 400 alone"


def test_a_wrong_seed_word_is_caught():
    payloads = seed_payloads(5, 1)
    payloads[-1]["word"] ^= 1
    found = run_streams(InverseCdfSource(1), {"load": payloads}, {"samples": 50})["samples"]
    assert [each for transfer in found for each in transfer] != samples(5, 50)


def test_refuses_a_number_of_lanes():
    with pytest.raises(ConfigurationError, match=r"gaussian_source.lanes = 65: must be an integer from 1 to 64"):
        InverseCdfSource(65)
