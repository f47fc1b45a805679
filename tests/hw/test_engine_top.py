"""The engine's top: Verilog that passes lint with every option, and the documents' examples of its use."""

import re
import subprocess
from pathlib import Path

import pytest

from quietbar import toolchain
from quietbar.contract import BlockConfig
from quietbar.contract.engine import REFERENCE, EngineConfig
from quietbar_hw.denoiser import AxiDenoiser, Folding
from quietbar_hw.engine.top import AxiEngine
from quietbar_hw.verilog import lint, write_verilog

DOCUMENTS = Path(__file__).parents[2] / "docs"
SMALL = {"channels": 8, "hidden": 4, "height": 4, "width": 4, "blocks": 2, "matrix_rows": 16, "window_rows": 16,
         "hidden_rows": 4, "channel_rows": 8}  # fmt: skip
OPTIONS = {
    "one lane, dense, without source": EngineConfig(1, 1, 1, noise=False, kernels="dense", **SMALL),
    "depthwise, with source": EngineConfig(2, 4, 2, kernels="depthwise", **SMALL),
    "one pixel, one block": EngineConfig(2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 1, 1),
}


@pytest.mark.parametrize("config", OPTIONS.values(), ids=OPTIONS)
def test_lint_is_clean_with_every_option(config, tmp_path):
    files = write_verilog(AxiEngine(config), tmp_path, "quietbar_engine")
    lint(files)
    assert "[-1:0]" not in files.verilog.read_text(), "a signal without bits is two bits wide in Verilog"


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return write_verilog(AxiEngine(REFERENCE), tmp_path_factory.mktemp("engine"), "quietbar_engine")


def test_the_header_comment_names_every_port_and_parameter(reference):
    header = reference.verilog.read_text().split("module ")[0]
    for port in ("s_axis_tid", "m_axis_tuser", "s_axil_awaddr", "irq"):
        assert re.search(rf"^//   (input|output) +\d+ {port}$", header, re.M), "the header comment names every port"
    assert "lanes = 4, group = 4, outputs = 1" in header


def examples(document):
    """The Verilog modules of a document by name."""
    text = (DOCUMENTS / document).read_text()
    found = re.findall(r"```verilog\n(module (\w+) .*?endmodule\n)```", text, re.S)
    return {name: body for body, name in found}


def lint_example(body, name, files, folder):
    """What Verilator says of a document's module together with a module of ours; nothing where all is well."""
    file = folder / f"{name}.v"
    file.write_text(body)
    command = [toolchain.verilator().require(), "--lint-only", "-Wall", "-Wno-DECLFILENAME", "--top-module", name]
    done = subprocess.run([*command, files.waivers, file, files.verilog], env=toolchain.environment(),
                          capture_output=True, text=True)  # fmt: skip
    return done.stderr if done.returncode else ""


@pytest.mark.parametrize("document", ["engine.md", "hardware.md"])
def test_a_documents_example_elaborates_with_the_reference_engine(document, reference, tmp_path):
    body = examples(document)["example"]
    assert lint_example(body, "example", reference, tmp_path) == ""
    spoilt = lint_example(body.replace(".s_axis_tid(in_block)", ".s_axis_tid(in_data)"), "example", reference, tmp_path)
    assert "s_axis_tid" in spoilt, "and a port of another width does not"


def test_the_denoisers_example_elaborates_with_the_denoiser(tmp_path):
    config = BlockConfig(16, 4, 32, 32)
    files = write_verilog(AxiDenoiser(config, Folding.choose(config, 4)), tmp_path, "quietbar_denoiser")
    body = examples("hardware.md")["denoiser_example"]
    assert lint_example(body, "denoiser_example", files, tmp_path) == ""
