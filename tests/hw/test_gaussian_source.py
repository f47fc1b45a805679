# amaranth: UnusedElaboratable=no
"""The Gaussian source gives the contract's samples, whatever the lanes, the stalls and the moment of seeding."""

import dataclasses

import pytest
from amaranth.hdl import Assert, Signal
from amaranth.sim import Simulator

from quietbar.contract import ConfigurationError, gaussian
from quietbar.contract.stream import seed_frame
from quietbar.contract.uniform import leap, output, seed_state
from quietbar_hw.formal import Surrounded, prove
from quietbar_hw.formal.properties.streams import PRODUCTS
from quietbar_hw.gaussian import GaussianSource
from quietbar_hw.gaussian.box_muller import BoxMuller
from quietbar_hw.gaussian.interpolation import Interpolation
from quietbar_hw.gaussian.uniform import UniformSource
from quietbar_hw.simulation import run_streams

SEED_HIGH = (1 << 64) - 1


def seed_words(seed, lanes):
    """The payloads that seed a source, the first marked."""
    return [{"word": word, "first": index == 0} for index, word in enumerate(seed_frame(seed, lanes)[1:])]


def samples_of(source, seed, count, **options):
    transfers = count // (2 * source.lanes)
    found = run_streams(source, {"load": seed_words(seed, source.lanes)}, {"samples": transfers}, **options)
    return [sample for transfer in found["samples"] for sample in transfer]


@pytest.mark.parametrize("lanes", [1, 2, 3, 4])
def test_lanes_of_the_uniform_source_share_one_sequence(lanes):
    source, found = UniformSource(lanes), []

    async def bench(context):
        for payload in seed_words(99, lanes):
            context.set(source.load.payload, payload)
            context.set(source.load.valid, 1)
            await context.tick()
        context.set(source.load.valid, 0)
        context.set(source.step, 1)
        while len(found) < 48:
            assert context.get(source.loaded)
            found.extend(context.get(source.draws))
            await context.tick()

    simulator = Simulator(source)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
    assert found == [output(leap(seed_state(99), draw + 1)) for draw in range(len(found))]


TABLES = {"logarithm": gaussian.LOGARITHM, "square root": gaussian.SQUARE_ROOT, "sine": gaussian.SINE}


