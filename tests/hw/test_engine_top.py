"""The engine's top: Verilog that passes lint with every option, and the document's example of its use."""

import re
import subprocess
from pathlib import Path

import pytest

from quietbar import toolchain
from quietbar.contract.engine import REFERENCE, EngineConfig
from quietbar_hw.engine.top import AxiEngine
from quietbar_hw.verilog import lint, write_verilog

DOCUMENT = Path(__file__).parents[2] / "docs" / "engine.md"
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


def test_the_documents_example_elaborates_with_the_reference_engine(tmp_path):
    files = write_verilog(AxiEngine(REFERENCE), tmp_path, "quietbar_engine")
    header = files.verilog.read_text().split("module ")[0]
    for port in ("s_axis_tid", "m_axis_tuser", "s_axil_awaddr", "irq"):
        assert re.search(rf"^//   (input|output) +\d+ {port}$", header, re.M), "the header comment names every port"
    assert "lanes = 4, group = 4, outputs = 1" in header
    (example,) = re.findall(r"```verilog\n(module .*?endmodule\n)```", DOCUMENT.read_text(), re.S)
    file = tmp_path / "example.v"
    file.write_text(example)
    command = [toolchain.verilator().require(), "--lint-only", "-Wall", "-Wno-DECLFILENAME", "--top-module", "example"]
    done = subprocess.run([*command, files.waivers, file, files.verilog], env=toolchain.environment(),
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
