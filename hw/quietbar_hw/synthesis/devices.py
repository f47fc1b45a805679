"""FPGAs and their families: what a device has, how Yosys maps a design to it, and which places its cells take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from quietbar.contract import require_choice

from .resources import xilinx7_commands
from .targets import NARROW_FACTOR

RESOURCES = ("LUT", "FF", "DSP", "RAM")
"""What a device has so many of: look-up tables, flip-flops, multipliers, block memories (of a family's size)."""


@dataclass(frozen=True)
class Family:
    """FPGAs made of the same parts.

    Attributes:
        commands: of Yosys between reading the Verilog and counting cells; the top module is called ``top``.
        places: resource -> cell -> how many of the resource it takes.
        ram: what one block memory is, for tables.
        clock: in MHz, to plan with unless another one is given. Nothing measured: ``quietbar synth`` places and times.
    """

    commands: tuple[str, ...]
    places: Mapping[str, Mapping[str, int]]
    ram: str
    clock: float


@dataclass(frozen=True)
class Device:
    """An FPGA.

    Attributes:
        name: of the device, without package and speed grade.
        family: key of `FAMILIES`.
        has: of each resource.
        source: where these numbers stand.
    """

    name: str
    family: str
    has: Mapping[str, int]
    source: str


_NARROW = f"t:$mul r:A_WIDTH<={NARROW_FACTOR} %i r:B_WIDTH<={NARROW_FACTOR} %i"
_BITS = ("memory_dff", "simplemap t:$dff r:WIDTH>32 %i")
"""Registers that hold more than a product, bit by bit. Of such a one, as the second behind a product, Yosys 0.70 puts
the product's part into the multiplier of an iCE40 and leaves it where it was, too: nothing drives it, and the product
is lost. Registers of memories are taken first."""

FAMILIES: dict[str, Family] = {
    "ecp5": Family(
        commands=("synth_ecp5 -abc9 -dff -top top",),
        places={
            # A carry cell is two LUTs. Sixteen rows of four bits take four, and their write port blocks two more.
            "LUT": {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6},
            "FF": {"TRELLIS_FF": 1},
            "DSP": {"MULT18X18D": 1},
            "RAM": {"DP16KD": 1},
        },
        ram="18 Kbit",
        clock=100.0,
    ),
    "ice40": Family(
        commands=(
            "hierarchy -top top", "proc", "flatten", "opt", "wreduce", f"booth {_NARROW}", *_BITS,
            "synth_ice40 -abc9 -dsp -top top",
        ),
        places={
            "LUT": {"SB_LUT4": 1},
            "FF": {f"SB_DFF{kind}": 1 for kind in ("", "E", "R", "S", "SR", "SS", "ER", "ES", "ESR", "ESS")},
            "DSP": {"SB_MAC16": 1},
            "RAM": {"SB_RAM40_4K": 1},
        },
        ram="4 Kbit",
        clock=24.0,
    ),
    "xilinx7": Family(
        commands=xilinx7_commands("top"),
        places={
            "LUT": {
                **{f"LUT{inputs}": 1 for inputs in range(1, 7)},
                "SRL16E": 1, "SRLC32E": 1, "RAM32X1S": 1, "RAM64X1S": 1, "RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4,
                "RAM32M": 4, "RAM64M": 4,
            },
            "FF": {"FDRE": 1, "FDSE": 1, "FDCE": 1, "FDPE": 1},
            "DSP": {"DSP48E1": 1},
            "RAM": {"RAMB18E1": 1, "RAMB36E1": 2},
        },
        ram="18 Kbit",
        clock=100.0,
    ),
}  # fmt: skip
"""By name of the synthesis target."""

_ECP5 = "Lattice FPGA-DS-02012, ECP5 and ECP5-5G family data sheet, table 1.1"
_ICE40 = "Lattice FPGA-DS-02008, iCE40 UltraPlus family data sheet, table 2.1"
_ARTIX7 = "AMD DS180, 7 series FPGAs overview, table 4"

DEVICES: dict[str, Device] = {
    device.name: device
    for device in (
        Device("ecp5-25", "ecp5", {"LUT": 24_288, "FF": 24_288, "DSP": 28, "RAM": 56}, _ECP5),
        Device("ecp5-45", "ecp5", {"LUT": 43_848, "FF": 43_848, "DSP": 72, "RAM": 108}, _ECP5),
        Device("ecp5-85", "ecp5", {"LUT": 83_640, "FF": 83_640, "DSP": 156, "RAM": 208}, _ECP5),
        Device("ice40up5k", "ice40", {"LUT": 5_280, "FF": 5_280, "DSP": 8, "RAM": 30}, _ICE40),
        Device("xc7a35t", "xilinx7", {"LUT": 20_800, "FF": 41_600, "DSP": 90, "RAM": 100}, _ARTIX7),
        Device("xc7a100t", "xilinx7", {"LUT": 63_400, "FF": 126_800, "DSP": 240, "RAM": 270}, _ARTIX7),
        Device("xc7a200t", "xilinx7", {"LUT": 134_600, "FF": 269_200, "DSP": 740, "RAM": 730}, _ARTIX7),
    )
}
"""By name."""


def device_by_name(name: str, field: str = "device") -> Device:
    """A device of the table; another name is refused with all that are there, as the value of ``field``."""
    require_choice(field, name, tuple(DEVICES))
    return DEVICES[name]


def places_of(family: Family, cells: Mapping[str, int]) -> dict[str, int]:
    """The resources that cells of a synthesised design take."""
    return {
        resource: sum(cells.get(cell, 0) * weight for cell, weight in family.places[resource].items())
        for resource in RESOURCES
    }
