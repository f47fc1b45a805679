"""Both sources are normal as far as a short run can tell, whatever is wrong with samples shows, and runs resume."""

import json
import random

import numpy as np
import pytest
from scipy import stats

from quietbar.cli import main
from quietbar.contract import ConfigurationError
from quietbar.contract.gaussian import exponent, radius
from quietbar.contract.inverse_cdf import QUANTILE, QuadraticTable
from quietbar.contract.sources import KINDS
from quietbar.gaussian_quality import exact, run, tally
from quietbar.gaussian_quality.run import Plan
from quietbar.gaussian_quality.tally import LAGS, UNIT, VALUES, Tally, count_samples
from quietbar.gaussian_quality.verdict import (
    chi_square,
    grid_probabilities,
    judge,
    lane_correlations,
    sixteenths,
    units,
)
from quietbar.integer.sources import source_array

COUNT = 1 << 21
ROWS = 17


def equal(first, second) -> bool:
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in vars(first))


def outside(counted) -> list[str]:
    return [row.name for row in judge(counted) if not row.holds]


@pytest.mark.parametrize("kind", KINDS)
def test_samples_are_standard_normal_and_uncorrelated(kind) -> None:
    counted = count_samples(kind, 2026, 0, COUNT)
    assert counted.samples == COUNT and len(list(judge(counted))) == ROWS
    assert outside(counted) == []


