"""The analog crossbar tile, behaviourally, in integers.

A tile holds one pair of conductances per weight. Programming (once)::

    G+ = clamp((max(w, 0) << 4) + scaled_noise(PROGRAMMING[max(w, 0)], eps))         G- likewise from max(-w, 0)

with one pair of Gaussian samples per weight, weights in row-major order (row, then column), the first sample for
``G+``. Each conversion of an input vector ``x`` (one code of `dac_bits` per row)::

    I_j    = sum_i x_i * (G+_ij - G-_ij) + round_shift(read_sigma * eps, 11)
    code_j = requantize(I_j + offset_j, gain_j, shift_j, low, high)

with one sample per column, columns in order, vectors in stream order. The ADC is the project's requantiser:
``gain_j * 2**-shift_j`` and ``offset_j`` carry the column's process variation. The source is seeded anew (SEED frame)
for programming and for reading.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from .errors import require_choice, require_integer
from .gaussian import SAMPLE, SAMPLE_FRACTION_BITS
from .number import BIAS, WEIGHT_LIMIT, IntegerFormat, signed_bits

LEVEL_FRACTION_BITS = 4
"""Conductances resolve 1/16 of a weight level."""

CONDUCTANCE = IntegerFormat(12, signed=False)
"""A conductance, in sixteenths of a level: 0 to 255.9 levels."""

FULL_SCALE_MICROSIEMENS = 25.0
"""Conductance of level 127."""


def _programming_sigma(level: int) -> int:
    """Deviation of a programmed level, 8 fraction bits below one level.

    Phase-change memory: V. Joshi et al., "Accurate deep neural network inference using computational phase-change
    memory", Nature Communications 11, 2473 (2020): sigma = max(-1.1731 g^2 + 1.9650 g + 0.2635, 0) microsiemens, with g
    relative to the 25 microsiemens of full scale. The unprogrammed device (level 0) keeps its constant term.
    """
    relative = level / WEIGHT_LIMIT
    microsiemens = max(-1.1731 * relative**2 + 1.9650 * relative + 0.2635, 0.0)
    return round(microsiemens / FULL_SCALE_MICROSIEMENS * WEIGHT_LIMIT * 256)


PROGRAMMING = tuple(_programming_sigma(level) for level in range(WEIGHT_LIMIT + 1))
PROGRAMMING_BITS = max(PROGRAMMING).bit_length()

READ_SIGMA = IntegerFormat(20, signed=False)
"""Deviation of the read noise, in units of the column current."""


@dataclass(frozen=True)
class CrossbarConfig:
    """One tile: ``rows`` inputs, ``columns`` outputs, ``dac_bits`` of unsigned input and ``adc_bits`` of signed output.

    ``noisy_programming`` False leaves conductances at their target levels (no samples are drawn for them).
    """

    rows: int
    columns: int
    dac_bits: int = 8
    adc_bits: int = 8
    noisy_programming: bool = True

    def __post_init__(self) -> None:
        require_integer("crossbar.rows", self.rows, 1, 1024)
        require_integer("crossbar.columns", self.columns, 1, 1024)
        require_integer("crossbar.dac_bits", self.dac_bits, 1, 8)
        require_integer("crossbar.adc_bits", self.adc_bits, 2, 8)
        require_choice("crossbar.noisy_programming", self.noisy_programming, (True, False))

    @property
    def source(self) -> IntegerFormat:
        """Format of an input code."""
        return IntegerFormat(self.dac_bits, signed=False)

    @property
    def target(self) -> IntegerFormat:
        """Format of an ADC code."""
        return IntegerFormat(self.adc_bits, signed=True)

    @property
    def current_magnitude(self) -> int:
        """Bound on a column current, read noise included."""
        noise = (READ_SIGMA.high * SAMPLE.magnitude >> SAMPLE_FRACTION_BITS) + 1
        return self.rows * self.source.magnitude * CONDUCTANCE.magnitude + noise

    @property
    def current(self) -> IntegerFormat:
        """Format of current plus ADC offset, sized by proof."""
        return IntegerFormat(signed_bits(self.current_magnitude + BIAS.magnitude), signed=True)

    @property
    def weights(self) -> int:
        """Weights of the tile."""
        return self.rows * self.columns

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, for manifests."""
        return asdict(self)
