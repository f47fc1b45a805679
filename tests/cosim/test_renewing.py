"""Records of all parts, renewed part by part."""

import json

import pytest

from quietbar.contract import ConfigurationError
from quietbar_cosim.mutants.renewing import renewed
from quietbar_cosim.mutants.subjects import SUBJECTS

COMMAND = "quietbar mutate --count 4"


@pytest.fixture
def record(tmp_path):
    """Of three parts."""
    path = tmp_path / "mutants.json"
    parts = [{"subject": name, "run": 1} for name in ("requantizer", "resize", "crossbar")]
    path.write_text(json.dumps({"command": COMMAND, "parts": parts}))
    return path


def test_parts_that_were_run_anew_take_their_places_and_the_others_stay(record):
    parts = renewed(record, "subject", COMMAND, [{"subject": name, "run": 2} for name in ("crossbar", "line_buffer")])
    assert [(facts["subject"], facts["run"]) for facts in parts] == [
        ("requantizer", 1), ("line_buffer", 2), ("resize", 1), ("crossbar", 2)
    ]  # fmt: skip


def test_without_a_record_there_are_those_that_were_run(tmp_path):
    assert renewed(tmp_path / "none.json", "part", COMMAND, [{"part": "resize"}]) == [{"part": "resize"}]


def test_parts_that_another_command_made_are_not_kept(record):
    other = "quietbar mutate --count 6"
    with pytest.raises(ConfigurationError, match=r"mutants.json = 'to be renewed by `quietbar mutate --count 6`'"):
        renewed(record, "subject", other, [{"subject": "resize"}])
    everything = [{"subject": name} for name in SUBJECTS]
    assert renewed(record, "subject", other, everything) == everything
