"""Resources are Yosys' counts, under names that say what they are; what cannot be counted is told."""

import pytest

from quietbar import toolchain
from quietbar.cli import main
from quietbar_hw.synthesis import COUNTED, SynthesisError, count_resources
from quietbar_hw.synthesis.devices import FAMILIES
from quietbar_hw.synthesis.tools import run_yosys

MULTIPLIER = """
module multiplier(input clk, input signed [7:0] a, input signed [7:0] b, output reg signed [15:0] product);
  always @(posedge clk) product <= a * b;
endmodule
"""

TWO_PRODUCTS = """
module top(input clk, input signed [15:0] a, input signed [7:0] b, c, output reg [47:0] both);
  reg signed [15:0] x; reg signed [7:0] y, z; reg signed [23:0] first, second;
  always @(posedge clk) begin
    x <= a; y <= b; z <= c; first <= x * y; second <= x * z;
    both <= {first, second};                            // the second register behind either product
  end
endmodule
"""


@pytest.fixture
def without_yosys(monkeypatch):
    missing = toolchain.select("yosys", "0.40", "synthesis", "make setup", [])
    monkeypatch.setattr(toolchain, "yosys", lambda: missing)


@pytest.fixture
def verilog(tmp_path):
    path = tmp_path / "multiplier.v"
    path.write_text(MULTIPLIER)
    return path


def test_a_registered_multiplier_is_one_multiplier_and_its_register(verilog, capsys):
    resources = count_resources(verilog, "multiplier")
    assert tuple(resources) == tuple(COUNTED)
    assert resources["MULT18X18D"] == 1
    assert resources["flip-flops"] in (0, 16), "in the multiplier's own output register, or beside it"
    assert resources["block RAM"] == resources["distributed RAM"] == resources["carry"] == 0
    assert [path.name for path in verilog.parent.iterdir()] == ["multiplier.v"], "nothing is left behind"

    assert main(["synth", str(verilog)]) == 0
    header, _, row, version = capsys.readouterr().out.splitlines()
    assert header.split()[0] == "ECP5" and row.split()[0] == "multiplier"
    assert version.startswith("counted by Yosys 0.")


def test_a_broken_file_is_refused_with_yosys_own_words(tmp_path):
    broken = tmp_path / "broken.v"
    broken.write_text("module broken(input clk;\nendmodule\n")
    with pytest.raises(SynthesisError, match=r"(?s)^Yosys refused broken.v: .*syntax error"):
        count_resources(broken, "broken")


def test_a_netlist_that_lost_a_product_is_refused(tmp_path):
    """Yosys 0.70 for iCE40 takes the second register behind a product into the multiplier and leaves it, too."""
    (tmp_path / "top.v").write_text(TWO_PRODUCTS)
    with pytest.raises(SynthesisError, match=r"^Yosys made another design of top.v, 48 bits: .*both"):
        run_yosys(["read_verilog top.v", "synth_ice40 -dsp -abc9 -top top"], tmp_path, "top.v")


def test_estimates_are_fitted_on_netlists_that_have_every_product(tmp_path):
    (tmp_path / "top.v").write_text(TWO_PRODUCTS)
    cells = run_yosys(["read_verilog top.v", *FAMILIES["ice40"].commands], tmp_path, "top.v")
    assert cells == {"SB_MAC16": 2, "SB_DFF": 48}


def test_a_top_that_is_not_there_is_refused(verilog):
    with pytest.raises(SynthesisError, match=r"(?s)^Yosys refused multiplier.v: .*nowhere"):
        count_resources(verilog, "nowhere")


def test_a_missing_yosys_is_told_with_its_remedy(verilog, without_yosys):
    with pytest.raises(toolchain.MissingToolError, match=r"^yosys 0.40 or newer, needed for synthesis.*make setup"):
        count_resources(verilog, "multiplier")


def test_the_command_refuses_a_file_that_is_not_there(tmp_path, capsys):
    assert main(["synth", str(tmp_path / "none.v")]) == 2
    assert "none.v: no such file" in capsys.readouterr().err
