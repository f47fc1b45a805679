"""Lines and toggles that benches cover: Verilator's counts read, merged, told by name, and kept."""

import pytest

from quietbar.contract import ConfigurationError
from quietbar_cosim.code_coverage import Point, merge, read_points, signals, summary
from quietbar_cosim.mutants import covering
from quietbar_cosim.mutants.covering import cover, markdown, row
from quietbar_cosim.mutants.subjects import SUBJECTS


def line(count, **facts):
    return "C '" + "".join(f"\x01{name}\x02{value}" for name, value in facts.items()) + f"' {count}"


def write(path, *counts):
    """A file of three points: a branch, a toggle of a signal with an underscore, and the branch that starts things."""
    points = (
        {"l": 7, "n": 5, "page": "v_branch/top", "o": "if", "h": "TOP.top"},
        {"l": 3, "n": 1, "page": "v_toggle/top", "o": "i___05Fvalid[2]:0->1", "h": "TOP.top.inner"},
        {"l": 6, "n": 5, "page": "v_branch/top", "o": "if", "h": "TOP.top"},
    )
    texts = [line(count, **facts) for count, facts in zip(counts, points, strict=True)]
    path.write_text("\n".join(["# SystemC::Coverage-3", *texts]) + "\n")
    return path


VERILOG = "\n".join(["", "", "wire i;", "", "", "if ($auto$verilog_backend$1) begin end", "if (a) b = 1;"])


def test_counts_of_several_runs_add_up_and_what_is_missed_is_named(tmp_path):
    counts = merge([write(tmp_path / "a.dat", 0, 0, 0), write(tmp_path / "b.dat", 3, 0, 0)])
    assert counts[Point("line", "top", 7, "if (column 5)")] == 3
    found = summary(counts, VERILOG)
    assert found["line"] == {"points": 1, "covered": 1, "percent": 100.0, "missed": {}}
    assert found["toggle"]["percent"] == 0.0
    assert found["toggle"]["missed"] == {"top.inner": ["i__valid[2]:0->1"]}
    assert summary(merge([tmp_path / "a.dat"]), VERILOG)["line"]["missed"] == {
        "top": ["line 7 if (column 5): if (a) b = 1;"]
    }
    assert signals(["i[2]:0->1", "i[2]:1->0", "ready:0->1"]) == ["i (2)", "ready (1)"]


def test_another_file_is_refused(tmp_path):
    (tmp_path / "a.dat").write_text("C 'x' 1\n")
    with pytest.raises(ConfigurationError, match="coverage"):
        read_points(tmp_path / "a.dat")


def test_a_part_s_benches_are_run_counted_and_kept(tmp_path, monkeypatch):
    subject = SUBJECTS["resize"]()
    record = cover("resize", subject, tmp_path, ("bulk",))
    assert record["line"]["percent"] == 100.0 and record["line"]["points"] > 5
    assert 90 < record["toggle"]["percent"] < 100
    # The product of the part's number and 8, the amount of a shift, has three bits that are always 0.
    assert any("[0]:0->1" in what for what in record["toggle"]["missed"]["top.inner"])
    (bench,) = record["benches"]
    assert bench["name"] == "bulk" and bench["compared"] > bench["random"] > 0
    assert "resize | bulk (" in markdown([record], "quietbar coverage") and row(record)[2].startswith("100.0 %")

    monkeypatch.setattr(covering, "merge", lambda files: pytest.fail("it is known"))
    assert cover("resize", subject, tmp_path, ("bulk",)) == record
