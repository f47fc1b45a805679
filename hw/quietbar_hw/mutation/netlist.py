"""RTLIL text, as Amaranth writes it, read as far as faults need it: cells, and the assignments of processes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

SOURCES = "quietbar_hw/"
"""What stands before the path of a source file of the hardware, from where on it is named."""


@dataclass(frozen=True)
class Connection:
    """What a port of a cell is connected to, and the line that says so."""

    line: int
    value: str


@dataclass(frozen=True)
class Cell:
    """A cell: its type, where it comes from, its parameters (whole numbers only) and connections."""

    type: str
    source: str
    first: int
    parameters: dict[str, int]
    ports: dict[str, Connection]
    end: int


@dataclass(frozen=True)
class Switch:
    """A choice of a process by one bit, with a case for 1: an ``If`` of the source, which assigns constants alone if it
    is ``fixed``.
    """

    source: str
    line: int
    selector: str
    fixed: bool


@dataclass(frozen=True)
class Assignment:
    """A constant or signal assigned in a process, and the selectors of the switches it stands in, outermost first."""

    source: str
    line: int
    target: str
    value: str
    selectors: tuple[str, ...]


@dataclass
class Module:
    """A module: the line that opens it, the one that ends it, and what is in it."""

    name: str
    first: int
    end: int = 0
    ports: int = 0
    cells: list[Cell] = field(default_factory=list)
    switches: list[tuple[Switch, tuple[str, ...]]] = field(default_factory=list)
    assignments: list[Assignment] = field(default_factory=list)

    @property
    def registers(self) -> set[str]:
        """Names of the wires whose value is what a register holds next."""
        return {base(cell.ports["D"].value) for cell in self.cells if cell.type == "$dff"}


def base(value: str) -> str:
    """The wire that a value is (a part of)."""
    return value.split(" ", 1)[0]


def read_modules(lines: Sequence[str]) -> list[Module]:
    """The modules of a design, in the order of the text."""
    found = []
    source, at = "", 0
    while at < len(lines):
        words = lines[at].split()
        if words[:1] == ["module"]:
            module = Module(words[1].lstrip("\\"), at)
            module.end = at = _read_module(lines, at + 1, module)
            found.append(module)
        at += 1
    assert not source
    return found


def _read_module(lines: Sequence[str], at: int, module: Module) -> int:
    """Fill the module from line ``at`` on; the line that ends it."""
    source = ""
    while True:
        words = lines[at].split(maxsplit=2)
        match words[:1]:
            case ["end"]:
                return at
            case ["attribute"] if words[1] == "\\src":
                source = _place(words[2])
            case ["wire"]:
                module.ports += bool(re.search(r" (input|output) \d+ ", lines[at]))
                source = ""
            case ["cell"]:
                cell = _read_cell(lines, at, words[1], source)
                module.cells.append(cell)
                at, source = cell.end, ""
            case ["process"]:
                at, source = _read_process(lines, at, module, source), ""
        at += 1


def _place(attribute: str) -> str:
    """``conv/line_buffer.py:83`` of a place in the hardware's sources; empty for a place elsewhere."""
    _, found, place = attribute.strip().strip('"').rpartition(SOURCES)
    return place if found else ""


def _read_cell(lines: Sequence[str], first: int, type_: str, source: str) -> Cell:
    parameters, ports, at = {}, {}, first + 1
    while (words := lines[at].split(maxsplit=2)) != ["end"]:
        if words[0] == "connect":
            ports[words[1].lstrip("\\")] = Connection(at, words[2].strip())
        elif words[0] == "parameter" and words[2].strip().isdecimal():
            parameters[words[1].lstrip("\\")] = int(words[2])
        at += 1
    return Cell(type_, source, first, parameters, ports, at)


def _read_process(lines: Sequence[str], first: int, module: Module, source: str) -> int:
    """Add what a process chooses and assigns; the line that ends it."""
    selectors: list[str] = []
    at = first + 1
    while True:
        words = lines[at].split(maxsplit=1)
        if words == ["end"]:
            if not selectors:
                return at
            selectors.pop()
        elif words[:1] == ["switch"]:
            selector = words[1].strip()
            if lines[at + 1].split() == ["case", "1'1"]:
                inside = list(_inside(lines, at))
                fixed = all(constant(value) is not None for _, value in inside)
                targets = tuple(dict.fromkeys(base(target) for target, _ in inside))
                module.switches.append((Switch(source, at, selector, fixed), targets))
            selectors.append(selector)
        elif words[:1] == ["assign"]:
            target, value = _halves(words[1].strip())
            module.assignments.append(Assignment(source, at, target, value, tuple(selectors)))
        at += 1


def _inside(lines: Sequence[str], switch: int) -> Iterator[tuple[str, str]]:
    """Target and value of each assignment in a switch."""
    depth, at = 1, switch + 1
    while depth:
        word, _, rest = lines[at].strip().partition(" ")
        depth += {"switch": 1, "end": -1}.get(word, 0)
        if word == "assign":
            yield _halves(rest)
        at += 1


def _halves(text: str) -> tuple[str, str]:
    """Target and value of an assignment; the target is a wire, maybe with a range behind it."""
    matched = re.fullmatch(r"(\S+(?: \[[\d:]+\])?) (.+)", text)
    assert matched is not None, text
    return matched[1], matched[2]


def constant(value: str) -> tuple[int, int] | None:
    """Width and bits of a constant without unknown bits; None for anything else."""
    matched = re.fullmatch(r"(\d+)'([01]+)", value)
    return (int(matched[1]), int(matched[2], 2)) if matched and len(matched[2]) == int(matched[1]) else None


def width_of(target: str) -> int | None:
    """Bits of a wire with a range behind it; None without."""
    matched = re.fullmatch(r"\S+ \[(\d+)(?::(\d+))?\]", target)
    return None if matched is None else int(matched[1]) - int(matched[2] or matched[1]) + 1
