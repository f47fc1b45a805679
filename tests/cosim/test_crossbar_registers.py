"""Crossbar tiles behind AXI4-Lite, in Verilog: driver, stalls, bad writes, restart, reset, by independent masters."""

import copy
import json

import pytest

from quietbar.cli import main
from quietbar.contract import CrossbarConfig
from quietbar_cosim.crossbar_scenes import SceneError, Script, check, observe
from quietbar_cosim.tile_bench import Case
from quietbar_hw.crossbar.folding import CrossbarFolding

CONFIG = CrossbarConfig(4, 4, dac_bits=4, slices=2, row_tiles=2, faults=True, drift=True, output="unsigned")
FOLDING = CrossbarFolding(input_lanes=2, output_lanes=2, rows=2, columns=2)


@pytest.fixture(scope="module")
def played():
    script = Script(Case(CONFIG), FOLDING, seed=5)
    scenes = script.scenes()
    return scenes, observe(script, scenes)


def test_every_scene_ends_as_the_reference_says(played):
    beats = check(*played)
    assert beats > 40
    print(f"{beats} beats, {sum(scene.do == 'write' for scene in played[0])} bad writes")


def spoil_beat(seen):
    seen["beats"][-1][0] ^= 1


def lose_last(seen):
    seen["beats"][-1][1] = 0


def accept(seen):
    seen["refused"][-1] = False


def other_cause(seen):
    seen["causes"] ^= 1


def keep_seed(seen):
    seen["missing"].clear()


FAULTS = {
    "a bit": ("vectors", spoil_beat, "beats"),
    "tlast": ("vectors", lose_last, "beats"),
    "a write taken": ("write", accept, "refused"),
    "a cause": ("write", other_cause, "causes"),
    "a seed kept": ("recover", keep_seed, "missing"),
}


@pytest.mark.parametrize(("do", "fault", "name"), FAULTS.values(), ids=FAULTS)
def test_what_differs_is_found(played, do, fault, name):
    scenes, observations = played[0], copy.deepcopy(played[1])
    fault(next(seen for scene, seen in zip(scenes, observations, strict=True) if scene.do == do and scene.expected))
    with pytest.raises(SceneError, match=f"{do}: {name}: expected"):
        check(scenes, observations)


def test_the_command_writes_lint_clean_verilog(tmp_path, capsys):
    shape = ["--rows", "4", "--columns", "2", "--rows-per-cycle", "2", "--row-tiles", "2", "--output", "signed"]
    command = ["verilog", "crossbar", *shape, "--drift", "--faults", "--folder", str(tmp_path)]
    assert main([*command, "--registers"]) == 0
    ports = {port["name"] for port in json.loads((tmp_path / "quietbar_crossbar.json").read_text())["ports"]}
    assert {"s_axil_awvalid", "irq", "m_axis_tlast"} <= ports and "s_axis_cfg_tdata" not in ports
    assert main([*command, "--output", "none"]) == 2
    assert "crossbar.output = 'none': must be one of" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "folding"),
    [
        (CrossbarConfig(6, 3), CrossbarFolding(rows=3)),
        (CrossbarConfig(8, 4, dac_bits=1, slices=8, adc_bits=5, column_tiles=2, drift=True, output="signed"),
         CrossbarFolding(input_lanes=4, rows=4, columns=4)),
        (CrossbarConfig(5, 5, noisy_programming=False, faults=True), CrossbarFolding(input_lanes=5)),
    ],
)  # fmt: skip
def test_tiles_of_other_shapes(config, folding):
    for seed in (1, 2):
        script = Script(Case(config, seed), folding, seed)
        scenes = script.scenes()
        assert check(scenes, observe(script, scenes)) > 20
