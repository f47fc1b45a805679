"""Both Gaussian sources as Verilog: many seeds, all kinds of stalls, resets, draws that no seed meets by chance."""

import dataclasses
import itertools
import re
from unittest.mock import patch

import numpy as np
import pytest

from quietbar.cli import main
from quietbar.contract import gaussian, inverse_cdf
from quietbar.contract.seeds import SEED_HIGH
from quietbar.contract.sources import KINDS, SourceConfig
from quietbar.contract.stream import FrameKind
from quietbar.contract.uniform import LFSR161, WORD_BITS, output
from quietbar_cosim.build import Design, design_of
from quietbar_cosim.elaborated import run_elaborated
from quietbar_cosim.gaussian import SourceSubject, source_job, source_vectors, stretches
from quietbar_cosim.parts import Parts
from quietbar_cosim.planting import planted
from quietbar_cosim.replay import Case, load, verify
from quietbar_cosim.rules import StreamError
from quietbar_cosim.stalls import PATIENT, random_stalls
from quietbar_cosim.vectors import Job, Scenario, jobs, pack, scenarios
from quietbar_hw.gaussian import AxiGaussianSource, GaussianSource, InverseCdfSource
from quietbar_hw.gaussian import box_muller as box_muller_module
from quietbar_hw.gaussian.inverse_cdf import InverseCdf
from quietbar_hw.gaussian.uniform import UniformSource
from quietbar_hw.gaussian.windows import WindowedUniformSource

CONFIGS = {
    f"{config.kind.replace('-', '_')}_{config.lanes}": config
    for config in (
        SourceConfig("box-muller", 1),
        SourceConfig("box-muller", 4),
        SourceConfig("inverse-cdf", 1),
        SourceConfig("inverse-cdf", 3),
    )
}
SEED = 2026


@pytest.fixture(scope="module")
def parts():
    """All sources side by side: one build for the benches of this file."""
    return design_of(Parts({name: AxiGaussianSource(config) for name, config in CONFIGS.items()}), "gaussian_sources")


def part_vectors(name, seed, transfers, start=0, frames=None):
    vectors = source_vectors(CONFIGS[name], seed, transfers, start)
    frames = vectors.configuration if frames is None else frames
    return dataclasses.replace(vectors, configuration=tuple(map(tuple, frames)), prefix=f"{name}_")


@pytest.mark.parametrize("name", CONFIGS)
def test_in_every_scenario(parts, name):
    listed = jobs(f"{name}, seed 7", part_vectors(name, 7, 600, start=1_000_002), scenarios(SEED, 200))
    _, stalled, *_ = scenarios(SEED, 200)
    listed += [Job(f"{name}, seed {seed}", part_vectors(name, seed, 600), stalled) for seed in (0, SEED_HIGH)]
    verify(f"sources_{name}", parts, listed)


def test_the_last_of_several_seeds_counts(parts):
    """Frames back to back, faster than samples come."""
    listed = []
    for name, config in CONFIGS.items():
        frames = [config.seed_frame(seed) for seed in (1, 2, 3)]
        listed.append(Job(f"{name}, seeds 1, 2, 3", part_vectors(name, 3, 200, frames=frames)))
    verify("sources_seeds", parts, listed)


def solutions():
    """States of LFSR161 by the leading bit of their draws: enough to make any draw, by elimination over GF(2)."""
    found = {}
    for index, component in enumerate(LFSR161.components):
        for place in range(component.order):
            bits = [int(each == place) for each in range(component.order)]
            while len(bits) < WORD_BITS:
                bits.append(bits[-component.order] ^ bits[component.tap - component.order])
            state = [0, 0, 0]
            state[index] = int("".join(map(str, bits)), 2)
            while (draw := output(state)) and draw.bit_length() in found:
                state = [a ^ b for a, b in zip(state, found[draw.bit_length()], strict=True)]
            if draw:
                found[draw.bit_length()] = state
    return found


def state_with_output(draw, found):
    """A state of LFSR161 whose draw is ``draw``."""
    state = LFSR161.state_before(5, 1)
    while rest := draw ^ output(state):
        state = tuple(a ^ b for a, b in zip(state, found[rest.bit_length()], strict=True))
    return state


