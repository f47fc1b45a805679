"""The watched designs: the pin harness keeps all of a design, memories leave standard cells whole, regressions show."""

import copy
import json
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from quietbar import toolchain
from quietbar.cli import main
from quietbar.contract import ConfigurationError
from quietbar_hw.simulation import pack
from quietbar_hw.stream import Queue, Resize
from quietbar_hw.synthesis import SynthesisError, targets, tools
from quietbar_hw.synthesis.breakdown import PARTS, breakdown
from quietbar_hw.synthesis.cells import LIBERTY_VARIABLE, liberty, memory_bits, standard_cells
from quietbar_hw.synthesis.designs import DESIGNS
from quietbar_hw.synthesis.harness import PinHarness
from quietbar_hw.synthesis.suite import TARGETS, figures, regressions, run_suite, table, tool_versions
from quietbar_hw.synthesis.tools import NoRouteError, critical_path, run_nextpnr
from quietbar_hw.verilog import ports, to_verilog

BASELINE = Path(__file__).parents[2] / "hw/synth/baseline.json"

RESULTS = {
    "core": {
        "ecp5": {
            "resources": {"LUT4": 1000, "carry": 0},
            "fmax_mhz": {"min": 100.0, "median": 110.0, "max": 120.0, "seeds": {"1": 100.0}},
            "lut4_per_multiplier": 10.0,
            "lut4_with_carry_per_multiplier": 12.0,
        },
        "cells": {"area_um2": 5000.0, "cells": 100, "memory_bits": 64, "fmax_mhz": 200.0},
    }
}


def changed(path, value):
    results = copy.deepcopy(RESULTS)
    place = results
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return results


@pytest.mark.parametrize("name", [name for name, design in DESIGNS.items() if design.parts])
def test_parts_that_abc_gets_one_by_one_are_there(name):
    verilog = to_verilog(DESIGNS[name].make(), "top")
    for part in DESIGNS[name].parts:
        assert len(re.findall(rf"^module \w*_{part}\(", verilog, re.MULTILINE)) == 1, part


def test_equal_results_are_no_regression():
    assert list(regressions(RESULTS, RESULTS)) == []
    assert len(list(table(RESULTS))) == 2
    assert figures(RESULTS)["core", "ecp5", "fmax"] == 110.0


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (("core", "ecp5", "resources", "LUT4"), 1021, "core, ecp5: LUT4 1000 -> 1021 (+2.1%)"),
        (("core", "ecp5", "resources", "carry"), 1, "core, ecp5: carry 0 -> 1 (new)"),
        (("core", "ecp5", "fmax_mhz", "median"), 101.0, "core, ecp5: fmax 110 -> 101 (-8.2%)"),
        (("core", "cells", "area_um2"), 5200.0, "core, cells: area_um2 5000 -> 5200 (+4.0%)"),
    ],
)
def test_what_has_become_worse_is_told(path, value, told):
    assert list(regressions(changed(path, value), RESULTS)) == [told]


def test_what_has_become_better_is_no_regression():
    assert list(regressions(changed(("core", "ecp5", "resources", "LUT4"), 500), RESULTS)) == []


def test_the_harness_has_four_pins_and_keeps_every_register_of_the_design(tmp_path):
    component = Resize(8, 1, 8)
    harness = PinHarness(component)
    assert [port["name"] for port in ports(harness)] == ["clk", "rst", "shift_in", "shift_out"]
    bare = targets.ecp5(component, tmp_path, seeds=(), frequency=100)["resources"]
    file = targets.write_verilog_of(harness, tmp_path, "harness")
    cells = targets.run_yosys([f"read_verilog {file}", "synth_ecp5 -top harness"], tmp_path, file)
    port_bits = 8 + 64 + 4
    assert cells["TRELLIS_FF"] == bare["flip-flops"] + port_bits
    assert pack([1], 8) == 1


