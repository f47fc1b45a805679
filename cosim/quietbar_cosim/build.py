"""Simulators built with Verilator, each once: a build folder is named by a hash of all that went into it.

Two kinds are built from the same Verilog: a program that cocotb drives, and a shared library that the bulk runner
calls. In the first, only the top's ports are public: cocotb's own flow makes every signal public, which costs up to
seven times the speed on large designs.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from quietbar import toolchain
from quietbar.contract.errors import ConfigurationError, QuietbarError, require

Direction = Literal["input", "output"]

HARNESS = Path(__file__).parent / "harness" / "bulk.cpp"
WAIVERS = ("-Wno-fatal", "-Wno-WIDTH", "-Wno-CASEINCOMPLETE", "-Wno-UNOPTFLAT")
"""Lint is `make verilog`'s affair, with all warnings; a simulator is built from whatever passed there."""


class BuildError(QuietbarError):
    """A simulator could not be built; the message ends with the last lines of the log."""


@dataclass(frozen=True)
class Port:
    """One port of a top module, ``bits`` wide."""

    name: str
    direction: Direction
    bits: int

    @property
    def bytes(self) -> int:
        """Whole bytes that hold the port's value."""
        return (self.bits + 7) // 8


@dataclass(frozen=True)
class Design:
    """A top module and the Verilog text that holds it and everything below it."""

    top: str
    verilog: str

    @functools.cached_property
    def ports(self) -> dict[str, Port]:
        """The ports of the top module by name, in the order of their declarations.

        Raises:
            ConfigurationError: the text holds no such module, or none of its ports could be read.
        """
        module = re.search(rf"^\s*module\s+\\?{re.escape(self.top)}\b(.*?)^\s*endmodule", self.verilog, re.M | re.S)
        if module is None:
            raise ConfigurationError("design.top", self.top, "a module of the Verilog text")
        declaration = r"\b(input|output)\s+(?:wire\s+|reg\s+|logic\s+)?(?:signed\s+)?(?:\[(\d+):0\]\s*)?(\w+)"
        found = re.findall(declaration, module.group(1))
        require(bool(found), "design.verilog", self.top, "a module whose ports are declared one to a line")
        return {name: Port(name, direction, int(high or 0) + 1) for direction, high, name in found}

    def has(self, port: str) -> bool:
        """Whether the top module has a port of this name."""
        return port in self.ports

    def stream_bits(self, stream: str) -> int:
        """Width of ``<stream>_tdata``; a design without that stream is refused by name."""
        streams = [name.removesuffix("_tdata") for name in self.ports if name.endswith("_tdata")]
        require(
            stream in streams, "stream", stream, "one of " + (", ".join(streams) or "none: there is no _tdata port")
        )
        return self.ports[f"{stream}_tdata"].bits


def build_root() -> Path:
    """Where everything generated goes: ``$QUIETBAR_BUILD``, else ``build`` in the working folder."""
    return Path(os.environ.get("QUIETBAR_BUILD", "build")).absolute()


def cocotb_program(design: Design) -> Path:
    """The simulator that cocotb drives, as a program named after the top; built unless an equal one exists."""
    import cocotb_tools.config

    libraries = cocotb_tools.config.libs_dir
    main = Path(cocotb_tools.config.share_dir) / "lib" / "verilator" / "verilator.cpp"
    # Registers and memories without a reset value start at random, so that a design cannot lean on zeros.
    options = ["--vpi", "--exe", "-O3", "--x-assign", "unique", "--x-initial", "unique", "--timescale", "1ns/1ps"]
    linking = f"-Wl,-rpath,{libraries} -L{libraries} -lcocotbvpi_verilator"
    ports = "\n".join(f'public_flat_rw -module "{design.top}" -var "{name}"' for name in design.ports)

    def build(folder: Path) -> None:
        (folder / "public.vlt").write_text(f"`verilator_config\n{ports}\n")
        arguments = [*options, "-LDFLAGS", linking, "-o", design.top, "public.vlt", str(main)]
        _verilate(design, folder, arguments, {"OPT_FAST": "-O1", "OPT_SLOW": "-O0", "OPT_GLOBAL": "-O1"})
        shutil.move(folder / "objects" / design.top, folder / design.top)

    material = [*options, linking, ports, main.read_text()]
    return _cached("cocotb", design, material, build) / design.top


