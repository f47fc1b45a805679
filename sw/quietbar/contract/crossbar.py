"""Analog crossbar tiles, behaviourally, in integers: one tile, or an array of tiles with digital partial sums.

A weight ``w_ij`` is held by a pair of devices. Programming (once)::

    G+ = clamp((max(w, 0) << 4) + scaled_noise(PROGRAMMING[max(w, 0)], eps))         G- likewise from max(-w, 0)

with one pair of Gaussian samples per weight, weights in row-major order (row, then column) of the whole matrix, the
first sample for ``G+``. With ``drift`` every device has an exponent as well (:mod:`quietbar.contract.drift`), drawn
likewise in a second pass, and the conductance of a time step follows from both. With ``faults`` a device may be stuck
(`Fault`), whatever it was programmed to and however long ago.

The rows of the matrix are split over ``row_tiles`` tiles of ``rows`` each, its columns over ``column_tiles`` of
``columns``. An input code has ``slices * dac_bits`` bits; the converters apply ``dac_bits`` of them at a time, the low
ones first. So a vector ``x`` takes ``slices * row_tiles`` conversions of every column ``j``, for slice ``s`` and tile
``t``, i over the tile's rows::

    I_stj    = sum_i slice_s(x_i) * (G+_ij - G-_ij) + round_shift(read_sigma * eps, 11)
    code_stj = requantize(I_stj + offset_tj, gain_tj, shift_tj, low, high)
    sum_j    = sum_st code_stj << (s * dac_bits)
    out_j    = sum_j, or requantize(sum_j + bias_j, multiplier_j, shift_j) to eight bits

with one sample per conversion, in the order (vector, slice, tile, column). The ADC is the project's requantiser:
``gain_tj * 2**-shift_tj`` and ``offset_tj`` carry the column's process variation. The source is seeded anew (SEED
frame) for programming, for the exponents and for reading.
"""

from __future__ import annotations

import enum
from dataclasses import asdict, dataclass
from typing import Any, Literal

from . import phase_change
from .errors import require_choice, require_integer
from .gaussian import SAMPLE, SAMPLE_FRACTION_BITS
from .number import BIAS, INT8, UINT8, WEIGHT_LIMIT, IntegerFormat, signed_bits

LEVEL_FRACTION_BITS = 4
"""Conductances resolve 1/16 of a weight level."""

CONDUCTANCE = IntegerFormat(12, signed=False)
"""A conductance, in sixteenths of a level: 0 to 255.9 levels."""

FULL_SCALE_MICROSIEMENS = phase_change.FULL_SCALE_MICROSIEMENS
"""Conductance of level 127."""


def _programming_sigma(level: int) -> int:
    """Deviation of a programmed level, 8 fraction bits below one level.

    Phase-change memory (:mod:`quietbar.contract.phase_change`): sigma = max(-1.1731 g^2 + 1.9650 g + 0.2635, 0)
    microsiemens, with g relative to the 25 microsiemens of full scale. The unprogrammed device (level 0) keeps its
    constant term.
    """
    relative = level / WEIGHT_LIMIT
    constant, linear, quadratic = phase_change.PROGRAMMING
    microsiemens = max(quadratic * relative**2 + linear * relative + constant, 0.0)
    return round(microsiemens / FULL_SCALE_MICROSIEMENS * WEIGHT_LIMIT * 256)


PROGRAMMING = tuple(_programming_sigma(level) for level in range(WEIGHT_LIMIT + 1))
PROGRAMMING_BITS = max(PROGRAMMING).bit_length()

READ_SIGMA = IntegerFormat(20, signed=False)
"""Deviation of the read noise, in units of the column current."""


class Fault(enum.IntEnum):
    """What is wrong with a device, once and for all."""

    NONE = 0
    STUCK_AT_ZERO = 1
    STUCK_AT_FULL = 2


FAULT_BITS = 2
STUCK_AT_FULL_CONDUCTANCE = WEIGHT_LIMIT << LEVEL_FRACTION_BITS
"""Conductance of a device that is stuck at full: that of level 127."""

Output = Literal["sums", "signed", "unsigned"]
OUTPUTS: tuple[Output, ...] = ("sums", "signed", "unsigned")
CODE_BITS_HIGH = 8
"""Most bits of an input code."""