def places_of(table):
    """The ends and the middle of every segment."""
    last = (1 << table.rest_bits) - 1
    return [(index, rest) for index in range(1 << table.index_bits) for rest in (0, last // 2, last)]


def interpolated(component, places):
    found = []

    async def bench(context):
        for index, rest in places + [(0, 0)] * Interpolation.LATENCY:
            context.set(component.index, index)
            context.set(component.rest, rest)
            found.append(context.get(component.value))
            await context.tick()

    simulator = Simulator(component)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
    return found[Interpolation.LATENCY :]


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_interpolated_as_in_the_contract(name):
    table = TABLES[name]
    places = places_of(table)
    assert interpolated(Interpolation(table), places) == [table.value(*place) for place in places]


@pytest.mark.parametrize("name", TABLES)
def test_any_table_entry_one_off_would_be_caught(name):
    """Every entry is seen to its last bit by the places above, if any value depends on it; one fault is planted."""
    table, every = TABLES[name], places_of(TABLES[name])
    unseen = []
    for column in ("base", "slope"):
        for index in range(128 if name == "square root" else 0, 512):
            values = list(getattr(table, column))
            values[index] += 1
            faulty = dataclasses.replace(table, **{column: tuple(values)})
            places = every[3 * index : 3 * index + 3]
            if [faulty.value(*place) for place in places] == [table.value(*place) for place in places]:
                unseen.append(faulty)
                rests = range(1 << table.rest_bits)
                assert all(faulty.value(index, rest) == table.value(index, rest) for rest in rests), "no value differs"
    assert len(unseen) == (6 if name == "sine" else 0), "six slopes of the sine may be one more"
    component = Interpolation(table)
    component.table = dataclasses.replace(table, base=(*table.base[:300], table.base[300] - 1, *table.base[301:]))
    found = zip(every, interpolated(component, every), strict=True)
    assert {index for (index, rest), value in found if value != table.value(index, rest)} == {300}


def test_extreme_draws():
    """Draws that no test run meets by chance: the nearest to 0 and 1, each octave, each octant, both signs."""
    radii = (
        {(1 << bits) - 1 for bits in range(49)}
        | {1 << bit for bit in range(48)}
        | {(1 << 48) - 1 - 2 * n for n in range(64)}
    )
    angles = (0, (1 << 16) - 1, 1 << 13, 0xFFFF ^ (1 << 13), 0x8001, 0x7FFE)
    draws = [radius << 16 | angle for radius in sorted(radii) for angle in angles]
    component, found = BoxMuller(), []

    async def bench(context):
        for draw in draws + [0] * BoxMuller.LATENCY:
            context.set(component.draw, draw)
            found.append((context.get(component.first), context.get(component.second)))
            await context.tick()

    simulator = Simulator(component)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
    assert found[BoxMuller.LATENCY :] == [gaussian.pair(draw) for draw in draws]


@pytest.mark.parametrize(("lanes", "seed", "stall"), [(1, 0, 0.0), (1, 7, 0.3), (2, SEED_HIGH, 0.3), (4, 7, 0.0)])
def test_equals_the_contract(lanes, seed, stall):
    assert samples_of(GaussianSource(lanes), seed, 2048, stall=stall) == gaussian.samples(seed, 2048)


def test_gives_a_transfer_every_cycle():
    source = GaussianSource(1)
    cycles = [run_streams(source, {"load": seed_words(1, 1)}, {"samples": count})["cycles"][0] for count in (10, 110)]
    assert cycles[1] - cycles[0] == 100
    last_word = len(seed_words(1, 1)) - 1
    assert cycles[0] == last_word + GaussianSource.LATENCY + 10


class ShortOfCredit(GaussianSource):
    """The fault that runs it dry: a transfer less under way than keeps the stream going."""

    @staticmethod
    def depth(ahead):
        return GaussianSource.depth(ahead) - 1


@pytest.mark.parametrize(("source", "holds"), [(GaussianSource, True), (ShortOfCredit, False)])
def test_a_source_that_runs_never_runs_dry(source, holds, monkeypatch):
    """Once there are samples there are in every cycle, whatever the stalls, until the next seed.

    Proven of a pipeline of two cycles, as the proof grows with its length. So the queue never gives its last element
    away, and nothing depends on what its level says then (`quietbar_cosim/mutants/explained.py`).
    """
    monkeypatch.setattr(BoxMuller, "LATENCY", 2)

    def seeding(part):
        return part.load.valid & part.load.payload.first

    def never_dry(m, part):
        running = Signal()
        m.d.sync += running.eq(part.samples.valid & ~seeding(part))
        m.d.comb += Assert(part.samples.valid | ~running)

    surrounded = Surrounded(source(1), never_dry, drops={"samples": seeding})
    verdict = prove(surrounded, "induction", 100, free=PRODUCTS)
    assert verdict.holds == holds, verdict
    assert holds or not verdict.broken, "no rule of streams is"


class AdvancedUnderStall(GaussianSource):
    """The fault that stalls must bring to light: the uniform source goes on while the stream stands."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += m.submodules.uniform.step.eq(m.submodules.uniform.loaded)
        return m


def test_catches_a_source_that_advances_under_stall():
    expected = gaussian.samples(5, 400)
    assert samples_of(AdvancedUnderStall(1), 5, 400) == expected, "without stalls nothing is to be seen"
    assert samples_of(AdvancedUnderStall(1), 5, 400, stall=0.5) != expected


@pytest.mark.parametrize("moment", [0, 1, 9, 10, 11, 19, 40, 41])
def test_seeding_starts_afresh_at_any_moment(moment):
    """A new seed, also in the middle of loading one, throws away whatever is under way."""
    source, found = GaussianSource(1), []

    async def load(context, seed, count=None):
        for payload in seed_words(seed, 1)[:count]:
            context.set(source.load.payload, payload)
            context.set(source.load.valid, 1)
            await context.tick()
        context.set(source.load.valid, 0)

    async def bench(context):
        await load(context, 1, min(moment, 10))
        context.set(source.samples.ready, moment % 2)
        await context.tick().repeat(max(1, moment - 10))
        await load(context, 2)
        context.set(source.samples.ready, 1)
        while len(found) < 64:
            if context.get(source.samples.valid):
                found.extend(context.get(source.samples.payload))
            await context.tick()

    simulator = Simulator(source)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
    assert found == gaussian.samples(2, 64)


def test_refuses_a_number_of_lanes():
    with pytest.raises(ConfigurationError, match=r"gaussian_source.lanes = 0: must be an integer from 1 to 64"):
        UniformSource(0)
