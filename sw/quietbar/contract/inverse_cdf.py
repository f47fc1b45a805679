"""The cheap Gaussian source: the inverse of the normal distribution function in fixed point, one sample a draw.

Source of the idea: R. Gutierrez, V. Torres, J. Valls, "Hardware architecture of a Gaussian noise generator based on the
inversion method", IEEE TCAS-II 59(8), 2012: segments that halve towards the tail, a polynomial in each. Of a draw of
`LFSR161`::

    draw[63:21]   z = leading zeros of these 43 bits: P(z) = 2**-(z + 1), the octave of the tail's probability
    draw[20]      sign, 1 is negative
    draw[19:15]   segment of the octave; octaves from 4 on have only 8, told by draw[17:15]
    draw[14:0]    place in the segment

The three parts are independent bits, so nothing is shifted. A segment's place ``v`` in (0, 1) of octave ``z`` stands
for the probability ``2**-(z + 2) * (2 - v)`` of the samples beyond it on the same side, and the sample is the quantile
of that, by a parabola in each segment. Octave 43, all bits zero, is an octave like the others: there the samples end.

Sample ``j`` of a seed comes from its draw ``j``: signed 16 bits with 11 fraction bits, as of the Box-Muller source.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from .gaussian import SAMPLE_FRACTION_BITS
from .stream import FrameKind
from .uniform import LFSR161, WORD_BITS, State, output

OCTAVE_BITS = 43
SIGN_BIT = 20
FINE_BITS = 5
COARSE_BITS = 3
FINE_OCTAVES = 4
PLACE_BITS = 15

FINE_ROW = 384
ROWS = 512

BASE_BITS = 23
BASE_FRACTION_BITS = 20
SLOPE_BITS = 17
SLOPE_FRACTION_BITS = 22
CURVE_BITS = 10
CURVE_FRACTION_BITS = 20

CURVE_SHIFT = PLACE_BITS + CURVE_FRACTION_BITS - SLOPE_FRACTION_BITS
SLOPE_SHIFT = PLACE_BITS + SLOPE_FRACTION_BITS - BASE_FRACTION_BITS
MAGNITUDE_SHIFT = BASE_FRACTION_BITS - SAMPLE_FRACTION_BITS


@dataclass(frozen=True)
class QuadraticTable:
    """A parabola in each of `ROWS` segments, read at the odd place ``t`` from ``1 - 2**15`` to ``2**15 - 1``.

    ``value(row, t) = base + ((slope + (curve * t >> 13)) * t >> 17)``, all unsigned but ``t``; shifts are floors, and
    the halves that make them roundings are in the base.
    """

    base: tuple[int, ...]
    slope: tuple[int, ...]
    curve: tuple[int, ...]

    def value(self, row: int, place: int) -> int:
        """The magnitude of a sample with 20 fraction bits, plus half of the sample's last place."""
        slope = self.slope[row] + (self.curve[row] * place >> CURVE_SHIFT)
        return self.base[row] + (slope * place >> SLOPE_SHIFT)


def row_of(octave: int, segment: int) -> int:
    """Row of the table for a segment (five bits) of an octave."""
    if octave < FINE_OCTAVES:
        return FINE_ROW + (octave << FINE_BITS) + segment
    return (octave << COARSE_BITS) + segment % (1 << COARSE_BITS)


def _tabulate() -> QuadraticTable:
    """The parabola through the quantiles at the three Chebyshev points of each segment; rows never read are zeros."""
    rows = [(0, 0, 0)] * ROWS
    for octave in range(OCTAVE_BITS + 1):
        segments = 1 << (FINE_BITS if octave < FINE_OCTAVES else COARSE_BITS)
        for segment in range(segments):
            below, middle, above = (
                -NormalDist().inv_cdf(2.0 ** -(octave + 2) * (2 - (segment + 0.5 + point) / segments))
                for point in (-math.sqrt(3) / 4, 0.0, math.sqrt(3) / 4)
            )
            slope, curve = (above - below) / math.sqrt(3), (above + below - 2 * middle) * 2 / 3
            halves = 2.0 ** -(SAMPLE_FRACTION_BITS + 1) + 2.0 ** -(BASE_FRACTION_BITS + 1)
            rows[row_of(octave, segment)] = (
                round((middle + halves) * 2**BASE_FRACTION_BITS),
                round(slope * 2**SLOPE_FRACTION_BITS),
                round(curve * 2**CURVE_FRACTION_BITS),
            )
    base, slope_column, curve_column = zip(*rows, strict=True)
    return QuadraticTable(base, slope_column, curve_column)


QUANTILE = _tabulate()
"""Quantiles of N(0, 1)."""


def sample(draw: int) -> int:
    """The sample of one 64-bit draw."""
    octave = OCTAVE_BITS - (draw >> (SIGN_BIT + 1)).bit_length()
    segment = draw >> PLACE_BITS & ((1 << FINE_BITS) - 1)
    place = 2 * (draw & ((1 << PLACE_BITS) - 1)) + 1 - (1 << PLACE_BITS)
    magnitude = QUANTILE.value(row_of(octave, segment), place) >> MAGNITUDE_SHIFT
    return -magnitude if draw >> SIGN_BIT & 1 else magnitude


def samples(seed: int, count: int, start: int = 0) -> list[int]:
    """Samples ``start`` to ``start + count - 1`` of ``seed``, one by one: the specification, slow on purpose."""
    state = LFSR161.state_before(seed, start)
    found: list[int] = []
    for _ in range(count):
        state = LFSR161.step(state)
        found.append(sample(output(state)))
    return found


# The hardware keeps, for each component, the bits of its sequence that the draws of all lanes take together: 64, and
# ``shift`` more for each further lane. It is seeded by shifting them in from the newest end.


def window_bits(component: int, lanes: int) -> int:
    """Bits of a component's sequence that ``lanes`` successive draws take."""
    return WORD_BITS + (lanes - 1) * LFSR161.components[component].shift


def seed_words(lanes: int) -> int:
    """32-bit words that seed ``lanes`` lanes; each group of ``lanes`` words shifts all windows once."""
    groups = (
        -(-window_bits(index, lanes) // (lanes * component.shift)) for index, component in enumerate(LFSR161.components)
    )
    return lanes * max(groups)


def seed_frame(seed: int, lanes: int = 1, start_draw: int = 0) -> list[int]:
    """The SEED frame that makes a source of ``lanes`` lanes start with sample ``start_draw`` of ``seed``."""
    return state_frame(LFSR161.state_before(seed, start_draw + 1), lanes)


def state_frame(state: State, lanes: int = 1) -> list[int]:
    """The SEED frame that makes a source start with the draw of ``state``, which has taken a step at least.

    A word holds ``shift`` successive bits of each component, the first component's lowest, earlier bits above later
    ones; words are in the order of the sequence, and zeros come before what the windows keep.
    """
    count = seed_words(lanes)
    windows = list(state)
    for _ in range(lanes - 1):
        state = LFSR161.step(state)
        for index, component in enumerate(LFSR161.components):
            windows[index] = windows[index] << component.shift | state[index] & ((1 << component.shift) - 1)
    words = [0] * count
    offset = 0
    for window, component in zip(windows, LFSR161.components, strict=True):
        for place in range(count):
            part = window >> (count - 1 - place) * component.shift & ((1 << component.shift) - 1)
            words[place] |= part << offset
        offset += component.shift
    return [FrameKind.SEED, *words]