@dataclass(frozen=True)
class CrossbarConfig:
    """An array of tiles, by default of one.

    Attributes:
        rows, columns: of one tile.
        dac_bits: unsigned bits that are applied to a row at a time.
        adc_bits: signed bits of a conversion.
        noisy_programming: False leaves conductances at their target levels, and exponents at their means; no samples
            are drawn for them.
        slices: parts of ``dac_bits`` in an input code, applied one after the other; ``dac_bits`` 1 is bit-serial input.
        row_tiles: tiles whose codes are added up.
        column_tiles: tiles side by side.
        faults: whether devices can be stuck.
        drift: whether they drift.
        output: the sums of ADC codes as they are, or scaled digitally to signed or (with a ReLU) unsigned eight bits.
    """

    rows: int
    columns: int
    dac_bits: int = 8
    adc_bits: int = 8
    noisy_programming: bool = True
    slices: int = 1
    row_tiles: int = 1
    column_tiles: int = 1
    faults: bool = False
    drift: bool = False
    output: Output = "sums"

    def __post_init__(self) -> None:
        require_integer("crossbar.rows", self.rows, 1, 1024)
        require_integer("crossbar.columns", self.columns, 1, 1024)
        require_integer("crossbar.dac_bits", self.dac_bits, 1, CODE_BITS_HIGH)
        require_integer("crossbar.adc_bits", self.adc_bits, 2, 8)
        require_integer("crossbar.slices", self.slices, 1, CODE_BITS_HIGH // self.dac_bits)
        require_integer("crossbar.row_tiles", self.row_tiles, 1, 1024)
        require_integer("crossbar.column_tiles", self.column_tiles, 1, 1024)
        for field in ("noisy_programming", "faults", "drift"):
            require_choice(f"crossbar.{field}", getattr(self, field), (True, False))
        require_choice("crossbar.output", self.output, OUTPUTS)

    @property
    def inputs(self) -> int:
        """Input codes of a vector."""
        return self.rows * self.row_tiles

    @property
    def outputs(self) -> int:
        """Outputs for a vector."""
        return self.columns * self.column_tiles

    @property
    def weights(self) -> int:
        """Weights of all tiles."""
        return self.inputs * self.outputs

    @property
    def conversions(self) -> int:
        """Conversions, and samples of read noise, for a vector."""
        return self.slices * self.row_tiles * self.outputs

    @property
    def source(self) -> IntegerFormat:
        """Format of an input code."""
        return IntegerFormat(self.slices * self.dac_bits, signed=False)

    @property
    def dac(self) -> IntegerFormat:
        """Format of the part of it that is applied at a time."""
        return IntegerFormat(self.dac_bits, signed=False)

    @property
    def adc(self) -> IntegerFormat:
        """Format of an ADC code."""
        return IntegerFormat(self.adc_bits, signed=True)

    @property
    def sum(self) -> IntegerFormat:
        """Format of a column's sum of ADC codes, partial ones included."""
        if self.slices * self.row_tiles == 1:
            return self.adc
        weight = sum(1 << (number * self.dac_bits) for number in range(self.slices))
        return IntegerFormat(signed_bits(weight * self.row_tiles * self.adc.magnitude), signed=True)

    @property
    def scaled(self) -> IntegerFormat:
        """Format of a sum plus bias."""
        return IntegerFormat(signed_bits(self.sum.magnitude + BIAS.magnitude), signed=True)

    @property
    def target(self) -> IntegerFormat:
        """Format of an output."""
        return {"sums": self.sum, "signed": INT8, "unsigned": UINT8}[self.output]

    @property
    def current_magnitude(self) -> int:
        """Bound on a column current, read noise included."""
        noise = (READ_SIGMA.high * SAMPLE.magnitude >> SAMPLE_FRACTION_BITS) + 1
        return self.rows * self.dac.magnitude * CONDUCTANCE.magnitude + noise

    @property
    def current(self) -> IntegerFormat:
        """Format of current plus ADC offset, sized by proof."""
        return IntegerFormat(signed_bits(self.current_magnitude + BIAS.magnitude), signed=True)

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, for manifests."""
        return asdict(self)
