"""What stands between the digital world and the arrays: converters and their ranges, and the cutting into arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from quietbar.configuration import from_mapping, to_mapping
from quietbar.contract.errors import ConfigurationError, require, require_choice, require_integer

from .grid import MOST_BITS
from .wires import Wires

RANGES = ("max", "percentile", "std")
SIGNS = ("auto", "signed", "unsigned")


def _require_number(field: str, value: Any, low: float, high: float, zero: bool = False) -> None:
    end = "" if math.isinf(high) else f" and at most {high:g}"
    allowed = f"a finite number {'of at least' if zero else 'above'} {low:g}{end}"
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    require(is_number and (value > low or (zero and value == low)) and value <= high, field, value, allowed)


@dataclass(frozen=True)
class Converter:
    """A uniform converter, and how its range is found in the calibration data.

    Attributes:
        bits: 2 to 16; None is an ideal converter, without steps or ends.
        range: what the largest convertible magnitude is: ``"max"``, the largest magnitude in the calibration data;
            ``"percentile"``, the one that ``percentile`` percent of them do not exceed (within 0.8 %); ``"std"``, the
            magnitude of the mean plus ``deviations`` standard deviations.
        percentile: above 0 up to 100, in percent; for ``range = "percentile"``.
        deviations: above 0, in standard deviations; for ``range = "std"``.
        margin: above 0, factor on the range: what noise adds needs room that calibration, without noise, does not see.
    """

    bits: int | None = None
    range: Literal["max", "percentile", "std"] = "max"
    percentile: float = 99.99
    deviations: float = 4.0
    margin: float = 1.0

    def __post_init__(self) -> None:
        if self.bits is not None:
            require_integer("converter.bits", self.bits, 2, MOST_BITS)
        require_choice("converter.range", self.range, RANGES)
        _require_number("converter.percentile", self.percentile, 0, 100)
        _require_number("converter.deviations", self.deviations, 0, math.inf)
        _require_number("converter.margin", self.margin, 0, math.inf)


@dataclass(frozen=True)
class Interface:
    """Converters and tiling of an analog layer; the default is ideal.

    The DAC turns the layer's input into codes of the DAC's grid. The ADC converts every analog result: of each array
    where a layer has more rows than ``tile_rows``, and of each slice of the input bits where ``slice_bits`` is set.
    These conversions are then added digitally. Both grids hold 0.

    Attributes:
        dac: of the inputs.
        adc: of the results; always signed. The result of each array and slice has a range of its own.
        dac_sign: ``"signed"``, ``"unsigned"`` (negative inputs become 0), or ``"auto"``: unsigned where calibration saw
            no negative input.
        slice_bits: bits of the input's magnitude applied at a time, lowest first, 1 to 15 (1 is bit-serial); the sign
            goes along with every slice. None applies them all at once.
        tile_rows: most rows of an array, hence inputs of a column; None is no limit. A layer is cut between input
            channels into arrays of nearly equal size. At least the kernel's height times its width.
        tile_columns: most columns of an array; None is no limit. Results do not depend on it, estimates and IR drop do.
        adc_gain: standard deviation over an array's columns of the relative gain error of their ADCs (no unit).
        adc_offset: standard deviation over an array's columns of the offset of their ADCs, in codes (LSB).
        wires: resistances of the arrays' wires; wants ``tile_rows``, ``tile_columns`` and a chip with a conductance.

    Raises:
        ConfigurationError: a field is outside what is allowed, or contradicts another one.
    """

    dac: Converter = Converter()
    adc: Converter = Converter()
    dac_sign: Literal["auto", "signed", "unsigned"] = "auto"
    slice_bits: int | None = None
    tile_rows: int | None = None
    tile_columns: int | None = None
    adc_gain: float = 0.0
    adc_offset: float = 0.0
    wires: Wires = Wires()  # noqa: RUF009 - it is frozen

    def __post_init__(self) -> None:
        for name in ("dac", "adc"):
            value = getattr(self, name)
            require(isinstance(value, Converter), f"interface.{name}", value, "a quietbar.analog.Converter")
        require_choice("interface.dac_sign", self.dac_sign, SIGNS)
        if self.slice_bits is not None:
            require(
                self.dac.bits is not None,
                "interface.slice_bits",
                self.slice_bits,
                "None without dac.bits: an ideal input has no bits to slice",
            )
            assert self.dac.bits is not None
            require_integer("interface.slice_bits", self.slice_bits, 1, self.dac.bits - 1)
        for name in ("tile_rows", "tile_columns"):
            if getattr(self, name) is not None:
                require_integer(f"interface.{name}", getattr(self, name), 1, 1 << 20)
        for name in ("adc_gain", "adc_offset"):
            _require_number(f"interface.{name}", getattr(self, name), 0, math.inf, zero=True)
            if getattr(self, name) and self.adc.bits is None:
                raise ConfigurationError(f"interface.{name}", getattr(self, name), "0 without adc.bits: set adc.bits")

        require(isinstance(self.wires, Wires), "interface.wires", self.wires, "a quietbar.analog.Wires")
        for name in ("tile_rows", "tile_columns"):
            is_known = self.wires.is_ideal or getattr(self, name) is not None
            require(is_known, f"interface.{name}", None, "given with wires: IR drop depends on an array's size")

    @property
    def is_ideal(self) -> bool:
        """Whether it changes nothing."""
        return self.dac.bits is None and self.adc.bits is None and self.wires.is_ideal

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, for TOML and JSON."""
        return to_mapping(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Interface:
        """The inverse of :meth:`to_dict`; fields left out take their defaults, unknown ones are refused by name."""
        return from_mapping(cls, values, "interface")
