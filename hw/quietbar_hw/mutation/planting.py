"""Faults put into a design, side by side, each behind its number."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from amaranth.back import rtlil

from quietbar.contract import require, require_integer

from ..verilog import port_signals
from .faults import Fault
from .netlist import read_modules

PORT = "fault"


def sound_text(component: Any) -> str:
    """The component's RTLIL with the places of its sources, the top module called ``top``."""
    return str(rtlil.convert(component, name="top", ports=port_signals(component), emit_src=True))


def fingerprint(text: str) -> str:
    """Of RTLIL but for the places of its sources: changes when the hardware does."""
    return hashlib.sha256(re.sub(r"^\s*attribute \\src .*\n", "", text, flags=re.M).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class PlantedDesign:
    """A design with faults to choose from.

    Attributes:
        sound: RTLIL without any.
        faults: the first is number 1.
        text: RTLIL with all of them and the input ``fault``, by which one is chosen.
    """

    sound: str
    faults: tuple[Fault, ...]
    text: str

    def with_fault(self, number: int) -> str:
        """RTLIL with one fault and no input ``fault`` in any module; with none for number 0."""
        require_integer("fault", number, 0, len(self.faults))
        bits = len(self.faults).bit_length()
        tied = f"  wire width {bits} \\{PORT}\n  connect \\{PORT} {bits}'{number:0{bits}b}"
        text = re.sub(rf"^  wire width {bits} input \d+ \\{PORT}$", lambda _: tied, self.text, flags=re.M)
        return text.replace(f"    connect \\{PORT} \\{PORT}\n", "")


def plant(text: str, faults: Sequence[Fault]) -> PlantedDesign:
    """Put faults into RTLIL that :func:`sound_text` gave, and from which they were found.

    Raises:
        ConfigurationError: two faults change the same line, or there is none.
    """
    require(bool(faults), "faults", len(faults), "at least one")
    places = [fault.line for fault in faults]
    require(len(set(places)) == len(places), "faults", "two of one line", "faults of different lines")
    lines = text.splitlines()
    modules = read_modules(lines)
    names = {f"\\{module.name}" for module in modules}
    bits = len(faults).bit_length()
    for module in modules:
        inside = [(number, fault) for number, fault in enumerate(faults, 1) if module.first < fault.line < module.end]
        wires, cells = [f"  wire width {bits} input {module.ports} \\{PORT}"], []
        for number, fault in inside:
            own_wires, own_cells, lines[fault.line] = _replace(number, fault, lines[fault.line], bits)
            wires += own_wires
            cells += own_cells
        for cell in module.cells:
            if cell.type in names:
                lines[cell.end] = f"    connect \\{PORT} \\{PORT}\n  end"
        lines[module.first] = "\n".join([lines[module.first], *wires])
        lines[module.end] = "\n".join([*cells, lines[module.end]])
    return PlantedDesign(text, tuple(faults), "\n".join(lines) + "\n")


def _replace(number: int, fault: Fault, line: str, bits: int) -> tuple[list[str], list[str], str]:
    """Wires and cells of a fault, and the line with its value replaced."""
    assert line.endswith(f" {fault.value}"), f"{line!r} was read otherwise"
    before, name, width = line.removesuffix(fault.value), f"$fault${number}", fault.width
    result = before.split()[:2] == ["connect", "\\Y"]
    # The sound value has a wire of its own; a cell's result is the wire it drives.
    wires = [f"  wire width {width} {name}$sound", f"  wire width {width} {name}$wrong", f"  wire width 1 {name}$here"]
    cells = []
    if not result:
        wires.append(f"  wire width {width} {name}")
        cells.append(f"  connect {name}$sound {fault.value}")
    if fault.cell:
        cell = fault.wrong.replace(" @n", f" {name}$cell").replace("connect \\Y @", f"connect \\Y {name}$wrong")
        cells.append(f"  {cell.strip()}")
    else:
        cells.append(f"  connect {name}$wrong {fault.wrong.replace('@', f'{name}$sound')}")
    cells += [
        _cell("$eq", f"{name}$eq", bits, A=f"\\{PORT}", B=f"{bits}'{number:0{bits}b}", Y=f"{name}$here"),
        _cell("$mux", f"{name}$mux", width, A=f"{name}$sound", B=f"{name}$wrong", S=f"{name}$here",
              Y=fault.value if result else name),
    ]  # fmt: skip
    return wires, cells, before + (f"{name}$sound" if result else name)


def _cell(type_: str, name: str, bits: int, **ports: str) -> str:
    """A comparison or choice of values ``bits`` wide."""
    choice = {"WIDTH": bits}
    comparison = {"A_SIGNED": 0, "B_SIGNED": 0, "A_WIDTH": bits, "B_WIDTH": bits, "Y_WIDTH": 1}
    parameters = choice if type_ == "$mux" else comparison
    lines = [f"    parameter \\{key} {value}" for key, value in parameters.items()]
    lines += [f"    connect \\{port} {value}" for port, value in ports.items()]
    return "\n".join([f"  cell {type_} {name}", *lines, "  end"])
