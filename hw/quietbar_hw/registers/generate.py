"""What is written from a register map: Python driver, C header, Markdown and HTML.

C header and HTML are the work of the PeakRDL exporters, from the same elaborated source.
"""

from __future__ import annotations

import inspect
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from systemrdl.node import AddrmapNode

from quietbar.contract import QuietbarError

from . import driver
from .model import Field, Register, RegisterMap

DRIVEN = "driven"


def device_class(registers: RegisterMap) -> type[driver.Device]:
    """The driver of a map, made on the spot; the same that :func:`python_text` writes."""
    tables = {
        register.name: driver.RegisterTable(
            register.address, register.width, {field.name: _field_table(field) for field in register.fields}
        )
        for register in registers.registers
    }
    windows = {window.name: driver.WindowTable(window.address, window.entries) for window in registers.windows}
    return type(_class_name(registers), (driver.Device,), {"REGISTERS": tables, "WINDOWS": windows})


def _field_table(field: Field) -> driver.FieldTable:
    return driver.FieldTable(field.low, field.width, field.reset, field.access, field.on_write)


def _class_name(registers: RegisterMap) -> str:
    return "".join(part.capitalize() for part in registers.name.split("_"))


def python_text(registers: RegisterMap) -> str:
    """The driver of a map as a Python file that needs nothing but the standard library."""
    lines = [inspect.getsource(driver).rstrip(), "", ""]
    lines += [f"class {_class_name(registers)}(Device):", f'    """{registers.title or registers.name}."""', ""]
    for name, kind in [*((each.name, "RegisterView") for each in registers.registers)] + [
        (each.name, "WindowView") for each in registers.windows
    ]:
        lines.append(f"    {name}: {kind}")
    lines += ["", "    REGISTERS: ClassVar[Mapping[str, RegisterTable]] = {"]
    for register in registers.registers:
        lines += [f'        "{register.name}": RegisterTable(', f"            {register.address:#x},"]
        lines += [f"            {register.width},", "            {"]
        for field in register.fields:
            values = ", ".join(repr(value) for value in _field_table(field)).replace("'", '"')
            lines.append(f'                "{field.name}": FieldTable({values}),')
        lines += ["            },", "        ),"]
    lines += ["    }", "    WINDOWS: ClassVar[Mapping[str, WindowTable]] = {"]
    lines += [f'        "{each.name}": WindowTable({each.address:#x}, {each.entries}),' for each in registers.windows]
    lines += ["    }"]
    return "\n".join(lines) + "\n"


def c_text(top: AddrmapNode) -> str:
    """A C header: a structure with the layout of the map, and masks and resets of every field."""
    try:
        from peakrdl_cheader.exporter import CHeaderExporter
    except ModuleNotFoundError as error:
        raise QuietbarError("peakrdl-cheader is not installed: pip install 'quietbar[registers]'") from error
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{top.inst_name}.h"
        CHeaderExporter().export(top, path=str(path), reuse_typedefs=False)
        return path.read_text()


def write_html(top: AddrmapNode, folder: Path) -> None:
    """A folder of HTML that is read without a server, ``index.html`` first."""
    try:
        # It looks for a version-control system to link to, which need not be there.
        os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
        from peakrdl_html import HTMLExporter
    except ModuleNotFoundError as error:
        raise QuietbarError("peakrdl-html is not installed: pip install 'quietbar[registers]'") from error
    HTMLExporter().export(top, str(folder))


KINDS = {
    "store": "rw",
    "one_clears": "rw1c",
    "one_sets": "rw1s",
    "clears": "rwc",
}


def access_kind(field: Field) -> str:
    """How software may use a field, in one word: ro, wo, rw, rw1c, rw1s, rwc; with ``pulse`` and ``rc`` added."""
    if field.access == "r":
        kind = "ro"
    elif field.access == "w":
        kind = "wo"
    else:
        kind = KINDS[field.on_write]
    return kind + (", pulse" if field.pulse else "") + (", rc" if field.on_read_clears else "")


def markdown_text(registers: RegisterMap, source: str) -> str:
    """The map as one page; ``source`` names the file that it comes from."""
    lines = [f"# {registers.title or registers.name}", ""]
    lines += [f"Generated from `{source}` by `quietbar registers`; do not edit.", ""]
    if registers.description:
        lines += [registers.description, ""]
    if registers.parameters:
        values = ", ".join(f"{name} = {value}" for name, value in registers.parameters.items())
        lines += [f"Numbers are those of {values}.", ""]
    lines += [
        "Access: ro read only, wo write only, rw read and write, rw1c a one clears its bit, rw1s a one sets it, rwc",
        "any write clears; pulse: 1 for one cycle; rc: reading clears. Reset: what a reset leaves, or that hardware",
        "drives the field.",
        "",
        "| Address | Register | |",
        "|---|---|---|",
    ]
    for register in registers.registers:
        lines.append(f"| {register.address:#06x} | [`{register.name}`](#{register.name}) | {register.description} |")
    for window in registers.windows:
        end = window.address + window.bytes - 1
        lines.append(
            f"| {window.address:#06x} to {end:#06x} | [`{window.name}`](#{window.name}) | {window.description} |"
        )
    for register in registers.registers:
        lines += ["", f"## {register.name}", "", *_register_lines(register)]
    for window in registers.windows:
        lines += ["", f"## {window.name}", ""]
        access = {"r": "read only", "w": "write only", "rw": "read and write"}[window.access]
        lines += [f"Memory of {window.entries} words of 32 bits, {access}. {window.description}"]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _register_lines(register: Register) -> Iterator[str]:
    if register.description:
        yield from (register.description, "")
    if register.words == 2:
        yield from ("64 bits: read the low word first; that keeps the high word of the same moment.", "")
    yield from ("| Bits | Field | Access | Reset | |", "|---|---|---|---|---|")
    for field in register.fields:
        bits = f"{field.high}:{field.low}" if field.width > 1 else f"{field.low}"
        reset = DRIVEN if field.reset is None else f"{field.reset:#x}" if field.reset > 9 else f"{field.reset}"
        yield f"| {bits} | `{field.name}` | {access_kind(field)} | {reset} | {field.description} |"
