"""Lines and toggles that benches cover: Verilator's counts read, merged, told by name, and kept."""

import json
from pathlib import Path

import pytest

from quietbar.contract import ConfigurationError, gaussian
from quietbar.contract.crossbar import CONDUCTANCE, LEVEL_FRACTION_BITS, PROGRAMMING
from quietbar_cosim.code_coverage import Point, merge, read_points, signals, summary
from quietbar_cosim.mutants import covering
from quietbar_cosim.mutants.covering import compact, cover, excuse, markdown, open_lines, row
from quietbar_cosim.mutants.kill_table import markdown as kill_table
from quietbar_cosim.mutants.kill_table import rows
from quietbar_cosim.mutants.subjects import SUBJECTS
from quietbar_cosim.mutants.waived import WAIVERS, waiver


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
    assert cover("another", subject, tmp_path, ("bulk",)) == {**record, "part": "another"}, "of the same design"
    assert json.loads((tmp_path / "another.json").read_text())["part"] == "another"
    told = markdown([record], "quietbar coverage")
    assert markdown([compact(record)], "quietbar coverage") == told and "- toggles of `top.inner`: " in told


RECORD = Path(__file__).parents[2] / "docs" / "results" / "coverage.json"


@pytest.fixture(scope="module")
def recorded():
    return {record["part"]: record for record in json.loads(RECORD.read_text())["parts"]}


def test_every_line_is_covered_or_excused_and_every_excuse_is_used(recorded):
    assert set(recorded) == set(SUBJECTS)
    assert not [line for record in recorded.values() for line in open_lines(record)]
    missed = [
        (part, f"{instance}: {told.partition(': ')[2]}")
        for part, record in recorded.items()
        for instance, lines in record["line"]["missed"].items()
        for told in lines
    ]
    assert {waiver(*each) for each in missed} == set(WAIVERS)


def test_the_tables_of_the_document_are_those_of_the_records(recorded):
    document = (RECORD.parents[1] / "verification.md").read_text()
    mutants = json.loads((RECORD.parent / "mutants.json").read_text())["parts"]
    for cells in (*map(row, recorded.values()), *rows(mutants)):
        assert f"\n| {' | '.join(cells)} |\n" in document, cells[0]
    for name, told in (("coverage", markdown), ("mutants", kill_table)):
        record = json.loads((RECORD.parent / f"{name}.json").read_text())
        assert told(record["parts"], record["command"]) == (RECORD.parent / f"{name}.md").read_text()


def test_a_line_that_is_missed_without_an_excuse_is_told(recorded):
    missed = {"top.configuration": ["line 7 else (column 12): if (a) begin", "line 9 case (column 17): 3'h0:"]}
    record = {**recorded["denoiser"], "line": {"points": 9, "covered": 7, "percent": 77.78, "missed": missed}}
    assert open_lines(record) == ["top.configuration: line 7 else (column 12): if (a) begin"]
    assert "1 of 2 excused" in row(record)[2] and "NOT EXCUSED" in markdown([record], "quietbar coverage")
    assert not excuse("resize", "top.configuration", missed["top.configuration"][1]), "of another part"


def test_no_draw_takes_a_level_beyond_what_a_conductance_can_have():
    """Why nothing reaches the line of the programmer that cuts it off there."""
    shift = gaussian.RADIUS_FRACTION_BITS - gaussian.SAMPLE_FRACTION_BITS
    longest = (gaussian.radius(gaussian.exponent(0)) >> shift) + 1
    scale = gaussian.SAMPLE_FRACTION_BITS + LEVEL_FRACTION_BITS
    highest = [
        (level << LEVEL_FRACTION_BITS) + (sigma * longest >> scale) + 1 for level, sigma in enumerate(PROGRAMMING)
    ]
    assert max(highest) < 2800 < CONDUCTANCE.high


@pytest.mark.slow
@pytest.mark.parametrize("name", SUBJECTS)
def test_the_benches_of_a_part_reach_every_line_that_is_not_excused(name, tmp_path):
    assert open_lines(cover(name, SUBJECTS[name](), tmp_path)) == []
