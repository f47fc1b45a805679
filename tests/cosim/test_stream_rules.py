"""The stream rules, on traces written by hand: each rule broken once, and named with its cycle and signal."""

import pytest

from quietbar_cosim.rules import StreamError, StreamRules


def observe(trace, frame_beats=None):
    """Feed (valid, ready, payload, last) cycle by cycle; the payloads taken."""
    rules, taken = StreamRules("m_axis", frame_beats), []
    for cycle, (valid, ready, payload, last) in enumerate(trace):
        if rules.observe(cycle, valid, ready, payload, last):
            taken.append(payload)
    return taken


def test_a_beat_is_taken_where_valid_and_ready_meet():
    trace = [(0, 1, 7, 0), (1, 0, 8, 0), (1, 0, 8, 0), (1, 1, 8, 0), (1, 1, 9, 1), (0, 0, None, None)]
    assert observe(trace, frame_beats=2) == [8, 9]


@pytest.mark.parametrize(
    ("trace", "message"),
    [
        ([(None, 1, 0, 0)], "m_axis_tvalid, cycle 0: is X"),
        ([(0, None, 0, 0)], "m_axis_tready, cycle 0: is X"),
        ([(1, 1, None, 0)], "m_axis_tdata, cycle 0: holds an X while tvalid is high"),
        ([(1, 0, 5, 0), (0, 1, 5, 0)], "m_axis_tvalid, cycle 1: fell before the waiting beat was taken"),
        ([(1, 0, 5, 0), (1, 1, 6, 0)], "m_axis_tdata, cycle 1: changed from 0x5 to 0x6 while stalled"),
        ([(1, 0, 5, False), (1, 1, 5, True)], "m_axis_tlast, cycle 1: changed from False to True while stalled"),
    ],
)
def test_a_broken_rule_is_named_with_signal_and_cycle(trace, message):
    with pytest.raises(StreamError) as caught:
        observe(trace)
    assert str(caught.value) == message


def test_last_one_beat_early_is_named_with_its_frame():
    first, second = [(1, 1, 0, 0), (1, 1, 0, 0), (1, 1, 0, 1)], [(1, 1, 0, 0), (1, 1, 0, 1), (1, 1, 0, 0)]
    with pytest.raises(StreamError, match=r"m_axis_tlast, cycle 4: is high on beat 2 of 3 of frame 1"):
        observe(first + second, frame_beats=3)


def test_last_missing_is_named_with_its_frame():
    with pytest.raises(StreamError, match=r"m_axis_tlast, cycle 1: is low on beat 2 of 2 of frame 0"):
        observe([(1, 1, 0, 0), (1, 1, 0, 0)], frame_beats=2)


def test_after_a_reset_nothing_waits_and_a_frame_begins():
    rules = StreamRules("m_axis", frame_beats=2)
    rules.observe(0, True, True, 1, False)
    rules.observe(1, True, False, 2, True)
    rules.forget()
    assert not rules.observe(2, False, True, None, None)
    assert rules.observe(3, True, True, 3, False)
