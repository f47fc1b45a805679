"""The run that breaks an assertion, as a table: ABC's counterexample played through the gates."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Container, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Gates:
    """An and-inverter graph, as in the AIGER format 1.9: literals are twice a variable, odd ones inverted.

    Attributes:
        inputs: how many variables, from 1 on, are inputs; registers follow them, gates follow these.
        following: of each register, the literal of its next value.
        gates: of each gate, the literals of its two inputs.
    """

    inputs: int
    following: tuple[int, ...]
    gates: tuple[tuple[int, int], ...]

    @classmethod
    def parse(cls, file: bytes) -> Gates:
        """Read the binary form."""
        lines = iter(file.split(b"\n", 1)[0].split())
        assert next(lines) == b"aig"
        counts = [int(number) for number in lines]
        variables, inputs, registers, outputs, gates = counts[:5]
        place = file.index(b"\n") + 1
        following = []
        for line in range(registers + outputs + sum(counts[5:7])):
            end = file.index(b"\n", place)
            if line < registers:
                following.append(int(file[place:end].split()[0]))
            place = end + 1
        found = []
        for gate in range(gates):
            literal = 2 * (variables - gates + gate + 1)
            deltas = []
            for _ in range(2):
                delta = shift = 0
                while True:
                    byte = file[place]
                    place += 1
                    delta |= (byte & 127) << shift
                    shift += 7
                    if byte < 128:
                        break
                deltas.append(delta)
            first = literal - deltas[0]
            found.append((first, first - deltas[1]))
        return cls(inputs, tuple(following), tuple(found))

    def play(self, start: list[bool], cycles: list[list[bool]]) -> Iterator[list[bool]]:
        """The values of all variables, cycle by cycle; variable 0 is constant."""
        registers = list(start)
        for entering in cycles:
            values = [False, *entering, *registers]

            def literal(number: int, values: list[bool] = values) -> bool:
                return values[number >> 1] ^ bool(number & 1)

            for first, second in self.gates:
                values.append(literal(first) and literal(second))
            registers = [literal(number) for number in self.following]
            yield values


def without_assertions(model: bytes) -> bytes:
    """Binary AIGER with a single assertion, which never holds, in the place of its own: what breaks it is any run that
    keeps the assumptions.
    """
    end = model.index(b"\n") + 1
    counts = [int(number) for number in model[:end].split()[1:]]
    _, _, registers, outputs, _, bad, *_ = [*counts, 0]
    lines = model[end:].split(b"\n", registers + outputs + bad)
    counts[5:6] = [1]
    head = b"aig " + b" ".join(b"%d" % count for count in counts)
    return b"\n".join([head, *lines[: registers + outputs], b"1", *lines[registers + outputs + bad :]])


def trace_table(model: bytes, names: str, run: str, ends: Container[str] = ()) -> tuple[int, str, tuple[str, ...]]:
    """The run's length in cycles; its ports, then registers, a line each and a column for each cycle; and which of the
    signals whose names end in one of ``ends`` are high in its last cycle.

    Args:
        model: binary AIGER.
        names: the map that Yosys' ``write_aiger -vmap`` writes beside it.
        run: what ABC's ``write_cex -n`` writes.
    """
    gates = Gates.parse(model)
    length = int(re.findall(r"COUNTEREXAMPLE LENGTH: (\d+)", run)[0])
    start = [False] * len(gates.following)
    cycles = [[False] * gates.inputs for _ in range(length)]
    for kind, number, cycle, value in re.findall(r"^(lo|pi)(\d+)@(\d+)=(\d)", run, re.M):
        if kind == "pi":
            cycles[int(cycle)][int(number)] = value == "1"
        elif int(number) < len(start):  # ABC adds a register of its own, for the assumptions
            start[int(number)] = value == "1"

    signals: dict[str, dict[int, int]] = defaultdict(dict)
    for literal, bit, name in re.findall(r"^wire (\d+) (\d+) (\S+)", names, re.M):
        signals[name][int(bit)] = int(literal)
    registers = {name for name in re.findall(r"^(?:inv)?latch \d+ \d+ (\S+)", names, re.M) if "$" not in name}
    ports = [name for name in signals if "." not in name and "$" not in name and name != "clk"]

    columns = list(gates.play(start, cycles))
    high = tuple(
        name
        for name, bits in signals.items()
        if name.rpartition(".")[2] in ends and any(columns[-1][bit >> 1] ^ bool(bit & 1) for bit in bits.values())
    )
    rows = [["cycle", *map(str, range(length))]]
    for name in (*sorted(ports), *sorted(registers - set(ports))):
        if name not in signals:
            continue
        row = [name]
        for values in columns:
            bits = ((values[literal >> 1] ^ bool(literal & 1)) << bit for bit, literal in signals[name].items())
            row.append(f"{sum(bits):x}")
        rows.append(row)
    widths = [max(len(row[place]) for row in rows) for place in range(length + 1)]
    lines = ("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return length, "\n".join(lines), high
