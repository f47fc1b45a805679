"""The example of docs/hardware.md on the Verilog: it loads an engine from a ROM, and frames come out as they must."""

import re
from pathlib import Path

import pytest

from quietbar.contract import BlockConfig
from quietbar.contract.engine import EngineConfig
from quietbar.integer import Bundle, IntegerTap, Scales
from quietbar.integer.image import HEX, engine_image
from quietbar_cosim.build import Design
from quietbar_cosim.engine import engine_design
from quietbar_cosim.engines import EngineCase
from quietbar_cosim.regression import run_bench
from quietbar_hw.registers.engine import engine_map

DOCUMENT = Path(__file__).parents[2] / "docs" / "hardware.md"
ENGINE = EngineConfig(
    4, 2, 1, channels=8, hidden=4, height=4, width=4, blocks=16, matrix_rows=16, window_rows=16, hidden_rows=8,
    channel_rows=8, noise=False,
)  # fmt: skip
CASE = EngineCase.random(ENGINE, [BlockConfig(8, 4, 3, 4), BlockConfig(4, 2, 2, 2, kernel="dense")], [0, 1, 0], 3)


@pytest.mark.slow
def test_the_example_boots_and_denoises(tmp_path, monkeypatch):
    scales = Scales(activation=0.1, reduce=0.1, spatial=0.1)
    taps = [IntegerTap(f"tap{number}", each, scales) for number, each in enumerate(CASE.parameters)]
    image = engine_image(Bundle({tap.name: tap for tap in taps}), ENGINE)
    image.save(tmp_path)
    registers = engine_map(ENGINE)
    (memory,) = registers.windows
    (control,) = [each for each in registers.registers if each.name == "control"]
    (example,) = re.findall(r"```verilog\n(module example .*?endmodule\n)```", DOCUMENT.read_text(), re.S)
    for old, new in (
        ('"engine-image.hex"', f'"{tmp_path / HEX}"'),
        ("IMAGE_WORDS = 4096", f"IMAGE_WORDS = {len(image.packed())}"),
        ("20'h80000", f"{registers.address_bits}'d{memory.address}"),
        ("20'h00040", f"{registers.address_bits}'d{control.address}"),
        ("20'd0", f"{registers.address_bits}'d0"),
    ):
        assert old in example
        example = example.replace(old, new)
    example = example.replace("[19:0]", f"[{registers.address_bits - 1}:0]").replace(
        "word[17:0]", f"word[{registers.address_bits - 3}:0]"
    )
    (tmp_path / "beats.txt").write_text(
        "\n".join(f"{beat.data} {beat.block} {int(beat.last)}" for frame in CASE.inputs for beat in frame)
    )
    design = Design("example", example + engine_design(ENGINE).verilog)
    run_bench(design, "quietbar_cosim.benches.example", tmp_path, settings={"QUIETBAR_EXAMPLE": str(tmp_path)})
    came = [tuple(map(int, line.split())) for line in (tmp_path / "came.txt").read_text().splitlines()]
    assert came == [(beat.data, beat.block, int(beat.last), 0) for frame in CASE.expected for beat in frame]
