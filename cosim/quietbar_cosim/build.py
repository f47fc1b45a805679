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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

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


def design_of(component: Any, top: str) -> Design:
    """The Verilog of an Amaranth component whose ports are plain signals, as ``quietbar verilog`` writes it."""
    from quietbar_hw.verilog import to_verilog

    return Design(top, to_verilog(component, top))


def build_root() -> Path:
    """Where everything generated goes: ``$QUIETBAR_BUILD``, else ``build`` in the working folder."""
    return Path(os.environ.get("QUIETBAR_BUILD", "build")).absolute()


@dataclass(frozen=True)
class Flavor:
    """How one kind of simulator is verilated and compiled.

    Attributes:
        name: of the kind.
        verilating: options of Verilator.
        optimizing: variables of Verilator's makefile; ``OPT_GLOBAL`` is for Verilator's own sources.
        runtime: objects of Verilator's own sources, the same for every design.
    """

    name: str
    verilating: tuple[str, ...]
    optimizing: tuple[str, ...]
    runtime: tuple[str, ...]


# Registers and memories without a reset value start at random under cocotb, so that a design cannot lean on zeros.
COCOTB = Flavor(
    "cocotb",
    ("--vpi", "--exe", "-O3", "--x-assign", "unique", "--x-initial", "unique", "--timescale", "1ns/1ps"),
    ("OPT_FAST=-O1", "OPT_SLOW=-O0", "OPT_GLOBAL=-O1"),
    ("verilated.o", "verilated_threads.o", "verilated_vpi.o"),
)
BULK = Flavor(
    "bulk",
    ("-O3", "--x-assign", "fast", "--x-initial", "fast", "--noassert", "--no-timing", "-CFLAGS", "-fPIC"),
    ("OPT_FAST=-O3", "OPT_SLOW=-O0", "OPT_GLOBAL=-O1"),
    ("verilated.o", "verilated_threads.o"),
)


COVERAGE = "QUIETBAR_COVERAGE"
"""The environment variable that names the folder to which simulators write what they covered; unset, none counts it."""


def coverage_folder() -> Path | None:
    """Where simulators write which lines and toggles they covered."""
    named = os.environ.get(COVERAGE)
    return None if named is None else Path(named)


COUNTING = "-coverage"
"""At the end of the names of simulators that count what they cover."""


def _flavor(kind: Flavor) -> Flavor:
    """The kind of simulator, or that which also counts what it covers."""
    if coverage_folder() is None:
        return kind
    counting = (*kind.verilating, "--coverage-line", "--coverage-toggle")
    return replace(kind, name=f"{kind.name}{COUNTING}", verilating=counting, runtime=(*kind.runtime, "verilated_cov.o"))


def cocotb_program(design: Design) -> Path:
    """The simulator that cocotb drives, as a program named after the top; built unless an equal one exists.

    Raises:
        MissingToolError: there is no Verilator, compiler or make that will do.
        BuildError: Verilator or the compiler refused the design.
    """
    import cocotb_tools.config

    libraries = cocotb_tools.config.libs_dir
    main = Path(cocotb_tools.config.share_dir) / "lib" / "verilator" / "verilator.cpp"
    linking = f"-Wl,-rpath,{libraries} -L{libraries} -lcocotbvpi_verilator"
    ports = "\n".join(f'public_flat_rw -module "{design.top}" -var "{name}"' for name in design.ports)

    flavor = _flavor(COCOTB)

    def build(folder: Path) -> None:
        (folder / "public.vlt").write_text(f"`verilator_config\n{ports}\n")
        _verilate(design, folder, flavor, ["-LDFLAGS", linking, "-o", design.top, "public.vlt", str(main)])
        shutil.move(folder / "objects" / design.top, folder / design.top)

    return _cached(flavor, design, [linking, ports, main.read_text()], build) / design.top


def shared_library(design: Design, harness: Path = HARNESS) -> Path:
    """The simulator behind the C interface of a harness, as a library; built unless an equal one exists.

    Raises:
        MissingToolError: there is no Verilator, compiler or make that will do.
        BuildError: Verilator or the compiler refused the design.
    """
    flavor, compiling = _flavor(BULK), ["-std=c++20", "-O3", "-fPIC", "-shared", "-pthread"]

    def build(folder: Path) -> None:
        (folder / "ports.h").write_text(_port_header(design))
        _verilate(design, folder, flavor, [])
        objects, include = folder / "objects", _verilator_root() / "include"
        places = [f"-I{folder}", f"-I{objects}", f"-isystem{include}", f"-isystem{include / 'vltstd'}"]
        inputs = [str(harness), str(objects / "libVtop.a"), str(objects / "libverilated.a")]
        compiler = str(toolchain.compiler().require())
        _call([compiler, *compiling, *places, "-o", "library.so", *inputs], folder)

    return _cached(flavor, design, [*compiling, harness.read_text(), _port_header(design)], build) / "library.so"


