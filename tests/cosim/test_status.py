"""The table of blocks says what records say, and nothing without one."""

import json

import pytest

from quietbar.cli import main
from quietbar_cosim.status import BLOCKS, COLUMNS, EARLIER, NOT_RUN, hardware_of, markdown, table

NOW = "0123456789abcdef"
"""The fingerprint of every part's hardware in these tests."""


@pytest.fixture
def root(tmp_path):
    (tmp_path / "docs").mkdir()
    return tmp_path


def cells(root, title):
    found = next(row for row in table(root, lambda part: NOW) if row[0] == title)
    return dict(zip(COLUMNS, found[1:], strict=True))


def record(root, place, facts):
    path = root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(facts))


def test_without_records_nothing_is_said_to_be_done(root):
    assert [row[1:] for row in table(root)] == [[NOT_RUN] * len(COLUMNS)] * len(BLOCKS)
    assert "yes" not in markdown(root).split("| block |")[1]


@pytest.mark.parametrize("text", ["", "{"])
def test_a_record_that_is_not_whole_is_none(root, text):
    record(root, "build/coverage/requantizer.json", {})
    (root / "build/coverage/requantizer.json").write_text(text)
    assert set(cells(root, "requantizer").values()) == {NOT_RUN}


COVERED = {
    "part": "requantizer",
    "hardware": NOW,
    "linted": "verilator --lint-only -Wall",
    "benches": [{"name": "bulk", "compared": 4000, "random": 2000, "unit": "bits"}],
    "line": {"points": 10, "percent": 90.0},
    "toggle": {"points": 100, "percent": 75.5},
    "functional": None,
}


def test_a_record_fills_its_cells_and_no_others(root):
    record(root, "build/coverage/requantizer.json", COVERED)
    found = cells(root, "requantizer")
    assert found["linted"] == "yes" and found["simulated"] == "4,000 bits" and found["random"] == "2,000 bits"
    assert found["covered"] == "90.0 % lines, 75.5 % toggles"
    assert found["mutants"] == found["proven"] == found["synthesised"] == found["specified"] == NOT_RUN
    assert set(cells(root, "engine").values()) == {NOT_RUN}


@pytest.mark.parametrize(
    ("lost", "column"), [("linted", "linted"), ("benches", "simulated"), ("benches", "random"), ("toggle", "covered")]
)
def test_a_field_that_is_missing_is_not_run(root, lost, column):
    record(root, "build/coverage/requantizer.json", {name: value for name, value in COVERED.items() if name != lost})
    assert cells(root, "requantizer")[column] == NOT_RUN


def test_a_block_of_two_parts_needs_both(root):
    record(root, "build/coverage/core_dense.json", COVERED)
    assert cells(root, "3x3 core")["linted"] == NOT_RUN
    record(root, "build/coverage/core_depthwise.json", COVERED)
    assert cells(root, "3x3 core")["linted"] == "yes"


def mutants(*found, equivalent=None):
    listed = [{"found": each, "equivalent": equivalent} for each in found]
    return {"hardware": NOW, "sound": {"bulk": ""}, "mutants": listed}


def test_mutants_count_once_all_were_run_and_equal_ones_apart(root):
    record(root, "build/mutants/requantizer.json", mutants({"bulk": "differs"}, {}))
    assert cells(root, "requantizer")["mutants"] == NOT_RUN
    record(root, "build/mutants/requantizer.json", mutants({"bulk": "differs"}, {"bulk": ""}))
    assert cells(root, "requantizer")["mutants"] == "1 of 2 caught"
    record(root, "build/mutants/requantizer.json", mutants({"bulk": ""}, {"bulk": ""}, equivalent=True))
    assert cells(root, "requantizer")["mutants"] == "0 of 0 caught, 2 equal"


def test_a_record_of_other_hardware_is_told(root):
    record(root, "build/coverage/requantizer.json", {**COVERED, "hardware": "another"})
    record(root, "build/mutants/requantizer.json", mutants({"bulk": "differs"}))
    found = cells(root, "requantizer")
    assert found["linted"] == f"yes ({EARLIER})" and found["covered"].endswith(f"({EARLIER})")
    assert found["mutants"] == "1 of 1 caught"
    assert hardware_of("resize") != hardware_of("register_slice") and len(hardware_of("resize")) == len(NOW)


def test_explained_mutants_count_apart(root):
    found = mutants({"bulk": "differs"}, {"bulk": ""})
    found["mutants"][1]["explained"] = "nobody looks"
    record(root, "build/mutants/requantizer.json", found)
    assert cells(root, "requantizer")["mutants"] == "1 of 1 caught, 1 explained"


def test_proofs_that_fail_prove_nothing(root):
    proof = {"name": "requantizer/equal", "method": "bounded", "holds": False}
    record(root, "docs/results/formal.json", {"properties": [proof]})
    assert cells(root, "requantizer")["proven"] == NOT_RUN
    record(root, "docs/results/formal.json", {"properties": [{**proof, "holds": True}]})
    assert cells(root, "requantizer")["proven"] == "1 bounded"
    rules = {"name": "streams/conv MatrixVectorUnit", "method": "induction", "holds": True}
    record(root, "build/formal/formal.json", {"properties": [rules]})
    assert cells(root, "requantizer")["proven"] == "1 bounded", "a run of some properties does not undo the rest"
    assert cells(root, "3x3 core")["proven"] == "1 by induction"
    record(root, "build/formal/formal.json", {"properties": [proof]})
    assert cells(root, "3x3 core")["proven"] == NOT_RUN


def test_what_is_built_here_goes_before_what_is_committed(root):
    record(root, "docs/results/coverage.json", {"parts": [COVERED]})
    assert cells(root, "requantizer")["simulated"] == "4,000 bits"
    here = {**COVERED, "benches": [{"name": "bulk", "compared": 8, "random": 8, "unit": "bits"}]}
    record(root, "build/coverage/requantizer.json", here)
    assert cells(root, "requantizer")["simulated"] == "8 bits"


def test_a_heading_has_to_be_there_and_synthesis_by_target(root):
    (root / "docs/numerics.md").write_text("# The arithmetic contract\n\n## Rounding\n")
    record(root, "hw/synth/baseline.json", {"results": {"requantizer": {"ecp5": {"fmax_mhz": {"median": 112.4}}}}})
    found = cells(root, "requantizer")
    assert found["specified"] == "numerics.md: Rounding" and found["synthesised"] == "ecp5 112 MHz"
    assert cells(root, "line buffer")["specified"] == NOT_RUN


def test_the_command_prints_and_writes_the_table(root, capsys):
    assert main(["status", "--root", str(root), "--write", str(root / "docs/status.md")]) == 0
    assert "requantizer\n    specified    not run\n" in capsys.readouterr().out
    assert (root / "docs/status.md").read_text() == markdown(root)
    assert main(["status", "--root", str(root / "nowhere")]) == 2
    assert "--root" in capsys.readouterr().err
