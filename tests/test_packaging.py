"""Imports run one way: contract <- sw, contract <- hw, (sw, hw) <- cosim, never back."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import quietbar
from quietbar.cli import COMMANDS

ROOT = Path(__file__).parents[1]
SOURCES = {name: ROOT / name for name in ("sw", "hw", "cosim")}
PACKAGES = {
    "quietbar": ROOT / "sw/quietbar",
    "quietbar_hw": ROOT / "hw/quietbar_hw",
    "quietbar_cosim": ROOT / "cosim/quietbar_cosim",
}


def imported_modules(source: str, module: str, is_package: bool = False) -> Iterator[str]:
    """Dotted names of everything that the text of ``module`` imports, relative imports made absolute."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            home = module.split(".") if is_package else module.split(".")[:-1]
            base = home[: len(home) - node.level + 1] if node.level else []
            target = ".".join([*base, *([node.module] if node.module else [])])
            yield target
            yield from (f"{target}.{alias.name}" for alias in node.names)


def modules(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def imports_of(path: Path) -> set[str]:
    home = next(source for source in SOURCES.values() if path.is_relative_to(source))
    parts = list(path.relative_to(home).with_suffix("").parts)
    is_package = parts[-1] == "__init__"
    return set(imported_modules(path.read_text(), ".".join(parts[:-1] if is_package else parts), is_package))


def within(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def offenders(paths: list[Path], *forbidden: str) -> list[str]:
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in paths
        for name in sorted(imports_of(path))
        if within(name, *forbidden)
    ]


def test_the_checker_sees_every_form_of_import():
    text = "import torch.nn\nfrom .. import noise\nfrom ..noise import Chip\ndef f():\n    from quietbar_hw import conv"
    found = set(imported_modules(text, "quietbar.contract.block"))
    assert {"torch.nn", "quietbar.noise", "quietbar.noise.Chip", "quietbar_hw.conv"} <= found


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_is_typed(package):
    assert (PACKAGES[package] / "py.typed").is_file()


def test_the_contract_imports_nothing_but_itself_and_the_standard_library():
    allowed = {*sys.stdlib_module_names, "quietbar"}
    for path in modules(SOURCES["sw"] / "quietbar/contract"):
        for name in imports_of(path):
            assert name.split(".")[0] in allowed, f"{path} imports {name}"
            assert not name.startswith("quietbar.") or within(name, "quietbar.contract"), f"{path} imports {name}"


def test_the_software_never_imports_the_hardware():
    assert offenders(modules(SOURCES["sw"]), "quietbar_hw", "quietbar_cosim", "amaranth", "cocotb") == []


def test_the_hardware_never_imports_pytorch_nor_the_rest_of_the_software():
    paths = modules(SOURCES["hw"])
    assert offenders(paths, "torch", "quietbar_cosim", "cocotb", "safetensors", "sklearn") == []
    software = {p.stem if p.stem != "__init__" else p.parent.name for p in (ROOT / "sw/quietbar").glob("*.py")}
    software |= {p.name for p in (ROOT / "sw/quietbar").iterdir() if p.is_dir()}
    rest = software - {"quietbar", "contract", "files", "toolchain"}
    assert offenders(paths, *(f"quietbar.{name}" for name in sorted(rest))) == []


def test_importing_the_contract_loads_no_pytorch():
    program = "import sys, quietbar, quietbar.contract, quietbar.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_submodules_load_when_they_are_used():
    assert quietbar.contract.requantize is not None
    assert {"contract", "integer", "toolchain"} <= set(dir(quietbar))
    with pytest.raises(AttributeError, match="nonsense"):
        quietbar.nonsense  # noqa: B018


def test_every_command_lives_in_a_package_of_this_distribution():
    for name, command in COMMANDS.items():
        module = name.replace("-", "_")
        assert command.module in (f"quietbar.commands.{module}", f"quietbar_cosim.commands.{module}")


def test_no_file_names_a_place_on_somebody_s_machine():
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if tracked.returncode != 0:
        pytest.skip("not a git checkout")
    personal = re.compile(rb"(?<![\w./])/(home|Users|root|work)/[\w.]+")
    assert personal.search(b"see /home/someone/data")
    for name in filter(None, tracked.stdout.split("\0")):
        path = ROOT / name
        found = personal.search(path.read_bytes()) if path.is_file() and path != Path(__file__) else None
        assert found is None, f"{name} names {found.group().decode()}"
