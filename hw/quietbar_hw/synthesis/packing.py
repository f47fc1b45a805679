"""Registers in front of an ECP5's multipliers go into them, as Yosys does it for other makers' multipliers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

MULTIPLIER, REGISTER = "MULT18X18D", "TRELLIS_FF"
FACTORS, FACTOR_BITS = ("A", "B"), 18
PLAIN = {"CEMUX": "1", "CLKMUX": "CLK", "REGSET": "RESET"}
"""Parameters of a register that always takes its input, and begins with zero: so does one within a multiplier."""

Bit = int | str
"""Of a netlist: the number of a net, or a constant."""


def pack_factors(netlist: Mapping[str, Any]) -> int:
    """Pack the registers of both factors of each multiplier of a netlist, in place; how many multipliers have them now.

    A multiplier has registers of its own for its factors; nextpnr counts on them, but leaves to synthesis to use them,
    and Yosys does not for ECP5. Without, a factor goes all the way from a register of the fabric through the multiplier
    in one cycle. Both factors are packed or none, those alone whose registers have neither enable nor reset; a register
    that several multipliers read is packed into each. Results stay the same to the cycle.

    Args:
        netlist: as Yosys writes it (``write_json``) for ECP5, flat.
    """
    packed = 0
    for module in netlist["modules"].values():
        cells = module["cells"]
        registers = {
            cell["connections"]["Q"][0]: cell["connections"]
            for cell in cells.values()
            if cell["type"] == REGISTER and _is_plain(cell)
        }
        for cell in cells.values():
            if cell["type"] == MULTIPLIER and _pack(cell, registers):
                packed += 1
        _drop_unread(module)
    return packed


def _is_plain(register: Mapping[str, Any]) -> bool:
    parameters, connections = register["parameters"], register["connections"]
    return (
        all(parameters.get(name, value).strip() == value for name, value in PLAIN.items())
        and connections.get("LSR", ["0"]) in ([], ["0"], ["x"])
        and len(connections.get("DI", [])) == 1
    )


def _pack(multiplier: dict[str, Any], registers: Mapping[Bit, Mapping[str, list[Bit]]]) -> bool:
    connections = multiplier["connections"]
    ports = [f"{factor}{place}" for factor in FACTORS for place in range(FACTOR_BITS)]
    bits = {port: connections[port][0] for port in ports if connections.get(port)}
    driven = {port: bit for port, bit in bits.items() if isinstance(bit, int)}
    clocks = {registers[bit]["CLK"][0] if bit in registers else None for bit in driven.values()}
    used = any(multiplier["parameters"].get(f"REG_INPUT{factor}_CLK", "NONE") != "NONE" for factor in FACTORS)
    if used or len(clocks) != 1 or None in clocks or "1" in bits.values():
        return False
    for port, bit in driven.items():
        connections[port] = list(registers[bit]["DI"])
    for factor in FACTORS:
        multiplier["parameters"] |= {
            f"REG_INPUT{factor}_CLK": "CLK0",
            f"REG_INPUT{factor}_CE": "CE0",
            f"REG_INPUT{factor}_RST": "RST0",
        }
    for port, constant in (("CLK0", clocks.pop()), ("CE0", "1"), ("RST0", "0")):
        connections[port] = [constant]
        multiplier["port_directions"][port] = "input"
    return True


def _drop_unread(module: dict[str, Any]) -> None:
    """Take out registers that nobody reads any more, and then those that only they read."""
    cells, readers = module["cells"], Counter(_read(module))
    while unread := [
        name for name, cell in cells.items() if cell["type"] == REGISTER and not readers[cell["connections"]["Q"][0]]
    ]:
        for name in unread:
            readers.subtract(bit for bits in _inputs(cells.pop(name)) for bit in bits)


def _read(module: Mapping[str, Any]) -> Iterator[Bit]:
    for port in module["ports"].values():
        if port["direction"] != "input":
            yield from port["bits"]
    for cell in module["cells"].values():
        for bits in _inputs(cell):
            yield from bits


def _inputs(cell: Mapping[str, Any]) -> Iterator[list[Bit]]:
    for port, bits in cell["connections"].items():
        if cell["port_directions"].get(port) != "output":
            yield bits
