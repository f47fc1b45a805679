"""The bitstream of the board's example, by the real tools: it fits, is fast enough, and is made once."""

import importlib.util
import json

import pytest

from quietbar_hw.board.bitstream import NAME, Build, build
from quietbar_hw.board.ulx3s import BOARD_ENGINE
from quietbar_hw.synthesis import SynthesisError


@pytest.mark.slow
def test_the_bitstream_fits_is_fast_enough_and_made_once(tmp_path):
    if importlib.util.find_spec("amaranth_boards") is None:
        pytest.skip("amaranth-boards is not installed: pip install 'quietbar[board]'")
    what, said = Build(BOARD_ENGINE, "25F"), []
    found = build(what, tmp_path, said.append)
    assert found["fmax_mhz"] >= what.pll.mhz
    assert 60.0 in found["constraint_mhz"], "nextpnr derives the clock from the loop's dividers"
    assert all(used <= available for used, available in found["used_of_device"].values())
    first = (tmp_path / f"{NAME}.bit").read_bytes()
    assert first[:2] == b"\xff\x00", "the comments that begin a Lattice bitstream"
    assert len(said) == 3

    # What is whole is not made again.
    said.clear()
    assert build(what, tmp_path, said.append) == found
    assert said == []
    for folder in (tmp_path / "kept").iterdir():
        if (folder / f"{NAME}.bit").is_file():
            report = json.loads((folder / "report.json").read_text())
            for clock in report["fmax"].values():
                clock["achieved"] = 59.9
            (folder / "report.json").write_text(json.dumps(report))
    with pytest.raises(SynthesisError, match=r"runs at 59.9 MHz, less than its clock of 60"):
        build(what, tmp_path, said.append)
