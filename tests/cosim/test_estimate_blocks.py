"""The estimate of the engine's share, from the result of a run."""

import json
from pathlib import Path

import pytest

from quietbar.cli import main

RESULTS = Path(__file__).parents[2] / "docs/results"


def test_the_share_of_a_run_is_printed_and_written(capsys, tmp_path):
    file = tmp_path / "share.json"
    assert main(["estimate-blocks", str(RESULTS / "digits.json"), "--json", str(file)]) == 0
    printed = capsys.readouterr().out
    found = json.loads(file.read_text())
    taps = [entry["tap"] for entry in json.loads((RESULTS / "digits.json").read_text())["blocks"]]
    assert [block["name"] for block in found["blocks"]] == taps
    assert all(tap in printed for tap in taps)
    assert all(block["cycles"] > block["steady"] for block in found["blocks"]), "alone, a frame fills and drains"
    assert f"{found['shares']['energy']:.1%}" in printed
    assert all(0 < share < 1 for share in found["shares"].values())


@pytest.mark.parametrize("text", ["{}", "[", '{"recipe": {"blocks": {}}, "blocks": [{"shape": "?"}]}'])
def test_what_is_no_run_is_refused(capsys, tmp_path, text):
    (tmp_path / "result.json").write_text(text)
    assert main(["estimate-blocks", str(tmp_path / "result.json")]) == 2
    told = capsys.readouterr().err
    assert "not the JSON of a run" in told
    assert text != "{}" or "it has no 'recipe'" in told
    assert main(["estimate-blocks", str(tmp_path / "nowhere.json")]) == 2
    assert "No such file" in capsys.readouterr().err
