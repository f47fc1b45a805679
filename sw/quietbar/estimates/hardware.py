"""What the arrays are built of, and the assumptions of an estimate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from quietbar.configuration import from_mapping, to_mapping
from quietbar.contract.errors import require_integer, require_number

from .constants import CONSTANTS

REFERENCE_BITS = 8
"""Resolution of the ADC that the constants describe."""

ASSUMPTIONS = (
    "every array is programmed once and stays; arrays of a layer work at the same time, layers one after another",
    "an ADC conversion takes 2^(bits - 8) times the energy of one to 8 bits (a constant figure of merit per conversion "
    "step), in the same time and area; ideal converters are counted as 8-bit ones",
    "a DAC applies its bits one after another: its energy and the time of a reading grow with the bits of a slice",
    "the two columns of a differential pair are subtracted before their one ADC; each weight slice has its own",
    "a reading takes as long as the slower of the array and the ADCs that are shared by its columns",
    "all cells of an array that hold a weight are charged, whatever their conductance and the input",
    "not counted: buffers, interconnect, digital layers, control, programming, leakage",
)


def _constant(name: str) -> float:
    return CONSTANTS[name].value


@dataclass(frozen=True)
class Hardware:
    """Parts of the arrays; energies in pJ, times in ns, areas in square micrometers, each by default as published.

    Attributes:
        tile_rows: rows of an array.
        tile_columns: columns of an array.
        columns_per_weight: columns that hold a weight together and are read by one ADC: 2 for differential pairs.
        weight_slices: such columns, each with its own conversion, for the digits of a weight.
        columns_per_adc: columns that share an ADC.
        adc_energy: of one conversion to 8 bits.
        dac_energy: of one bit applied to one row.
        cell_energy: of one cell in one reading of one bit's time.
        hold_energy: of holding one result for its ADC.
        add_energy: of one digital addition.
        digital_mac_energy: of a digital 8-bit multiply-accumulate, for comparison.
        read_time: of applying one bit to an array.
        adc_time: of one conversion.
        adc_area, dac_area, cell_area, hold_area, add_area: of one each.
    """

    tile_rows: int = 128
    tile_columns: int = 128
    columns_per_weight: int = 2
    weight_slices: int = 1
    columns_per_adc: int = 128
    adc_energy: float = _constant("adc_energy")
    dac_energy: float = _constant("dac_energy")
    cell_energy: float = _constant("cell_energy")
    hold_energy: float = _constant("hold_energy")
    add_energy: float = _constant("add_energy")
    digital_mac_energy: float = _constant("digital_mac_energy")
    read_time: float = _constant("read_time")
    adc_time: float = _constant("adc_time")
    adc_area: float = _constant("adc_area")
    dac_area: float = _constant("dac_area")
    cell_area: float = _constant("cell_area")
    hold_area: float = _constant("hold_area")
    add_area: float = _constant("add_area")

    def __post_init__(self) -> None:
        for field in fields(self):
            name, value = f"hardware.{field.name}", getattr(self, field.name)
            if field.name in CONSTANTS:
                require_number(name, value, 0.0)
            else:
                require_integer(name, value, 1, 1 << 20)
        width = self.columns_per_weight
        require_integer("hardware.tile_columns", self.tile_columns, width, 1 << 20)

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, for TOML and JSON."""
        return to_mapping(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Hardware:
        """The inverse of :meth:`to_dict`; fields left out take their defaults, unknown ones are refused by name."""
        return from_mapping(cls, values, "hardware")
