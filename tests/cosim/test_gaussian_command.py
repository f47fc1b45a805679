# amaranth: UnusedElaboratable=no
"""`quietbar verilog gaussian` writes a source that says what it is."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from quietbar.cli import main
from quietbar.contract.sources import KINDS, SourceConfig
from quietbar.integer.sources import source_array
from quietbar_cosim.build import Design
from quietbar_cosim.bulk import Simulator
from quietbar_hw.gaussian import AxiGaussianSource

PAGE = (Path(__file__).parents[2] / "docs" / "gaussian.md").read_text()


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
        (("--seed", "-1"), "--seed = -1: must be an integer from 0 to"),
    ):
        assert main(["verilog", "gaussian", *options, "--folder", str(tmp_path)]) == 2
        assert message in capsys.readouterr().err
    assert main(["verilog", "denoiser", "--lanes", "0", "--folder", str(tmp_path)]) == 2
    assert "folding.lanes = 0: must be an integer from 1 to 64" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_s_example_seeds_a_source_and_gives_its_samples(kind, tmp_path, monkeypatch):
    """The Verilog of docs/gaussian.md as it stands there, with the source and the words that the command writes."""
    assert main(["verilog", "gaussian", "--kind", kind, "--seed", "7", "--folder", str(tmp_path)]) == 0
    example = re.search(r"```verilog\n(.*?)```", PAGE, re.DOTALL).group(1)
    monkeypatch.chdir(tmp_path)
    design = Design("seeded_noise", example + (tmp_path / "quietbar_gaussian.v").read_text())
    with Simulator(design) as simulator:
        for seed in (7, 8):
            words = SourceConfig(kind, 2).seed_frame(seed)
            if seed == 7:
                text = "".join(f"{word:08x}\n" for word in words)
                assert (tmp_path / "quietbar_gaussian_seed.hex").read_text() == text
            found = simulator.run((), frame_beats=1, output_beats=500, reset=True).output
            equal = np.array_equal(found.view("<i2").reshape(-1), source_array(kind, seed, 1000))
            assert equal == (seed == 7), "the words are those of seed 7, of no other"


def test_the_page_s_latencies_are_the_hardware_s():
    stated = re.search(r"offers the first sample: (.*)\.", PAGE).group(1)
    box_muller, inverse_cdf = (AxiGaussianSource(SourceConfig(kind, 2)).latency for kind in KINDS)
    assert stated == f"Box-Muller {box_muller}, inverse CDF {inverse_cdf} cycles"


def test_the_page_s_statistics_are_those_of_the_stored_reports():
    reports = [
        json.loads((Path(__file__).parents[2] / f"docs/results/gaussian-{kind}.json").read_text()) for kind in KINDS
    ]
    rows = dict(re.findall(r"^\| ([^|]+) \| (-?[\d.]+ \| -?[\d.]+) \|", PAGE, re.MULTILINE))
    for first, second in zip(*(report["statistics"] for report in reports), strict=True):
        stated = rows[first["name"]].split(" | ")
        for text, row in zip(stated, (first, second), strict=True):
            places = len(text.partition(".")[2])
            assert row["holds"] and text == f"{row['value']:.{places}f}"