def _port_header(design: Design) -> str:
    """The facts about the top's ports that the harness is compiled with."""
    lines = ['#include "Vtop.h"']
    for stream, name in (("s_axis", "INPUT"), ("m_axis", "OUTPUT"), ("s_axis_cfg", "CONFIGURATION")):
        present = design.has(f"{stream}_tdata")
        lines.append(f"#define HAS_{name} {int(present)}")
        for member in ("last", "id", "user"):
            lines.append(f"#define HAS_{name}_{member.upper()} {int(design.has(f'{stream}_t{member}'))}")
        bits = design.stream_bits(stream) if present else 8
        lines.append(f"#define {name}_BYTES {(bits + 7) // 8}")
        lines.append(f"#define {name}_TOP_MASK {(1 << ((bits - 1) % 8 + 1)) - 1}")
    lines.append(f"#define HAS_ERROR {int(design.has('error'))}")
    lines.append(f"#define HAS_REGISTERS {int(design.has('s_axil_awvalid'))}")
    address_bits = design.ports["s_axil_awaddr"].bits if design.has("s_axil_awaddr") else 32
    lines.append(f"#define ADDRESS_MASK {(1 << address_bits) - 1}u")
    lines.append(f"#define HAS_FAULT {int(design.has('fault'))}")
    lines.append(f"#define HAS_COVERAGE {int(coverage_folder() is not None)}")
    return "\n".join(lines) + "\n"


@functools.cache
def _versions() -> tuple[str, ...]:
    """Of the tools that a build depends on; asking them takes longer than finding a build that exists."""
    return tuple(f"{tool.name} {tool.version}" for tool in (toolchain.verilator(), toolchain.compiler()))


def _cached(flavor: Flavor, design: Design, material: list[str], build: Callable[[Path], None]) -> Path:
    """The folder of one build; made under another name and renamed when whole, by one process at a time."""
    parts = [repr(flavor), design.top, design.verilog, *material, *_versions(), *WAIVERS]
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    folder = build_root() / "simulators" / f"{design.top}-{flavor.name}-{key}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _lock(folder.with_suffix(".lock")):
        if folder.is_dir():
            return folder
        # Whoever holds the lock is alone: what lies there under a temporary name was left by a build that was killed.
        for leftover in folder.parent.glob(f".{folder.name}.*"):
            shutil.rmtree(leftover, ignore_errors=True)
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


def _verilate(design: Design, folder: Path, flavor: Flavor, arguments: list[str]) -> None:
    """Verilator and make, in ``folder/objects``, with ``Vtop`` as the model's class."""
    verilator = str(toolchain.verilator().require())
    for tool in (toolchain.perl(), toolchain.make(), toolchain.compiler()):
        tool.require()
    common = ["--cc", "-Mdir", "objects", "--prefix", "Vtop", "--top-module", design.top, "-j", "2", *WAIVERS]
    _call([verilator, *common, *flavor.verilating, *arguments, f"{design.top}.v"], folder)
    if design != _EMPTY:
        for ready in sorted(_runtime(flavor).glob("*.o")):
            # Copied anew, so that make finds it younger than its source.
            shutil.copyfile(ready, folder / "objects" / ready.name)
    wanted = flavor.runtime if design == _EMPTY else ()
    make = str(toolchain.make().require())
    # What has faults, or counts what it covers, runs for seconds: compiling it is what takes long.
    short = flavor.name.endswith(COUNTING) or (design != _EMPTY and design.has("fault"))
    optimizing = [*flavor.optimizing, *(["OPT_FAST=-O0"] if short else [])]
    _call([make, "-j2", "-C", "objects", "-f", "Vtop.mk", *optimizing, *wanted], folder)


_EMPTY = Design("empty", "module empty(input clk);\nendmodule\n")


def _runtime(flavor: Flavor) -> Path:
    """The folder with Verilator's own sources compiled: four fifths of the time of a small design's build."""

    def build(folder: Path) -> None:
        _verilate(_EMPTY, folder, flavor, [])
        for name in flavor.runtime:
            shutil.move(folder / "objects" / name, folder / name)

    return _cached(flavor, _EMPTY, [], build)


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
