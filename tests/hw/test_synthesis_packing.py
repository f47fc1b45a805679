"""Registers go into multipliers where that changes nothing: proven on netlists, with a model of the multiplier."""

import copy
import json

import pytest

from quietbar_hw.synthesis import SynthesisError
from quietbar_hw.synthesis.packing import BLOCK_RAM, MULTIPLIER, REGISTER, pack_registers
from quietbar_hw.synthesis.resources import ecp5_script
from quietbar_hw.synthesis.tools import run_yosys

DESIGN = """
module top(input clk, input rst, input enable, input signed [1:0] x, y, z,
           output reg signed [3:0] plain, shared, held, cleared, direct, doubled, output signed [1:0] seen,
           output reg signed [3:0] chained, output signed [3:0] unkept);
  reg signed [1:0] a = 0, b = 0, c = 0, h = 0, r = 0, s = 1, d = 0;
  assign seen = c, unkept = d * c;                      // a product that goes out as it is
  always @(posedge clk) begin
    a <= x; b <= y; c <= z; s <= z; d <= a;
    if (enable) h <= y;
    if (rst) r <= 0; else r <= y;
    plain <= a * b; shared <= a * c; doubled <= d * b;  // factors whose registers can go into the multiplier
    chained <= shared[1:0] * b;                         // the register of one product is a factor of another
    held <= a * h; cleared <= a * r; direct <= s * y;   // an enable; a reset; another first value, and no register
  end
endmodule
"""

MODEL = f"""
module {MULTIPLIER}({", ".join(f"input {side}{place}" for side in "AB" for place in range(18))},
  input SIGNEDA, SIGNEDB, CLK0, CE0, RST0, {", ".join(f"output P{place}" for place in range(36))});
  parameter REG_INPUTA_CLK = "NONE", REG_INPUTA_CE = "CE0", REG_INPUTA_RST = "RST0";
  parameter REG_INPUTB_CLK = "NONE", REG_INPUTB_CE = "CE0", REG_INPUTB_RST = "RST0";
  parameter REG_OUTPUT_CLK = "NONE", REG_OUTPUT_CE = "CE0", REG_OUTPUT_RST = "RST0";
  wire signed [17:0] a = {{{", ".join(f"A{place}" for place in reversed(range(18)))}}};
  wire signed [17:0] b = {{{", ".join(f"B{place}" for place in reversed(range(18)))}}};
  reg signed [17:0] a_kept = 0, b_kept = 0;
  always @(posedge CLK0) if (RST0) begin a_kept <= 0; b_kept <= 0; end else if (CE0) begin a_kept <= a; b_kept <= b; end
  wire signed [17:0] a_here = REG_INPUTA_CLK == "CLK0" ? a_kept : a;
  wire signed [17:0] b_here = REG_INPUTB_CLK == "CLK0" ? b_kept : b;
  wire signed [35:0] product = a_here * b_here;
  reg signed [35:0] kept = 0;
  always @(posedge CLK0) if (RST0) kept <= 0; else if (CE0) kept <= product;
  assign {{{", ".join(f"P{place}" for place in reversed(range(36)))}}} = REG_OUTPUT_CLK == "CLK0" ? kept : product;
endmodule
"""
"""Signed factors, as the design has them."""


@pytest.fixture(scope="module")
def netlist(tmp_path_factory):
    folder = tmp_path_factory.mktemp("netlist")
    (folder / "top.v").write_text(DESIGN)
    run_yosys([*ecp5_script("top.v", "top"), "write_json top.json"], folder, "top.v")
    return json.loads((folder / "top.json").read_text())


def cells(netlist, kind):
    return [cell for cell in netlist["modules"]["top"]["cells"].values() if cell["type"] == kind]


def prove_equal(before, after, folder):
    """Two netlists answer the same for ever, from power-up on."""
    (folder / "model.v").write_text(MODEL)
    script = ["read_verilog -nooverwrite +/ecp5/cells_sim.v", "read_verilog model.v"]
    for name, content in (("before", before), ("after", after)):
        (folder / f"{name}.json").write_text(json.dumps({"modules": {"top": content["modules"]["top"]}}))
        script += [f"read_json {name}.json", f"rename top {name}"]
    script += [
        "miter -equiv -make_assert before after both",
        "hierarchy -top both",
        "proc",
        "flatten",
        "opt -full",
        "sat -verify -tempinduct -seq 1 -prove-asserts both",
    ]
    run_yosys(script, folder, "netlists")


