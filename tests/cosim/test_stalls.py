"""Stall patterns: repeatable, as dense as asked, and refused where they would never let go."""

from itertools import islice, pairwise

import pytest

from quietbar.contract.errors import ConfigurationError
from quietbar_cosim.stalls import NO_STALLS, Stalls, bursty_stalls, random_stalls


def pattern(stalls, count=20_000):
    return list(islice(stalls.cycles(), count))


def test_no_stalls_never_stall():
    assert not any(pattern(NO_STALLS))


@pytest.mark.parametrize("stalls", [random_stalls(0.3, 5), bursty_stalls(5)])
def test_a_seed_repeats_its_pattern(stalls):
    assert pattern(stalls) == pattern(stalls)


def test_another_seed_gives_another_pattern():
    assert pattern(random_stalls(0.5, 1)) != pattern(random_stalls(0.5, 2))
    assert pattern(bursty_stalls(1)) != pattern(bursty_stalls(2))


def test_random_stalls_are_as_dense_as_asked():
    # Four standard deviations of a binomial count.
    assert abs(sum(pattern(random_stalls(0.3, 7))) - 6000) < 4 * (20_000 * 0.3 * 0.7) ** 0.5


def test_bursts_last_from_one_to_32_cycles():
    cycles = pattern(bursty_stalls(9))
    lengths, run = set(), 1
    for before, now in pairwise(cycles):
        if before == now:
            run += 1
        else:
            lengths.add(run)
            run = 1
    assert lengths == {1, 2, 4, 8, 16, 32}


def test_a_pattern_that_always_stalls_is_refused():
    with pytest.raises(ConfigurationError, match=r"stalls.probability = 1.0: must be in \[0, 1\)"):
        Stalls("random", 1.0)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ConfigurationError, match=r"stalls\.kind = 'often'"):
        Stalls("often")
