"""The drift of a tile's devices, in integers.

A device loses conductance as a power of the time since it was programmed, ``G(t) = G * (t / t0) ** -nu``, with an
exponent ``nu`` of its own. In octaves that is a product: ``log2(G(t) / G) = -nu * log2(t / t0)``. So::

    exponent = clamp(EXPONENT_MEAN[level] + round_shift(EXPONENT_SIGMA[level] * eps, 11), 0, 255)
    loss     = round_shift(exponent * time, 7)
    G(t)     = round_shift(G * DECAY[loss mod 256], 15 + loss // 256)

with ``exponent`` nu (10 fraction bits), ``time`` the octaves since ``t0`` (5 fraction bits), ``loss`` in octaves (8
fraction bits), and one Gaussian sample per device, drawn once.
"""

from __future__ import annotations

import math

from . import phase_change
from .errors import require
from .gaussian import SAMPLE_FRACTION_BITS
from .number import WEIGHT_LIMIT, IntegerFormat
from .requantize import clamp, round_shift

EXPONENT = IntegerFormat(8, signed=False)
"""The exponent of a device: ``nu * 2**EXPONENT_FRACTION_BITS``, 0 to 0.249."""
EXPONENT_FRACTION_BITS = 10

TIME = IntegerFormat(10, signed=False)
"""Time since programming: ``log2(t / t0) * 2**TIME_FRACTION_BITS``, 0 to 32 octaves."""
TIME_FRACTION_BITS = 5

FIRST_READ_SECONDS = phase_change.FIRST_READ_SECONDS
"""``t0``: when a programmed device is first read. At time 0 it has not drifted."""

LOSS_FRACTION_BITS = 8
LOSS_SHIFT = EXPONENT_FRACTION_BITS + TIME_FRACTION_BITS - LOSS_FRACTION_BITS
LOSS_BITS = round_shift(EXPONENT.high * TIME.high, LOSS_SHIFT).bit_length()

DECAY_FRACTION_BITS = 15
DECAY = tuple(round(2 ** (DECAY_FRACTION_BITS - index / 256)) for index in range(1 << LOSS_FRACTION_BITS))
"""What is left after ``index / 256`` octaves of loss, 15 fraction bits: 32768 down to 16428."""
DECAY_BITS = max(DECAY).bit_length()


def _exponents(slope: float, constant: float, low: float, high: float) -> tuple[int, ...]:
    """``clamp(slope * ln(g) + constant, low, high)`` for every level, g relative to full scale; level 0 as level 0.01.

    Phase-change memory: S. R. Nandakumar et al., "Phase-change memory models for deep learning training and inference",
    ICECS 2019; the coefficients are those of aihwkit's PCM-like noise model.
    """
    relative = [max(level, 0.01) / WEIGHT_LIMIT for level in range(WEIGHT_LIMIT + 1)]
    values = [min(max(slope * math.log(each) + constant, low), high) for each in relative]
    return tuple(round(value * (1 << EXPONENT_FRACTION_BITS)) for value in values)


EXPONENT_MEAN = _exponents(*phase_change.EXPONENT_MEAN)
"""Mean exponent of a device, by its target level: 0.1 down to 0.049."""
EXPONENT_SIGMA = _exponents(*phase_change.EXPONENT_SIGMA)
"""Its deviation: 0.045 down to 0.008."""
EXPONENT_SIGMA_BITS = max(EXPONENT_SIGMA).bit_length()


def exponent(level: int, sample: int) -> int:
    """The exponent of a device whose target is ``level``, from its Gaussian sample."""
    drawn = EXPONENT_MEAN[level] + round_shift(EXPONENT_SIGMA[level] * sample, SAMPLE_FRACTION_BITS)
    return clamp(drawn, EXPONENT.low, EXPONENT.high)


def drifted(conductance: int, exponent: int, time: int) -> int:
    """A conductance at ``time``."""
    octaves, fraction = divmod(round_shift(exponent * time, LOSS_SHIFT), 1 << LOSS_FRACTION_BITS)
    return round_shift(conductance * DECAY[fraction], DECAY_FRACTION_BITS + octaves)


def time_of(seconds: float) -> int:
    """The nearest time step to ``seconds`` since programming, at least `FIRST_READ_SECONDS`.

    Raises:
        ConfigurationError: ``seconds`` is earlier, or later than the last step (some 2700 years).
    """
    least, most = FIRST_READ_SECONDS, FIRST_READ_SECONDS * 2 ** (TIME.high / (1 << TIME_FRACTION_BITS))
    require(least <= seconds <= most, "seconds", seconds, f"from {least:g} to {most:.3g}")
    return round(math.log2(seconds / FIRST_READ_SECONDS) * (1 << TIME_FRACTION_BITS))