def test_a_design_that_abc_gets_in_parts_comes_out_flat_and_the_same(netlist, tmp_path):
    inner = DESIGN.replace("module top(", "module top_inner(")
    names = [name.strip().split()[-1] for name in DESIGN[DESIGN.index("(") + 1 : DESIGN.index(")")].split(",")]
    ports = ", ".join(f".{name}({name})" for name in names)
    outer = f"{DESIGN[: DESIGN.index(';') + 1].replace('reg ', '')}\n  top_inner inner({ports});\nendmodule\n"
    (tmp_path / "top.v").write_text(inner + outer)
    run_yosys([*ecp5_script("top.v", "top", ["inner"]), "write_json top.json"], tmp_path, "top.v")
    after = json.loads((tmp_path / "top.json").read_text())
    assert not {cell["type"] for cell in after["modules"]["top"]["cells"].values()} & {"top_inner"}
    prove_equal(netlist, after, tmp_path)


def test_plain_registers_are_packed_and_the_results_stay_the_same(netlist, tmp_path):
    packed = copy.deepcopy(netlist)
    assert pack_registers(packed) == (7, 4), "all products but one that goes out, and factors from plain registers"
    gone = len(cells(netlist, REGISTER)) - len(cells(packed, REGISTER))
    assert gone == 7 * 4 + 2, "those of products, and of d: others are read elsewhere"
    for register, count in (("INPUTA", 4), ("INPUTB", 4), ("OUTPUT", 7)):
        assert (
            sum(cell["parameters"].get(f"REG_{register}_CLK") == "CLK0" for cell in cells(packed, MULTIPLIER)) == count
        )
    prove_equal(netlist, packed, tmp_path)


def test_packing_twice_changes_nothing(netlist):
    packed = copy.deepcopy(netlist)
    pack_registers(packed)
    again = copy.deepcopy(packed)
    assert pack_registers(again) == (0, 0)
    assert again == packed


def test_a_factor_from_the_wrong_register_is_found(netlist, tmp_path):
    packed = copy.deepcopy(netlist)
    pack_registers(packed)
    first = next(cell for cell in cells(packed, MULTIPLIER) if "REG_INPUTA_CLK" in cell["parameters"])
    first["connections"]["A0"], first["connections"]["A1"] = first["connections"]["A1"], first["connections"]["A0"]
    with pytest.raises(SynthesisError, match=r"(?s)refused netlists.*proof did fail"):
        prove_equal(netlist, packed, tmp_path)


@pytest.mark.parametrize("kept", ["REG_INPUTA_CLK", "REG_INPUTB_CLK", "REG_OUTPUT_CLK"])
def test_a_cycle_too_few_is_found(netlist, tmp_path, kept):
    packed = copy.deepcopy(netlist)
    pack_registers(packed)
    next(cell for cell in cells(packed, MULTIPLIER) if kept in cell["parameters"])["parameters"][kept] = "NONE"
    with pytest.raises(SynthesisError, match=r"(?s)refused netlists.*proof did fail"):
        prove_equal(netlist, packed, tmp_path)


def test_factors_from_block_ram_stay_in_the_fabric(tmp_path):
    (tmp_path / "top.v").write_text("""
module top(input clk, input [8:0] address, input signed [7:0] x, output reg signed [15:0] y);
  reg signed [7:0] memory [0:511];
  reg signed [7:0] read = 0, weight = 0, a = 0, b = 0;
  always @(posedge clk) begin
    memory[address] <= x; read <= memory[address]; weight <= read; a <= x; b <= a; y <= b * weight;
  end
endmodule
""")
    run_yosys([*ecp5_script("top.v", "top"), "write_json top.json"], tmp_path, "top.v")
    found = json.loads((tmp_path / "top.json").read_text())
    assert len(cells(found, BLOCK_RAM)) == 1
    assert pack_registers(found) == (1, 0)