def test_memories_leave_standard_cells_and_their_bits_are_counted(tmp_path, monkeypatch):
    library = liberty()
    if library is None:
        pytest.skip("there is no Liberty file on this machine")
    monkeypatch.setattr("quietbar_hw.synthesis.cells.toolchain.static_timing", lambda: MISSING)
    shallow, deep = (standard_cells(Queue(8, depth), tmp_path, library=library, frequency=100) for depth in (16, 32))
    assert shallow["memory_bits"] == 16 * 8
    assert deep["memory_bits"] == 32 * 8
    assert 0 < shallow["area_um2"] < deep["area_um2"] < 1.5 * shallow["area_um2"], "addresses grow, words do not count"
    assert memory_bits("") == 0


class MISSING:
    found = False


def test_a_liberty_file_that_is_not_there_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv(LIBERTY_VARIABLE, str(tmp_path / "none.lib"))
    with pytest.raises(SynthesisError, match=r"QUIETBAR_LIBERTY = '.*none.lib': must be a Liberty file"):
        liberty()


def test_the_critical_path_is_the_longest_one():
    def path(*delays):
        end = {"cell": "b", "port": "D"}
        return {"from": "posedge clk", "to": "posedge clk", "path": [
            {"delay": delay, "type": "logic", "to": end} for delay in delays]}  # fmt: skip

    report = {"critical_paths": [path(1.0, 2.0), path(4.0), {**path(9.0), "from": "<async>"}]}
    assert critical_path(report) == ["4.00 logic b D"]


def test_the_command_refuses_unknown_names(capsys):
    assert main(["synth", "--design", "nonsense"]) == 2
    assert "design = 'nonsense'" in capsys.readouterr().err
    assert main(["synth", "--target", "gowin"]) == 2
    assert "--target = 'gowin'" in capsys.readouterr().err


def test_a_baseline_that_cannot_be_read_is_told_before_anything_is_placed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("quietbar_hw.synthesis.suite.run_suite", None)
    file = tmp_path / "baseline.json"
    for text, told in ((None, "baseline.json: No such file"), ("{", "not what quietbar synth"), ("{}", "'results'")):
        if text is not None:
            file.write_text(text)
        assert main(["synth", "--baseline", str(file)]) == 2
        assert told in capsys.readouterr().err


def test_the_baseline_holds_watched_designs_only():
    stored = json.loads(BASELINE.read_text())
    assert {"command", "tools", "results"} <= set(stored)
    assert set(stored["results"]) <= set(DESIGNS)
    for name, by_target in stored["results"].items():
        assert set(by_target) <= set(DESIGNS[name].targets), name
    assert all(set(design.targets) <= set(TARGETS) for design in DESIGNS.values())
    for name, by_target in stored["results"].items():
        placed = by_target.get("ecp5", {})
        assert placed.get("router") == (targets.ECP5_ROUTER if "fmax_mhz" in placed else None), name


def test_every_watched_design_is_in_the_baseline_on_all_its_targets():
    stored = json.loads(BASELINE.read_text())["results"]
    missing = {
        name: set(design.targets) - {"cells"} - set(stored.get(name, {})) for name, design in DESIGNS.items()
    }  # standard cells are there only where a Liberty file is
    assert not any(missing.values()), missing


def test_a_run_that_was_stopped_goes_on_with_the_next_placement(tmp_path, monkeypatch):
    placed, told = [], []
    report = {"fmax": {"clk": {"achieved": 100.0}}, "critical_paths": [], "utilization": {}}

    def place(tool, arguments, folder, subject):
        assert arguments[arguments.index("--router") + 1] == targets.ECP5_ROUTER
        seed = arguments[arguments.index("--seed") + 1]
        placed.append(seed)
        if placed == ["1", "2"]:
            raise KeyboardInterrupt
        return report

    monkeypatch.setattr(targets, "run_nextpnr", place)
    with pytest.raises(KeyboardInterrupt):
        run_suite(["requantizer"], ("ecp5",), (1, 2), tmp_path, told.append)
    results = run_suite(["requantizer"], ("ecp5",), (1, 2), tmp_path, told.append)
    assert placed == ["1", "2", "2"]
    assert told == [f"requantizer: ecp5, {step}" for step in ("resources", "seed 1", "seed 2", "seed 2")]
    assert results["requantizer"]["ecp5"]["router"] == targets.ECP5_ROUTER
    assert results["requantizer"]["ecp5"]["fmax_mhz"]["seeds"] == {1: 100.0, 2: 100.0}
    again = run_suite(["requantizer"], ("ecp5",), (1, 2), tmp_path, told.append)
    assert again == results
    assert len(placed) == 3


