"""Every single fault that a design could have, and a choice of them spread over kinds and modules."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from quietbar.contract import require_integer

from .netlist import Assignment, Cell, Module, base, constant, read_modules, width_of

Kind = Literal["operator", "constant", "width", "enable", "condition", "reset"]
KINDS: tuple[Kind, ...] = ("operator", "constant", "width", "enable", "condition", "reset")

OTHER_OPERATOR = {
    "$add": "$sub", "$sub": "$add", "$mul": "$add", "$and": "$or", "$or": "$and", "$xor": "$or", "$eq": "$ne",
    "$ne": "$eq", "$lt": "$le", "$le": "$lt", "$gt": "$ge", "$ge": "$gt", "$shl": "$shr", "$shr": "$shl",
    "$sshr": "$shr", "$not": "$pos", "$neg": "$pos", "$reduce_or": "$reduce_and", "$reduce_and": "$reduce_or",
    "$reduce_bool": "$reduce_and",
}  # fmt: skip
"""What an operator is taken for."""
ARITHMETIC = ("$add", "$sub", "$mul", "$neg", "$lt", "$le", "$gt", "$ge")
COMPARISONS = ("$lt", "$le", "$gt", "$ge")


@dataclass(frozen=True)
class Fault:
    """One change of one line of a design.

    Attributes:
        kind: of the fault.
        module: that holds it, by the names of the instances from the top down.
        source: file and line of the hardware's sources that it comes from.
        what: changes, in words.
        line: of the text, where a value is replaced.
        width: of that value.
        value: that is replaced.
        wrong: what stands there instead: a value in which ``@`` stands for the sound value's own wire, or, with
            ``cell``, lines of a cell that drives ``@``.
        cell: whether ``wrong`` is a cell; then the line is that of the sound cell's result.
    """

    kind: Kind
    module: str
    source: str
    what: str
    line: int
    width: int
    value: str
    wrong: str
    cell: bool = False

    @property
    def name(self) -> str:
        """Where it is and what it does."""
        return f"{self.module} ({self.source}), {self.kind}: {self.what}"


def find_faults(text: str, inside: Callable[[str], bool] = lambda module: True) -> list[Fault]:
    """All faults of the modules that ``inside`` accepts by name, of RTLIL text that Amaranth wrote with sources."""
    lines = text.splitlines()
    found = []
    for module in read_modules(lines):
        if inside(module.name):
            found += [fault for fault in _faults(module, lines) if fault.source]
    return found


def choose(faults: Sequence[Fault], count: int, seed: int) -> list[Fault]:
    """``count`` faults, or as many as there are: kinds take turns, the seed says which begins, then the modules that
    have the fewest.

    No two change the same line of the text, nor, while there are others, the same line of the source in the same way.
    """
    require_integer("faults.count", count, 1, 1 << 12)
    source = random.Random(seed)
    waiting = {kind: [fault for fault in faults if fault.kind == kind] for kind in KINDS}
    for listed in waiting.values():
        source.shuffle(listed)
    chosen: list[Fault] = []
    lines: set[int] = set()
    modules: Counter[str] = Counter()
    places: Counter[tuple[str, str]] = Counter()
    begins = seed % len(KINDS)
    while len(chosen) < count and any(waiting.values()):
        for kind in (*KINDS[begins:], *KINDS[:begins]):
            possible = waiting[kind] = [fault for fault in waiting[kind] if fault.line not in lines]
            if possible and len(chosen) < count:
                fault = min(possible, key=lambda each: (places[each.source, each.kind], modules[each.module]))
                chosen.append(fault)
                lines.add(fault.line)
                modules[fault.module] += 1
                places[fault.source, kind] += 1
    return sorted(chosen, key=lambda each: each.line)


def _faults(module: Module, lines: Sequence[str]) -> Iterator[Fault]:
    for cell in module.cells:
        yield from _operators(module, cell, lines)
        yield from _operands(module, cell)
        yield from _memories(module, cell)
    registers = module.registers
    for switch, targets in module.switches:
        where = (module.name, switch.source)
        held = any(target in registers for target in targets)
        names = _names(module, targets)
        if switch.selector.startswith("\\rst"):
            yield Fault("reset", *where, f"{names} is not reset", switch.line, 1, switch.selector, "1'0")
        elif held:
            what = f"{names} {'is set' if switch.fixed else 'changes'} in every cycle"
            yield Fault("enable", *where, what, switch.line, 1, switch.selector, "1'1")
        else:
            wrong = f"cell $not @n\n{_unary(1)}    connect \\A {switch.selector}\n    connect \\Y @\n  end"
            what = f"the condition of {names} is inverted"
            yield Fault("condition", *where, what, switch.line, 1, switch.selector, wrong, cell=True)
    for assignment in module.assignments:
        yield from _constants(module, assignment, registers)


def _unary(width: int) -> str:
    return f"    parameter \\A_SIGNED 0\n    parameter \\A_WIDTH {width}\n    parameter \\Y_WIDTH {width}\n"


def _names(module: Module, targets: Sequence[str]) -> str:
    """What is assigned, by the names of the registers where it is what they hold next."""
    held = {
        cell.ports["D"].value.split(" ", 1)[0]: cell.ports["Q"].value for cell in module.cells if cell.type == "$dff"
    }
    names = [held.get(target, target).lstrip("\\").removeprefix("$signature__") for target in targets]
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _shown(value: str) -> str:
    """The name of a signal; what has none is a part of something larger."""
    return "a part" if value.startswith(("$", "{")) else value.lstrip("\\").removeprefix("$signature__")


def _operators(module: Module, cell: Cell, lines: Sequence[str]) -> Iterator[Fault]:
    """Another operator on the same operands."""
    result = cell.ports.get("Y")
    if result is None:
        return
    width = cell.parameters.get("Y_WIDTH", cell.parameters.get("WIDTH", 1))
    own = lines[cell.first : cell.end + 1]
    text = [own[0].rsplit(" ", 1)[0] + " @n", *own[1:]]
    text[result.line - cell.first] = "    connect \\Y @"
    where = (module.name, cell.source)
    into = _shown(result.value)
    if cell.type in OTHER_OPERATOR:
        other = OTHER_OPERATOR[cell.type]
        text[0] = text[0].replace(cell.type, other, 1)
        what = f"{cell.type[1:]} becomes {other[1:]} in {into}"
        yield Fault("operator", *where, what, result.line, width, result.value, "\n".join(text), cell=True)
    elif cell.type == "$mux":
        for name, other in (("A", "B"), ("B", "A")):
            text[cell.ports[name].line - cell.first] = f"    connect \\{name} {cell.ports[other].value}"
        what = f"the choices of {into} change places"
        yield Fault("operator", *where, what, result.line, width, result.value, "\n".join(text), cell=True)


def _operands(module: Module, cell: Cell) -> Iterator[Fault]:
    """A constant operand that is another, and operands and results that lose their top bit or their sign."""
    where = (module.name, cell.source)
    result = cell.ports.get("Y")
    if result is None:
        return
    into = _shown(result.value)
    for name in ("A", "B"):
        port = cell.ports.get(name)
        width = cell.parameters.get(f"{name}_WIDTH", cell.parameters.get("WIDTH", 0))
        if port is None or not width:
            continue
        known = constant(port.value)
        if known is not None:
            wrong = f"{width}'{known[1] ^ 1:0{width}b}"
            what = f"{known[1]} becomes {known[1] ^ 1} in {into}"
            yield Fault("constant", *where, what, port.line, width, port.value, wrong)
        elif cell.type in ARITHMETIC and width > 1:
            what = f"{_shown(base(port.value))} loses the top of its {width} bits in {into}"
            yield Fault("width", *where, what, port.line, width, port.value, f"{{ 1'0 @ [{width - 2}:0] }}")
    width = cell.parameters.get("Y_WIDTH", 0)
    if cell.type in ARITHMETIC and width > 1:
        what = f"{into} loses the top of its {width} bits"
        yield Fault("width", *where, what, result.line, width, result.value, f"{{ 1'0 @ [{width - 2}:0] }}")


def _memories(module: Module, cell: Cell) -> Iterator[Fault]:
    """A memory that is written in every cycle, and addresses that lose their top bit."""
    if cell.type not in ("$memwr_v2", "$memrd_v2"):
        return
    where = (module.name, cell.source)
    name, bits = "write" if cell.type == "$memwr_v2" else "read", cell.parameters.get("ABITS", 0)
    if name == "write":
        width, port = cell.parameters["WIDTH"], cell.ports["EN"]
        yield Fault(
            "enable",
            *where,
            "the memory is written in every cycle",
            port.line,
            width,
            port.value,
            f"{width}'" + "1" * width,
        )
    address = cell.ports["ADDR"]
    if bits > 1 and constant(address.value) is None:
        what = f"the {name} address loses the top of its {bits} bits"
        yield Fault("width", *where, what, address.line, bits, address.value, f"{{ 1'0 @ [{bits - 2}:0] }}")


def _constants(module: Module, assignment: Assignment, registers: set[str]) -> Iterator[Fault]:
    """A constant that is assigned is another one; under the reset, the value after it."""
    known, width = constant(assignment.value), width_of(assignment.target)
    if known is None or width is None or not assignment.selectors:
        return
    target = base(assignment.target)
    resets = target in registers and assignment.selectors[-1].startswith("\\rst")
    kind: Kind = "reset" if resets else "constant"
    names = _names(module, (target,))
    wrong = known[1] ^ 1
    what = f"{names} {'is reset to' if resets else 'is set to'} {wrong} instead of {known[1]}"
    yield Fault(
        kind,
        module.name,
        assignment.source,
        what,
        assignment.line,
        width,
        assignment.value,
        f"{width}'{wrong:0{width}b}",
    )