def test_inverse_cdf_at_the_extremes_of_a_draw(parts):
    """The ends of every octave and of the segments, of both signs; Box-Muller's extremes are in test_parts.py."""
    octaves = [0, 1, 2, 3, (1 << 43) - 1, 1 << 42, (1 << 42) - 1, *(1 << bit for bit in range(5, 42, 6))]
    low = [0, 1 << 20, (1 << 20) - 1, (1 << 21) - 1, 1 << 15, (1 << 15) - 1, 31 << 15]
    found, listed = solutions(), []
    for octave, rest in itertools.product(octaves, low):
        state = state_with_output(octave << 21 | rest, found)
        states = [state, LFSR161.step(state), LFSR161.step(LFSR161.step(state))]
        expected = [inverse_cdf.sample(output(each)) for each in states]
        vectors = part_vectors("inverse_cdf_1", 0, 3, frames=[inverse_cdf.state_frame(state)])
        vectors = dataclasses.replace(vectors, expected=pack(np.array(expected)[:, None], 16))
        listed.append(Job(f"inverse CDF, first draw {output(state):#018x}", vectors))
    verify("sources_extremes", parts, listed)


def test_stretches_are_of_many_seeds_places_and_stalls():
    listed = list(stretches(CONFIGS["inverse_cdf_3"], 20, 60_001, 1))
    subjects, kinds = [job.subject for job in listed], [job.scenario.output_stalls.kind for job in listed]
    assert len(listed) == 20 and sum(job.vectors.outputs for job in listed) == 20 * 3 * 1001
    assert [subject.seed for subject in subjects[:2]] == [0, SEED_HIGH] and len({each.seed for each in subjects}) == 20
    assert {each.start for each in subjects[::2]} == {0} and len({each.start for each in subjects[1::2]}) == 10
    assert all(kinds.count(kind) == 5 for kind in ("none", "random", "patient", "bursty"))
    assert {(kind, each.start > 0) for kind, each in zip(kinds, subjects, strict=True)} == set(
        itertools.product(kinds, (False, True))
    ), "every kind of stalls from the beginning and from within"


def test_a_long_stretch_goes_on_where_it_was(monkeypatch):
    monkeypatch.setattr("quietbar_cosim.gaussian.PIECE", 100)
    listed = list(stretches(CONFIGS["inverse_cdf_1"], 1, 250, 1))
    assert [(job.subject.start, job.vectors.outputs) for job in listed] == [(0, 100), (100, 100), (200, 50)]


@pytest.mark.parametrize("kind", KINDS)
def test_twenty_seeds_equal_the_reference(kind, capsys):
    assert main(["cosim", "--gaussian", kind, "--tier", "bulk", "--count", "4e5"]) == 0
    *_, last = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"all +400,000 +6,400,000 +0 +[\d,]+", last)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_ten_million_samples_equal_the_reference_under_cocotb(kind, capsys):
    assert main(["cosim", "--gaussian", kind, "--lanes", "16", "--count", "1e7"]) == 0
    *_, last = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"all +1\d,\d{3},\d{3} +[\d,]+ +0 +[\d,]+", last)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--gaussian", "clt"], "gaussian.kind = 'clt': must be one of 'box-muller', 'inverse-cdf'"),
        (["--gaussian", "box-muller", "--lanes", "3"], "gaussian.lanes = 3: must be 1 or an even number"),
        (["--gaussian", "inverse-cdf", "--lanes", "0"], "gaussian.lanes = 0: must be an integer from 1 to 64"),
        (["--gaussian", "inverse-cdf", "--seeds", "0"], "--seeds = 0: must be an integer from 1 to 65536"),
        (["--gaussian", "inverse-cdf", "--count", "3"], "--count = 3: must be an integer from 20 to"),
        (["--gaussian", "inverse-cdf", "--count", "lots"], "--count = 'lots': must be an integer from 20 to"),
        (["--gaussian", "inverse-cdf", "--bundle", "there"], "--bundle = 'there': must be left out with --gaussian"),
        (["--lanes", "2"], "--lanes = 2: must be left out without --gaussian"),
        (["--seeds", "2"], "--seeds = 2: must be left out without --gaussian"),
        (["--count", "1e6"], "--count = '1e6': must be left out without --gaussian"),
    ],
)
def test_bad_words_are_refused_by_name(words, message, capsys):
    assert main(["cosim", *words]) == 2
    assert message in capsys.readouterr().err