def test_counts_and_products_are_those_of_the_definition(monkeypatch) -> None:
    """Also across the ends of pieces; the last samples reach into what follows."""
    monkeypatch.setattr(tally, "PIECE", 4 * LAGS)
    count, start = 10 * LAGS, 3 * LAGS
    counted = count_samples("box-muller", 5, start, count)
    samples = source_array("box-muller", 5, count + LAGS, start).astype(object)
    values, number = np.unique(samples[:count].astype(np.int64), return_counts=True)
    assert np.array_equal(counted.counts[values - VALUES[0]], number) and counted.samples == count
    squares = (samples * samples + UNIT // 2) // UNIT - UNIT
    for lag in range(LAGS + 1):
        assert counted.products[lag] == samples[:count] @ samples[lag : count + lag]
        assert counted.squares[lag] == squares[:count] @ squares[lag : count + lag]
    blocks = samples[:count].reshape(-1, LAGS)
    assert np.array_equal(counted.lanes, (blocks.T @ blocks).astype(np.int64))


def test_lanes_are_correlated_as_they_stand_side_by_side() -> None:
    """Four lanes of which the first and the third are the same."""

    def source(kind, seed, count, start):
        samples = source_array(kind, seed, count, start).reshape(-1, 4).copy()
        samples[:, 2] = samples[:, 0]
        return samples.reshape(-1)

    counted = count_samples("box-muller", 1, 0, 1 << 18, source)
    pairs = lane_correlations(counted, 4) / np.sqrt((1 << 18) / 4)
    assert pairs[1] == pytest.approx(1, abs=0.02), "lanes 0 and 2"
    assert np.abs(np.delete(pairs, 1)).max() < 0.02


DEFECTS = {
    "mean": lambda samples: samples + 8,
    "variance": lambda samples: samples + samples // 128,
    "third moment": lambda samples: np.where(samples > 3 * UNIT, samples + 800, samples),
    "beyond 4 sigma": lambda samples: np.clip(samples, 1 - 4 * UNIT, 4 * UNIT - 1),
    "chi-square, 128 bins of 1/16 sigma": lambda samples: np.where(samples // 128 % 2 == 0, samples + 2, samples),
    "chi-square, one unit": lambda samples: samples - samples % 64 % 2,
    "Kolmogorov-Smirnov": lambda samples: samples + 10,
    "autocorrelation, ": lambda samples: np.repeat(samples[::2], 2),
    "autocorrelation of squares": lambda samples: samples + samples * np.abs(np.roll(samples, 1)) // (50 * UNIT),
    "correlation of 8 lanes": lambda samples: samples + np.roll(samples, 3) // 50,
}  # fmt: skip


@pytest.mark.parametrize("statistic", DEFECTS)
def test_a_defect_of_the_samples_shows(statistic) -> None:
    def source(*arguments):
        return DEFECTS[statistic](source_array(*arguments).astype(np.int64)).clip(-32768, 32767).astype(np.int16)

    assert any(name.startswith(statistic) for name in outside(count_samples("box-muller", 3, 0, COUNT, source)))


def test_a_tail_that_is_cut_at_six_sigma_shows() -> None:
    """At a count at which the tail matters, made from the ideal distribution."""
    ideal = np.diff(np.round(np.cumsum(grid_probabilities()) * 1e10), prepend=0).astype(np.int64)
    nothing = Tally.empty()
    assert "beyond 6 sigma" not in outside(Tally(ideal, nothing.products, nothing.squares, nothing.lanes))
    ideal[np.abs(VALUES) >= 6 * UNIT] = 0
    assert "beyond 6 sigma" in outside(Tally(ideal, nothing.products, nothing.squares, nothing.lanes))


@pytest.mark.parametrize("kind", KINDS)
def test_the_exact_distribution_is_the_one_that_is_sampled(kind) -> None:
    """Bin by bin of one unit, and in that no value was sampled that has no probability."""
    probabilities = exact.probabilities_of(kind)
    assert probabilities.sum() == pytest.approx(1, abs=1e-12)
    assert np.array_equal(probabilities[1:], probabilities[:0:-1]), "as many below zero as above"
    counted = count_samples(kind, 8, 0, COUNT)
    expected = COUNT * probabilities
    for edges in (sixteenths(), units(expected)):
        assert chi_square(counted.counts, expected, edges) < stats.chi2.ppf(0.999, len(edges) - 1)
    assert not counted.counts[probabilities == 0].any()


def test_the_largest_values_of_the_exact_distribution_are_those_of_the_contract() -> None:
    for kind, largest in (("box-muller", 16706), ("inverse-cdf", 15391)):
        assert np.abs(VALUES[exact.probabilities_of(kind) > 0]).max() == largest


def test_the_radii_of_box_muller_are_counted_as_the_contract_makes_them() -> None:
    """Over all octaves, on as many words of each as a loop can take."""
    generator, found = random.Random(4), np.zeros(1 << 17)
    for zeros in range(48):
        for _ in range(400):
            word = 1 << 47 - zeros | generator.getrandbits(47 - zeros)
            found[radius(exponent(word))] += 1
    probabilities = exact._radii()
    assert probabilities.sum() == pytest.approx(1, abs=1e-12) and not found[probabilities == 0].any()
    steps = np.arange(1, 1 << 17) / 2**13
    ideal = -np.expm1(-(steps**2) / 2)
    assert np.abs(np.cumsum(probabilities)[:-1] - ideal)[1:].max() < 1e-4


@pytest.mark.parametrize(("kind", "variance", "fourth", "distance", "tail"), [
    ("box-muller", 6.5e-6, 4e-5, 1.1e-6, 8.1e-5), ("inverse-cdf", 9e-7, 4e-6, 6e-7, 2e-5),
])  # fmt: skip
def test_the_exact_distributions_are_as_near_as_the_page_says(kind, variance, fourth, distance, tail) -> None:
    found = exact.deviation(exact.probabilities_of(kind))
    assert abs(found.variance) < variance and abs(found.fourth_moment) < fourth and found.distance < distance
    assert max(map(abs, found.tails)) < tail
    assert found.visible_from > 1e11


def test_a_table_entry_one_off_moves_the_exact_distribution(monkeypatch) -> None:
    clean = exact._inverse_cdf()
    base = list(QUANTILE.base)
    base[400] += 512
    monkeypatch.setattr(exact, "QUANTILE", QuadraticTable(tuple(base), QUANTILE.slope, QUANTILE.curve))
    assert np.abs(exact._inverse_cdf() - clean).sum() > 5e-4


@pytest.fixture
def plan(monkeypatch) -> Plan:
    """A run of eight parts, kept after each."""
    monkeypatch.setattr(run, "PART", 1 << 13)
    monkeypatch.setattr(run, "KEEP_EVERY", -1.0)
    return Plan("inverse-cdf", 3, 1 << 16)


@pytest.mark.parametrize("stop_after", [1, 4, 7])
def test_a_run_that_is_stopped_goes_on(plan, tmp_path, monkeypatch, stop_after) -> None:
    whole, counted = run.run(plan, tmp_path / "whole"), []
    correct = run.count_samples

    def count(*arguments):
        if len(counted) == stop_after:
            raise KeyboardInterrupt
        counted.append(arguments)
        return correct(*arguments)

    monkeypatch.setattr(run, "count_samples", count)
    with pytest.raises(KeyboardInterrupt):
        run.run(plan, tmp_path / "stopped")
    monkeypatch.setattr(run, "count_samples", lambda *arguments: counted.append(arguments) or correct(*arguments))
    assert equal(run.run(plan, tmp_path / "stopped"), whole)
    assert len(counted) == len(set(counted)) == 8, "no part is counted twice"
    assert equal(whole, count_samples("inverse-cdf", 3, 0, 1 << 16)), "and parts are no different from the whole"
    assert equal(run.run(plan, tmp_path / "stopped"), whole) and len(counted) == 8, "nothing is left to count"


def test_processes_count_what_one_counts(plan, tmp_path) -> None:
    assert equal(run.run(plan, tmp_path / "two", jobs=2), run.run(plan, tmp_path / "one"))


def test_what_another_contract_counted_is_not_added_to(plan, tmp_path, monkeypatch) -> None:
    whole = run.run(plan, tmp_path)
    correct = run.source_array
    monkeypatch.setattr(run, "source_array", lambda *arguments: correct(*arguments) + 1)
    monkeypatch.setattr(run, "count_samples", lambda *arguments: Tally.empty())
    assert run.run(plan, tmp_path).samples == 0
    monkeypatch.undo()
    (tmp_path / "tally.npz").write_bytes(b"half a fi")
    assert equal(run.run(Plan("inverse-cdf", 3, 1 << 16), tmp_path), whole), "a damaged file counts for nothing"


def report(folder, *options) -> int:
    return main(["gaussian-report", "--count", "65536", "--folder", str(folder), *options])


@pytest.mark.parametrize("kind", KINDS)
def test_the_report_is_printed_and_written(kind, tmp_path, capsys) -> None:
    assert report(tmp_path, "--kind", kind) == 0
    printed = capsys.readouterr().out
    assert f"{kind}, seed 1, 65,536 samples" in printed and "OUTSIDE" not in printed
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["kind"] == kind and len(found["statistics"]) == ROWS and sum(found["sixteenths"]) == 65536
    assert found["exact distribution"]["chi-square visible from"] > 1e11 and "exact distribution: variance" in printed
    first = (tmp_path / "report.svg").read_text()
    assert first.startswith("<?xml") and f"{kind}, seed 1, 65,536 samples" in first
    assert report(tmp_path, "--kind", kind) == 0
    assert (tmp_path / "report.svg").read_text() == first, "the same tally gives the same picture"


def test_what_is_outside_its_limits_is_told(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(run, "count_samples", lambda *arguments: count_samples(*arguments, lambda *_: source()))

    def source():
        return source_array("box-muller", 1, 65536 + LAGS) + np.int16(40)

    assert report(tmp_path) == 1
    assert "OUTSIDE" in capsys.readouterr().out
    rows = json.loads((tmp_path / "report.json").read_text())["statistics"]
    assert not rows[0]["holds"] and rows[0]["name"].startswith("mean")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--kind", "clt"), "--kind = 'clt': must be one of 'box-muller', 'inverse-cdf'"),
        (("--seed", "-1"), "--seed = -1: must be an integer from 0 to"),
        (("--count", "1e3"), "--count = 1000: must be an integer from 16384 to"),
        (("--count", "65537"), "--count = 65537: must be a multiple of 64"),
        (("--count", "many"), "--count = 'many': must be an integer"),
        (("--count", "nan"), "--count = 'nan': must be an integer"),
        (("--count", "1e400"), "--count = '1e400': must be an integer"),
        (("--count", "20000.5"), "--count = '20000.5': must be an integer"),
        (("--jobs", "0"), "--jobs = 0: must be an integer from 1 to 256"),
    ],
)
def test_bad_arguments_are_refused_by_name(options, message, tmp_path, capsys) -> None:
    assert report(tmp_path / "folder", *options) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "folder").exists()


def test_a_folder_that_is_a_file_is_refused(tmp_path, capsys) -> None:
    (tmp_path / "taken").write_text("mine")
    assert report(tmp_path / "taken") == 2
    assert "--folder" in capsys.readouterr().err and (tmp_path / "taken").read_text() == "mine"


def test_a_plan_has_a_name_of_its_own() -> None:
    plans = [Plan(kind, seed, count) for kind in KINDS for seed in (1, 2) for count in (1 << 14, 1 << 15)]
    assert len({plan.name for plan in plans}) == 8
    with pytest.raises(ConfigurationError, match="--kind = 'clt'"):
        Plan("clt", 1, 1 << 14)
