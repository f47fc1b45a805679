"""`quietbar cosim`: a bundle's blocks in every scenario, a table when all is equal, a report and status 1 when not."""

import json
import re

import pytest

from quietbar.cli import main
from quietbar.contract import BlockConfig
from quietbar.integer import Bundle, IntegerTap, Scales, random_parameters, run_block


@pytest.fixture
def bundle(tmp_path, monkeypatch):
    # Records and cases go to a folder of the test's own; simulators stay where other tests find them.
    monkeypatch.setattr("quietbar_cosim.replay.build_root", lambda: tmp_path)
    scales = Scales(activation=0.1, reduce=0.1, spatial=0.1)
    parameters = random_parameters(BlockConfig(8, 2, 6, 5), 3)
    Bundle({"layer1.0": IntegerTap("layer1.0", parameters, scales)}).save(tmp_path / "bundle")
    return tmp_path / "bundle"


def test_equal_bits_make_a_table_and_a_record(bundle, capsys):
    assert main(["cosim", "--bundle", str(bundle), "--tier", "bulk", "--seed", "5"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("seed 5\n")
    for scenario in ("no stalls", "random stalls", "bursty stalls", "patient sink"):
        assert re.search(rf"tap layer1\.0, {scenario} +1,200 +9,600 +0 +\d+", printed)
    lines = (bundle.parent / "cosim" / "command_tap_layer1.0.jsonl").read_text().splitlines()
    assert [json.loads(line)["differing"] for line in lines] == [0, 0, 0, 0]


def test_a_bit_that_differs_is_reported_with_its_replay(bundle, capsys, monkeypatch):
    def reference_off_by_one(config, parameters, frames, *arguments, trace=False):
        if trace:
            return run_block(config, parameters, frames, *arguments, trace=True)
        wrong = run_block(config, parameters, frames, *arguments)
        wrong[1, 2, 3, 4] ^= 1
        return wrong

    monkeypatch.setattr("quietbar_cosim.blocks.run_block", reference_off_by_one)
    assert main(["cosim", "--bundle", str(bundle), "--tier", "bulk"]) == 1
    report = capsys.readouterr().err
    assert "tap layer1.0, no stalls: 1 of 1200 outputs differ (1 of 9600 bits)" in report
    assert "frame 1, row 3, column 4, channel 2: expected" in report
    assert re.search(r"replay: quietbar replay \S+/replay/[0-9a-f]{12}", report)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tap", "layer9"], "bundle.tap = 'layer9': must be one of 'layer1.0'"),
        (["--tier", "spice"], "--tier = 'spice': must be one of 'cocotb', 'bulk'"),
        (["--seed", "-1"], "--seed = -1: must be an integer from 0"),
    ],
)
def test_bad_words_are_refused_by_name(bundle, capsys, words, message):
    assert main(["cosim", "--bundle", str(bundle), *words]) == 2
    assert message in capsys.readouterr().err