QUIET = Scenario()
STALLED = Scenario("random stalls", random_stalls(0.3, 5), random_stalls(0.5, 6))
BOX_MULLER, INVERSE_CDF = SourceConfig("box-muller", 4), SourceConfig("inverse-cdf", 3)


def simulate(config, scenario, seed=9, transfers=240):
    """The case and its comparison, in Amaranth's simulator."""
    job = source_job(config, seed, transfers, 0, scenario)
    (run,) = run_elaborated(AxiGaussianSource(config), [job])
    case = Case(Design("gaussian", ""), job, "bulk")
    return case, case.compare(run)


def column_one_entry_off(module, name, column, by):
    table = getattr(module, name)
    values = list(getattr(table, column))
    return patch.object(module, name, dataclasses.replace(table, **{column: (*values[by:], *values[:by])}))


FAULTS = {
    "a lane's leap one step off": (
        BOX_MULLER,
        QUIET,
        lambda: planted(UniformSource, "elaborate", ", self.lanes)))", ", self.lanes + (index == 2))))"),
    ),
    "an odd lane's draw that of the lane before": (
        BOX_MULLER,
        QUIET,
        lambda: planted(UniformSource, "elaborate", "leap_matrix(component, lane % 2)", "leap_matrix(component, 0)"),
    ),
    "an odd lane's words taken": (
        BOX_MULLER, QUIET, lambda: planted(UniformSource, "elaborate", "(first | ~odd)", "(first | 1)")
    ),
    "a lane's draw one step off": (
        INVERSE_CDF,
        QUIET,
        lambda: planted(
            WindowedUniformSource, "elaborate", "lane * component.shift\n", "max(0, lane - 1) * component.shift\n"
        ),
    ),
    "sines one entry off": (
        BOX_MULLER, QUIET, lambda: column_one_entry_off(box_muller_module, "SINE", "base", 1)
    ),
    "logarithms one entry off": (
        BOX_MULLER, QUIET, lambda: column_one_entry_off(box_muller_module, "LOGARITHM", "base", 1)
    ),
    "quantiles one entry off": (
        INVERSE_CDF,
        QUIET,
        lambda: planted(InverseCdf, "_row", "zip(QUANTILE.base,", "zip((*QUANTILE.base[1:], 0),"),
    ),
    "source advanced under stall": (
        BOX_MULLER,
        STALLED,
        lambda: planted(GaussianSource, "elaborate", "uniform.step.eq(launch)", "uniform.step.eq(uniform.loaded)"),
    ),
    "generator advanced under stall": (
        INVERSE_CDF,
        STALLED,
        lambda: planted(InverseCdfSource, "elaborate", "uniform.loaded & move", "uniform.loaded"),
    ),
    "words of a seed that go on under stall": (
        INVERSE_CDF,
        STALLED,
        lambda: planted(
            WindowedUniformSource,
            "elaborate",
            "last = place == self.lanes - 1",
            "last = place == self.lanes - 1; m.d.sync += place.eq(Mux(last, 0, place + 1))",
        ),
    ),
    "beats dropped under stall": (
        INVERSE_CDF,
        STALLED,
        lambda: planted(AxiGaussianSource, "elaborate", "ready.eq(output.i.ready & usable)", "ready.eq(1)"),
    ),
    "pairs dropped under stall": (
        BOX_MULLER,
        STALLED,
        lambda: planted(AxiGaussianSource, "elaborate", "ready.eq(output.i.ready & usable)", "ready.eq(1)"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("scenario", [QUIET, STALLED], ids=["quiet", "stalled"])
@pytest.mark.parametrize("config", [BOX_MULLER, INVERSE_CDF], ids=["box-muller", "inverse-cdf"])
def test_without_a_fault_nothing_differs(config, scenario):
    _, comparison = simulate(config, scenario)
    assert comparison.equal, comparison.report()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_and_named(fault):
    config, scenario, plant = FAULTS[fault]
    with plant():
        case, comparison = simulate(config, scenario)
        if "under stall" in fault:
            _, quiet = simulate(config, QUIET)
            assert quiet.equal, "without stalls there is nothing to be seen"
    report = case.report(comparison)
    print(f"{fault}\n{report}")
    assert not comparison.equal
    total = 240 * config.lanes
    heading = rf"{config.kind}, {config.lanes} lanes, seed 9, from sample 0, {scenario.name}: "
    assert re.match(heading + rf"\d+ of {total} outputs differ", report)
    assert re.search(r"  sample \d+: expected -?\d+, got -?\d+\n    sample \d+ of seed 9, ", report)


def test_a_lane_whose_draws_are_wrong_differs_in_that_lane():
    """The report's first mismatches are all samples of the faulty generator: those of lane 1, pairs 1, 3, 5..."""
    config, scenario, plant = FAULTS["an odd lane's draw that of the lane before"]
    with plant():
        _, comparison = simulate(config, scenario)
    assert {mismatch.position["sample"] % 4 for mismatch in comparison.first} == {2, 3}


@pytest.mark.parametrize("config", [BOX_MULLER, INVERSE_CDF], ids=["box-muller", "inverse-cdf"])
def test_a_wrong_seed_is_found(config):
    wrong = source_job(config, 9, 50, 0, QUIET)
    vectors = dataclasses.replace(wrong.vectors, configuration=(tuple(config.seed_frame(8)),))
    (run,) = run_elaborated(AxiGaussianSource(config), [dataclasses.replace(wrong, vectors=vectors)])
    assert Case(Design("gaussian", ""), wrong, "bulk").compare(run).differing > 45 * config.lanes


@pytest.mark.parametrize("config", [BOX_MULLER, INVERSE_CDF], ids=["box-muller", "inverse-cdf"])
def test_a_frame_with_a_word_dropped_raises_the_error_port(config):
    job = source_job(config, 9, 5, 0, QUIET)
    kind, _, *words = job.vectors.configuration[0]
    assert kind == FrameKind.SEED
    vectors = dataclasses.replace(job.vectors, configuration=((kind, *words),))
    with pytest.raises(StreamError, match=r"error, cycle \d+: is 0x1"):
        run_elaborated(AxiGaussianSource(config), [dataclasses.replace(job, vectors=vectors)])


def test_an_offer_withdrawn_is_found():
    fault = planted(AxiGaussianSource, "elaborate", "self.m_axis_tvalid.eq(output.o.valid)",
                    "self.m_axis_tvalid.eq(output.o.valid & self.m_axis_tready)")  # fmt: skip
    with fault, pytest.raises(StreamError):
        simulate(INVERSE_CDF, Scenario("patient sink", output_stalls=PATIENT))


@pytest.mark.parametrize("config", [BOX_MULLER, INVERSE_CDF], ids=["box-muller", "inverse-cdf"])
def test_a_sample_is_explained_by_its_draw(config):
    subject = SourceSubject(config, 9, 1000)
    text = subject.explain({"sample": 37})
    draw = int(re.search(r"draw (0x[0-9a-f]{16}): ", text).group(1), 16)
    sample = gaussian.pair(draw)[1] if config.kind == "box-muller" else inverse_cdf.sample(draw)
    assert text.startswith("sample 1037 of seed 9, ")
    assert sample == source_vectors(config, 9, 1, 1036 // 2 * 2).expected_elements[1]


def test_a_case_is_stored_and_loaded(tmp_path):
    job = source_job(INVERSE_CDF, 9, 20, 30, STALLED)
    design = design_of(AxiGaussianSource(INVERSE_CDF), "gaussian")
    again = load(Case(design, job, "bulk").save(tmp_path))
    assert again.job.subject == job.subject and again.job.name == job.name
    assert np.array_equal(again.job.vectors.expected, job.vectors.expected)
