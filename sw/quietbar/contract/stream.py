"""What travels on the streams of the hardware.

Data: a tensor's elements in channel-last raster order (row, column, channel), ``lanes`` channels to a beat, the low
channel in the low bits; the last beat of a frame carries ``tlast``.

Configuration: frames of 32-bit words, the first of which says the kind. All integers are sign-extended to 32 bits.
    PARAMETERS  for each stage in order: its weights (output by output, inputs in order), biases, multipliers, shifts
    SEED        for each generator lane in order: the five state words of the uniform source, low half first
    PROGRAM     crossbar: the weights, row by row
    CONVERTER   crossbar: all offsets, all gains, all shifts, each by tile and column, then the read sigma
    FAULTS      crossbar: for each weight, row by row, the fault of G+ in bits 1:0, that of G- in bits 3:2
    EXPONENTS   crossbar: the weights again, row by row; each device draws its exponent of drift
    TIME        crossbar: the time step; PROGRAM sets it to 0
    SCALE       crossbar: all biases, all multipliers, all shifts, each by column
"""

from __future__ import annotations

import enum

from .uniform import leap, seed_state

CONFIGURATION_WORD_BITS = 32
SEED_WORDS_PER_LANE = 10
"""Of a generator of LFSR258: five words of 64 bits."""


class FrameKind(enum.IntEnum):
    """First word of a configuration frame."""

    PARAMETERS = 1
    SEED = 2
    PROGRAM = 3
    CONVERTER = 4
    FAULTS = 5
    EXPONENTS = 6
    TIME = 7
    SCALE = 8


def to_words(values: list[int]) -> list[int]:
    """Signed or unsigned integers as unsigned 32-bit words."""
    return [value & 0xFFFFFFFF for value in values]


def seed_frame(seed: int, lanes: int = 1, start_draw: int = 0) -> list[int]:
    """The SEED frame that makes ``lanes`` parallel generators emit the one sequence of ``seed`` from ``start_draw`` on.

    A generator emits the output of its state, then advances by ``lanes`` steps; lane ``p`` therefore starts at the
    state whose output is draw ``start_draw + p``, and lane by lane the draws interleave to the sequence, whatever the
    number of lanes.
    """
    words: list[int] = [FrameKind.SEED]
    for lane in range(lanes):
        for word in leap(seed_state(seed), start_draw + lane + 1):
            words += [word & 0xFFFFFFFF, word >> 32]
    return words
