"""`quietbar verilog gaussian` writes a source that says what it is."""

import json

from quietbar.cli import main


def test_writes_the_source_asked_for(tmp_path, capsys):
    command = ["verilog", "gaussian", "--kind", "inverse-cdf", "--lanes", "2", "--folder", str(tmp_path)]
    assert main(command) == 0
    assert "quietbar_gaussian.v: inverse-cdf, 2 samples a transfer; 11 words seed it" in capsys.readouterr().out
    manifest = json.loads((tmp_path / "quietbar_gaussian.json").read_text())
    assert manifest["parameters"]["config"] == {"kind": "inverse-cdf", "lanes": 2}
    assert {"name": "m_axis_tdata", "direction": "output", "width": 32} in manifest["ports"]


def test_refuses_a_source_that_is_not_there(tmp_path, capsys):
    for options, message in (
        (("--kind", "clt"), "gaussian.kind = 'clt': must be one of 'box-muller', 'inverse-cdf'"),
        (("--lanes", "3"), "gaussian.lanes = 3: must be 1 or an even number"),
        (("--lanes", "0"), "gaussian.lanes = 0: must be an integer from 1 to 64"),
    ):
        assert main(["verilog", "gaussian", *options, "--folder", str(tmp_path)]) == 2
        assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