def shared_library(design: Design) -> Path:
    """The simulator behind the C interface of ``harness/bulk.cpp``, as a library; built unless an equal one exists."""
    options = [
        "-O3",
        "--x-assign",
        "fast",
        "--x-initial",
        "fast",
        "--noassert",
        "--no-timing",
        "--inline-mult",
        "10000",
    ]
    compiling = ["-std=c++20", "-O3", "-fPIC"]

    def build(folder: Path) -> None:
        (folder / "ports.h").write_text(_port_header(design))
        optimizing = {"OPT_FAST": "-O3", "OPT_SLOW": "-O1", "OPT_GLOBAL": "-O2"}
        _verilate(design, folder, [*options, "-CFLAGS", "-fPIC"], optimizing)
        objects = folder / "objects"
        include = _verilator_root() / "include"
        places = [f"-I{folder}", f"-I{objects}", f"-isystem{include}", f"-isystem{include / 'vltstd'}"]
        archives = [str(objects / "libVtop.a"), str(objects / "libverilated.a")]
        compiler = str(toolchain.compiler().require())
        target = folder / "library.so"
        command = [compiler, *compiling, *places, "-shared", "-o", str(target), str(HARNESS), *archives, "-pthread"]
        _call(command, folder)

    material = [*options, *compiling, HARNESS.read_text(), _port_header(design)]
    return _cached("bulk", design, material, build) / "library.so"


def _port_header(design: Design) -> str:
    """The facts about the top's ports that the harness is compiled with."""
    lines = ['#include "Vtop.h"']
    for stream, name in (("s_axis", "INPUT"), ("m_axis", "OUTPUT"), ("s_axis_cfg", "CONFIGURATION")):
        present = design.has(f"{stream}_tdata")
        lines.append(f"#define HAS_{name} {int(present)}")
        lines.append(f"#define HAS_{name}_LAST {int(design.has(f'{stream}_tlast'))}")
        bits = design.stream_bits(stream) if present else 8
        lines.append(f"#define {name}_BYTES {(bits + 7) // 8}")
        lines.append(f"#define {name}_TOP_MASK {(1 << ((bits - 1) % 8 + 1)) - 1}")
    lines.append(f"#define HAS_ERROR {int(design.has('error'))}")
    return "\n".join(lines) + "\n"


def _cached(kind: str, design: Design, material: list[str], build: Callable[[Path], None]) -> Path:
    """The folder of one build; made under another name and renamed when whole, by one process at a time."""
    verilator = toolchain.verilator()
    verilator.require()
    parts = [kind, design.top, design.verilog, *material, str(verilator.version), str(toolchain.compiler().version)]
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    folder = build_root() / "simulators" / f"{design.top}-{kind}-{key}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _lock(folder.with_suffix(".lock")):
        if folder.is_dir():
            return folder
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        try:
            (temporary / f"{design.top}.v").write_text(design.verilog)
            build(temporary)
            shutil.rmtree(temporary / "objects")
            temporary.rename(folder)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    return folder


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold the file at ``path`` for this process alone; the system lets go of it however the process ends."""
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _verilate(design: Design, folder: Path, arguments: list[str], optimizing: dict[str, str]) -> None:
    """Verilator and make, in ``folder/objects``, with ``Vtop`` as the model's class."""
    verilator = str(toolchain.verilator().require())
    common = ["--cc", "-Mdir", "objects", "--prefix", "Vtop", "--top-module", design.top, "-j", "2", *WAIVERS]
    _call([verilator, *common, *arguments, f"{design.top}.v"], folder)
    variables = [f"{name}={value}" for name, value in optimizing.items()]
    _call([str(toolchain.make().require()), "-j2", "-C", "objects", "-f", "Vtop.mk", *variables], folder)


def _verilator_root() -> Path:
    """Verilator's own installation, which holds its headers."""
    verilator = str(toolchain.verilator().require())
    answer = subprocess.run(
        [verilator, "--getenv", "VERILATOR_ROOT"],
        env=toolchain.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return Path(answer.stdout.strip())


def _call(command: list[str], folder: Path) -> None:
    answer = subprocess.run(
        command, cwd=folder, env=toolchain.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if answer.returncode != 0:
        tail = "\n".join(answer.stdout.splitlines()[-20:])
        raise BuildError(f"{Path(command[0]).name} failed with status {answer.returncode}:\n{tail}")
