"""Register banks as Verilog: their checks, and their drivers, through cocotbext-axi."""

from pathlib import Path

import pytest

from quietbar.cli import main
from quietbar.contract.engine import REFERENCE
from quietbar_cosim.build import design_of
from quietbar_cosim.planting import planted
from quietbar_cosim.registers import check_design
from quietbar_cosim.regression import BenchFailure
from quietbar_hw.registers import RegisterBank
from quietbar_hw.registers.axi_lite import AxiLiteSlave
from quietbar_hw.registers.engine import engine_map
from quietbar_hw.registers.rdl import read_map

SOURCE = Path(__file__).parents[1] / "hw" / "sample.rdl"
MAP = read_map(SOURCE)


@pytest.mark.parametrize("stall", [0.0, 0.6])
def test_the_verilog_is_what_the_map_says(stall):
    assert check_design(design_of(RegisterBank(MAP), "sample"), MAP, stall=stall, seed=2) > 20


def test_the_engine_s_registers_are_what_their_map_says():
    registers = engine_map(REFERENCE)
    check_design(design_of(RegisterBank(registers), "engine_registers"), registers, windows=False, stall=0.3)


def test_a_reset_in_the_middle_of_a_write_forgets_its_data():
    flags = "have_aw, have_w, have_ar = Signal(), Signal(), Signal()"
    kept = "have_aw, have_w, have_ar = Signal(), Signal(reset_less=True), Signal()"
    with planted(AxiLiteSlave, "elaborate", flags, kept):
        faulty = design_of(RegisterBank(MAP), "sample")
    with pytest.raises(BenchFailure, match=r"after a reset with the data of a write taken: .*'wready': 0"):
        check_design(faulty, MAP, names=["reset values"])


def test_a_map_that_is_not_the_bank_s_is_found_out():
    registers = read_map(SOURCE, {"LANES": 5})
    with pytest.raises(BenchFailure, match="reset values: identity after reset: is 0x51420004, must be 0x51420005"):
        check_design(design_of(RegisterBank(MAP), "sample"), registers, names=["reset values"])


def test_the_command_makes_everything_and_checks_it(tmp_path, capsys):
    assert main(["registers", str(SOURCE), "--out", str(tmp_path), "--set", "ENTRIES=12", "--test"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {
        "html",
        *(f"sample.{suffix}" for suffix in ("h", "json", "md", "py", "v", "vlt")),
    }
    assert "#define SAMPLE__IDENTITY__LANES_reset 0x4" in (tmp_path / "sample.h").read_text()
    assert "Memory of 12 words" in (tmp_path / "sample.md").read_text()
    assert "checks passed, channels pausing in 50% of all cycles" in capsys.readouterr().out


def test_the_command_refuses_what_is_no_parameter(tmp_path, capsys):
    assert main(["registers", str(SOURCE), "--out", str(tmp_path), "--set", "ENTRIES=many"]) == 2
    assert "--set = 'ENTRIES=many'" in capsys.readouterr().err
    assert main(["registers", str(SOURCE), "--out", str(tmp_path), "--set", "ROWS=3"]) == 2
    assert "ROWS" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