def test_a_seed_that_has_no_route_is_named_and_the_others_count(tmp_path, monkeypatch):
    def place(tool, arguments, folder, subject):
        seed = int(arguments[arguments.index("--seed") + 1])
        if seed in refused:
            raise NoRouteError(f"no route, {seed}")
        return {"fmax": {"clk": {"achieved": 100.0 + seed}}, "critical_paths": [], "utilization": {}}

    monkeypatch.setattr(targets, "run_nextpnr", place)
    refused = {2}
    results = run_suite(["requantizer"], ("ecp5",), (1, 2, 3), tmp_path)
    found = results["requantizer"]["ecp5"]
    assert found["fmax_mhz"] == {"min": 101.0, "median": 101.0, "max": 103.0, "seeds": {1: 101.0, 3: 103.0}}
    assert found["refused"] == {2: "no route, 2"}
    *_, row = table(results)
    assert row[3] == "101.0 / 101.0 / 103.0, no route with seed 2"
    refused = {4, 5}
    with pytest.raises(NoRouteError, match="no route, 4"):
        run_suite(["requantizer"], ("ecp5",), (4, 5), tmp_path)


@pytest.mark.parametrize(
    ("status", "said", "is_route"),
    [
        (
            1,
            "ERROR: Failed to route arc 0.0 of net 'clk$TRELLIS_IO_IN', from JPADDID_PIO to G_CLKI.",
            True,
        ),
        (255, "ERROR: Routing design failed.", True),
        (255, "ERROR: Unable to place cell 'product', no BELs remaining to implement cell type 'MULT18X18D'", False),
        (-9, "", False),
    ],
)
def test_only_a_missing_route_is_kept_as_a_result(tmp_path, monkeypatch, status, said, is_route):
    ended = subprocess.CompletedProcess((), status, "", said)
    monkeypatch.setattr(tools, "subprocess", SimpleNamespace(run=lambda *_, **__: ended))

    def place():
        return run_nextpnr(toolchain.nextpnr(), [], tmp_path, "design.v")

    if is_route:
        assert said in targets.report_or_refusal(place)["refused"]
    else:
        with pytest.raises(SynthesisError, match=r"refused design\.v") as raised:
            targets.report_or_refusal(place)
        assert not isinstance(raised.value, NoRouteError)


def test_parts_of_the_engine_are_counted_alone():
    assert set(PARTS) >= {"reduce", "spatial", "heads"}
    cells = breakdown(["writer"])["writer"]
    assert cells["LUT4"] > 50
    assert (cells["MULT18X18D"], cells["block RAM"]) == (1, 0), "the one that puts multipliers in their place"
    with pytest.raises(ConfigurationError, match="part = 'wheel'"):
        breakdown(["wheel"])


def test_a_design_held_to_the_baseline_is_no_worse(tmp_path):
    stored = json.loads(BASELINE.read_text())
    if stored["tools"]["yosys"] != tool_versions()["yosys"]:
        pytest.skip("counts depend on the version of Yosys")
    results = run_suite(["register_bank"], ("ecp5",), (), tmp_path)
    assert list(regressions(results, stored["results"])) == []


def test_an_unknown_design_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="design = 'other'"):
        run_suite(["other"], TARGETS, (), tmp_path)
