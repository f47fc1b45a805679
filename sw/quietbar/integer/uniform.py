"""The uniform sources, vectorised: a generator advanced in many places of its sequence at once.

Every component is linear over GF(2), so that the states of evenly spaced draws come from one state by matrix powers;
from there all of them step together. Equal to ``quietbar.contract.uniform``, draw by draw.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from quietbar.contract.errors import require_integer
from quietbar.contract.uniform import LFSR258, WORD_BITS, CombinedGenerator, Matrix, component_matrix

DRAW_HIGH = (1 << 62) - 1
"""Largest number of a draw that may be asked for; the period is about 2**258."""

STEPS = 64
"""Draws of one block: the steps that all blocks take together."""

BLOCKS = 2048
"""Blocks that step together: their words stay in the processor's cache."""

Words = NDArray[np.uint64]


def _byte_tables(matrix: Matrix) -> Words:
    """Images of every byte at every place of a word, uint64 [8, 256]: a product is eight look-ups."""
    columns = np.array(matrix, np.uint64).reshape(WORD_BITS // 8, 8)
    tables = np.zeros((WORD_BITS // 8, 256), np.uint64)
    for bit in range(8):
        tables[:, 1 << bit : 2 << bit] = tables[:, : 1 << bit] ^ columns[:, bit : bit + 1]
    return tables


@lru_cache(maxsize=64)
def _leap_tables(generator: CombinedGenerator, steps: int) -> list[Words]:
    return [_byte_tables(component_matrix(component, steps)) for component in generator.components]


def leap_words(words: Words, steps: int, generator: CombinedGenerator = LFSR258) -> Words:
    """States uint64 [components, states], each ``steps`` (a power of two) steps on."""
    tables = _leap_tables(generator, steps)
    return np.stack([_apply_tables(own, row) for own, row in zip(tables, words, strict=True)])


def _apply_tables(tables: Words, words: Words) -> Words:
    image = np.zeros_like(words)
    for place, table in enumerate(tables):
        image ^= table[(words >> np.uint64(8 * place) & np.uint64(0xFF)).astype(np.intp)]
    return image


def draw_chunks(seed: int, count: int, start: int = 0, generator: CombinedGenerator = LFSR258) -> Iterator[Words]:
    """Draws ``start`` to ``start + count - 1`` of ``seed`` as consecutive arrays of at most `BLOCKS` * `STEPS`."""
    state = generator.seed_state(seed)
    require_integer("start", start, 0, DRAW_HIGH)
    require_integer("count", count, 0, DRAW_HIGH)
    if count == 0:
        return
    blocks = min(BLOCKS, -(-count // STEPS))
    origins = np.array(generator.leap(state, start), np.uint64)[:, np.newaxis]
    while origins.shape[1] < blocks:
        origins = np.concatenate([origins, leap_words(origins, origins.shape[1] * STEPS, generator)], axis=1)
    origins = np.ascontiguousarray(origins[:, :blocks])
    while True:
        yield _run(origins, generator)[: min(count, blocks * STEPS)]
        count -= blocks * STEPS
        if count <= 0:
            return
        origins = leap_words(origins, BLOCKS * STEPS, generator)


def _run(origins: Words, generator: CombinedGenerator) -> Words:
    """The `STEPS` draws that follow each state of uint64 [components, blocks], block after block."""
    keep, tap, shift, back = (
        np.array([[value] for value in values], np.uint64)
        for values in zip(
            *((each.keep, each.tap, each.shift, each.order - each.shift) for each in generator.components), strict=True
        )
    )
    states, feedback = origins.copy(), np.empty_like(origins)
    found = np.empty((STEPS, origins.shape[1]), np.uint64)
    for row in found:
        np.left_shift(states, tap, out=feedback)
        feedback ^= states
        feedback >>= back
        states &= keep
        states <<= shift
        states ^= feedback
        np.bitwise_xor(states[0], states[1], out=row)
        for state in states[2:]:
            row ^= state
    return np.ascontiguousarray(found.T).reshape(-1)


def draws(seed: int, count: int, start: int = 0) -> Words:
    """Draws ``start`` to ``start + count - 1`` of ``seed``, uint64 [count].

    Raises:
        ConfigurationError: ``seed``, ``count`` or ``start`` is not an integer in its range.
    """
    chunks = list(draw_chunks(seed, count, start))
    return np.concatenate(chunks) if chunks else np.empty(0, np.uint64)
