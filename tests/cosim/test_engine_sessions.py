"""Engines under independent AXI masters and slaves: random sessions, their coverage, and faults that they catch."""

import copy

import pytest

from quietbar_cosim.coverage import Coverage
from quietbar_cosim.engine_checks import SessionError, check, observe
from quietbar_cosim.engine_coverage import REQUIRED, collect
from quietbar_cosim.engine_sessions import random_session

REGRESSION = (48, 7, 11, 1, 9)
"""Seeds that together hit every required bin."""


@pytest.fixture(scope="module")
def first():
    """A session and what came of it."""
    session = random_session(REGRESSION[0])
    return session, observe(session)


def test_a_random_session_holds(first):
    assert check(*first) > 50


def spoil_beat(observation):
    observation["beats"][-1][0] ^= 1


def lose_beat(observation):
    del observation["beats"][0]


def delay_beat(observation):
    place = next(at for at, state in enumerate(observation["trace"]) if state & 0b1100 == 0b1100)
    observation["trace"].insert(place, 0b0100)


def miscount(observation):
    observation["counters"]["frames"] += 1


def miss_saturation(observation):
    observation["counters"]["output_saturations"] += 1


def keep_error(observation):
    observation["errors"] ^= 1


def raise_interrupt(observation):
    observation["irq"] ^= 1


FAULTS = {
    "a bit": ("traffic", spoil_beat, "beat .* expected"),
    "a beat lost": ("traffic", lose_beat, "number of beats"),
    "a cycle late": ("traffic", delay_beat, "the model says"),
    "a counter": ("status", miscount, "counter frames"),
    "a saturation": ("status", miss_saturation, "counter output_saturations"),
    "a cause": ("status", keep_error, "errors"),
    "the interrupt": ("status", raise_interrupt, "irq"),
}


@pytest.mark.parametrize(("step", "fault", "message"), FAULTS.values(), ids=FAULTS)
def test_what_differs_is_found_and_told_with_the_command_that_runs_it_again(first, step, fault, message):
    session, observations = first
    observations = copy.deepcopy(observations)
    fault(next(seen for each, seen in zip(session.steps, observations, strict=True)
               if each.do == step and (step == "status" or ("order" in each.expected and seen["beats"]))))  # fmt: skip
    with pytest.raises(SessionError, match=message) as caught:
        check(session, observations)
    assert f"quietbar cosim engine --seed {session.seed}" in str(caught.value)


def test_a_bin_that_nothing_hit_is_missing():
    coverage = Coverage({"frame": ("1 x 1", "one row")})
    coverage.add([("frame", "1 x 1"), ("frame", "of another kind")])
    assert coverage.missing == [("frame", "one row")]
    assert coverage.rows() == [["frame", "1 of 2", "1 x 1: 1, one row: 0, of another kind: 1"]]


@pytest.mark.slow
def test_the_regression_hits_every_required_bin():
    coverage = Coverage(REQUIRED)
    for seed in REGRESSION:
        session = random_session(seed)
        observations = observe(session)
        check(session, observations)
        collect(coverage, session, observations)
    assert not coverage.missing
