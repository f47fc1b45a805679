"""A design as words: registers, adders, choices, products and memories, counted before logic synthesis.

Counting takes seconds where synthesis takes minutes, and it needs nothing but what writes the Verilog. What the words
become on an FPGA is estimated in :mod:`quietbar_hw.synthesis.estimate`.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from amaranth._toolchain.yosys import find_yosys
from amaranth.back import rtlil

from ..verilog import port_signals

KINDS = {
    "flip_flops": ("$dff", "$dffe", "$sdff", "$sdffe", "$sdffce"),
    "arithmetic": ("$add", "$sub", "$neg", "$lt", "$le", "$gt", "$ge"),
    "choices": ("$mux", "$pmux", "$bmux"),
    "shifts": ("$shl", "$shr", "$sshl", "$sshr", "$shift", "$shiftx"),
    "logic": (
        "$and", "$or", "$xor", "$not", "$eq", "$ne", "$reduce_and", "$reduce_or", "$reduce_xor", "$reduce_bool",
        "$logic_not", "$logic_and", "$logic_or",
    ),
}  # fmt: skip
"""Kind of word -> Yosys' cells. Their bits are counted: of the register, the sum, the wider operand compared, the
result chosen times the choices, the result shifted times the bits of the distance."""

_KIND_OF = {cell: kind for kind, cells in KINDS.items() for cell in cells}
_COMPARED = ("$lt", "$le", "$gt", "$ge", "$eq", "$ne")
_CELL = re.compile(r"^  cell (\$\w+) \S+\n(.*?)^  end$", re.M | re.S)
_CONNECTION = re.compile(r"^    connect \\(\w+) (.*)$", re.M)
_PARAMETER = re.compile(r"^    parameter (?:signed )?\\(\w+) (.*)$", re.M)


@dataclass(frozen=True)
class Memory:
    """A memory of a design: ``rows`` of ``bits``; its ports, and whether a row is there a cycle after its address.

    So it is, too, where nothing but a register reads a port that is not clocked: Yosys makes it the memory's own.
    """

    bits: int
    rows: int
    readers: int
    writers: int
    clocked: bool


@dataclass(frozen=True)
class Words:
    """What a design is made of.

    Attributes:
        bits: by the names of `KINDS`.
        products: how many of each pair of factor widths, the wider one first.
        memories: all of them.
    """

    bits: dict[str, int]
    products: dict[tuple[int, int], int]
    memories: tuple[Memory, ...]


def count_words(component: Any) -> Words:
    """The words of a component, everything in it flattened, constants folded and unused parts dropped."""
    # An installed Yosys of any age would otherwise be preferred to the one that belongs to Amaranth.
    os.environ.setdefault("AMARANTH_USE_YOSYS", "builtin")
    design = rtlil.convert(component, ports=port_signals(component), emit_src=False)
    passes = ("proc", "flatten", "opt", "wreduce", "opt", "memory_collect", "opt_clean", "write_rtlil")
    script = "\n".join([f"read_rtlil <<rtlil\n{design}\nrtlil", *passes, ""])
    netlist: str = find_yosys(lambda version: version >= (0, 40)).run(["-q", "-"], script)
    return words_in(netlist)


def words_in(netlist: str) -> Words:
    """The words of a flat netlist in RTLIL."""
    counted, products, memories = Counter(dict.fromkeys(KINDS, 0)), Counter[tuple[int, int]](), []
    cells = _CELL.findall(netlist)
    for cell, body in cells:
        given = dict(_PARAMETER.findall(body))
        if cell == "$mem_v2":
            clocked = "1" in given["RD_CLK_ENABLE"].partition("'")[2]
            bits, rows, readers, writers = (int(given[name]) for name in ("WIDTH", "SIZE", "RD_PORTS", "WR_PORTS"))
            register = 0 if clocked else _register_behind(body, cells)
            counted["flip_flops"] -= register
            memories.append(Memory(bits, rows, readers, writers, clocked or register > 0))
        elif cell == "$mul":
            wide, narrow = sorted((int(given["A_WIDTH"]), int(given["B_WIDTH"])), reverse=True)
            products[wide, narrow] += 1
        elif cell in _KIND_OF:
            counted[_KIND_OF[cell]] += _bits(cell, given)
    return Words(dict(counted), dict(products), tuple(memories))


def _register_behind(memory: str, cells: list[tuple[str, str]]) -> int:
    """Bits of the register that is all that reads a memory's data; 0 where there is none, or something else does."""
    data = re.compile(re.escape(dict(_CONNECTION.findall(memory))["RD_DATA"]) + r"(?![\w.$])")
    reading = [
        (cell, port, body)
        for cell, body in cells
        for port, signal in _CONNECTION.findall(body)
        if port != "RD_DATA" and data.search(signal)
    ]
    if len(reading) != 1 or reading[0][1] != "D" or reading[0][0] not in KINDS["flip_flops"]:
        return 0
    return int(dict(_PARAMETER.findall(reading[0][2]))["WIDTH"])


def _bits(cell: str, given: dict[str, str]) -> int:
    def width(name: str) -> int:
        return int(given.get(f"{name}_WIDTH", 1))

    if cell in _COMPARED:
        return max(width("A"), width("B"))
    if cell.startswith(("$reduce", "$logic")):
        return width("A")
    if cell in KINDS["shifts"]:
        return width("Y") * width("B")
    result = int(given.get("Y_WIDTH", given.get("WIDTH", 1)))
    return result * width("S") if cell in KINDS["choices"] else result
