"""Registers next to an ECP5's multipliers go into them, as Yosys does it for other makers' multipliers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

MULTIPLIER, REGISTER, BLOCK_RAM = "MULT18X18D", "TRELLIS_FF", "DP16KD"
FACTORS, FACTOR_BITS = ("A", "B"), 18
PLAIN = {"CEMUX": "1", "CLKMUX": "CLK", "REGSET": "RESET"}
"""Parameters of a register that always takes its input, and begins with zero: so does one within a multiplier."""

Bit = int | str
"""Of a netlist: the number of a net, or a constant."""
Registers = dict[Bit, dict[str, list[Bit]]]
"""Connections of registers, by the bit that they drive, or that they read."""


def pack_registers(netlist: Mapping[str, Any]) -> tuple[int, int]:
    """Pack registers next to multipliers into them, in place; how many have their product's now, and both factors'.

    A multiplier has registers of its own for its factors and for its product; nextpnr counts on them, but leaves to
    synthesis to use them, and Yosys does not for ECP5. Without, a factor goes from a register of the fabric through the
    multiplier to another one in one cycle. Both factors are packed or none, those alone whose registers have neither
    enable nor reset; a register that several multipliers read is packed into each. A product is packed if registers of
    that kind are all that reads it. Results stay the same to the cycle.

    Factors from block RAM, which answers late, stay in the fabric, where a register lies next to the memory, if the
    product is packed.

    Args:
        netlist: as Yosys writes it (``write_json``) for ECP5, flat.
    """
    products = factors = 0
    for module in netlist["modules"].values():
        cells = module["cells"]
        multipliers = [cell for cell in cells.values() if cell["type"] == MULTIPLIER]
        registers = {
            cell["connections"]["Q"][0]: cell["connections"]
            for cell in cells.values()
            if cell["type"] == REGISTER and _is_plain(cell)
        }
        late = {
            bit
            for cell in cells.values()
            if cell["type"] == BLOCK_RAM
            for port, bits in cell["connections"].items()
            if cell["port_directions"][port] == "output"
            for bit in bits
        }
        count, reading = Counter(_read(module)), {each["DI"][0]: each for each in registers.values()}
        packed = [_pack_product(cell, registers, reading, count) for cell in multipliers]
        found = [
            _pack_factors(cell, registers, late if product else set())
            for cell, product in zip(multipliers, packed, strict=True)
        ]
        products, factors = products + sum(packed), factors + sum(found)
        _drop_unread(module)
    return products, factors


def _is_plain(register: Mapping[str, Any]) -> bool:
    parameters, connections = register["parameters"], register["connections"]
    return (
        all(parameters.get(name, value).strip() == value for name, value in PLAIN.items())
        and connections.get("LSR", ["0"]) in ([], ["0"], ["x"])
        and len(connections.get("DI", [])) == 1
    )


def _pack_product(
    multiplier: dict[str, Any], registers: Registers, reading: Registers, count: Mapping[Bit, int]
) -> bool:
    """Whether the product is in the multiplier's register now; what has read that one is left without a reader."""
    connections = multiplier["connections"]
    read = {port: bits[0] for port, bits in connections.items() if port[0] == "P" and bits and count[bits[0]]}
    if _has_registers(multiplier) or any(bit not in reading or count[bit] != 1 for bit in read.values()):
        return False
    clocks = {reading[bit]["CLK"][0] for bit in read.values()}
    if len(clocks) != 1:
        return False
    for port, bit in read.items():
        register = registers.pop(reading[bit]["Q"][0])
        connections[port], register["Q"], register["DI"] = register["Q"], connections[port], ["x"]
    _use(multiplier, "OUTPUT", clocks.pop())
    return True


def _pack_factors(multiplier: dict[str, Any], registers: Registers, late: set[Bit]) -> bool:
    connections = multiplier["connections"]
    ports = [f"{factor}{place}" for factor in FACTORS for place in range(FACTOR_BITS)]
    bits = {port: connections[port][0] for port in ports if connections.get(port)}
    driven = {port: bit for port, bit in bits.items() if isinstance(bit, int)}
    if "1" in bits.values() or any(bit not in registers for bit in driven.values()):
        return False
    clocks = {registers[bit]["CLK"][0] for bit in driven.values()}
    if len(clocks) != 1:
        return False
    if _has_registers(multiplier) and connections["CLK0"][0] not in clocks:
        return False
    if any(multiplier["parameters"].get(f"REG_INPUT{factor}_CLK", "NONE") != "NONE" for factor in FACTORS):
        return False
    if any(registers[bit]["DI"][0] in late for bit in driven.values()):
        return False
    for port, bit in driven.items():
        connections[port] = list(registers[bit]["DI"])
    for factor in FACTORS:
        _use(multiplier, f"INPUT{factor}", *clocks)
    return True


def _has_registers(multiplier: Mapping[str, Any]) -> bool:
    return any(
        value != "NONE"
        for name, value in multiplier["parameters"].items()
        if name[:4] == "REG_" and name[-4:] == "_CLK"
    )


def _use(multiplier: dict[str, Any], register: str, clock: Bit) -> None:
    multiplier["parameters"] |= {
        f"REG_{register}_CLK": "CLK0", f"REG_{register}_CE": "CE0", f"REG_{register}_RST": "RST0"
    }  # fmt: skip
    for port, constant in (("CLK0", clock), ("CE0", "1"), ("RST0", "0")):
        multiplier["connections"][port] = [constant]
        multiplier["port_directions"][port] = "input"


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
