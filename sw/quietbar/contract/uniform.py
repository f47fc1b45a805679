"""The uniform source: L'Ecuyer's combined Tausworthe generator LFSR258, 64 bits a draw.

Source: P. L'Ecuyer, "Tables of maximally equidistributed combined LFSR generators", Mathematics of Computation
68 (1999), generator LFSR258 (period about 2**258). Five components, each linear over GF(2), so any of them can leap
``n`` steps by a matrix power: parallel lanes and the vectorised reference produce the one sequence of a seed.

Draw ``j`` of a seed (j = 0, 1, ...) is the exclusive-or of the five words after ``j + 1`` steps from the seed's state.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from .seeds import check_seed

WORD_BITS = 64
WORD_MASK = (1 << WORD_BITS) - 1

State = tuple[int, int, int, int, int]


@dataclass(frozen=True)
class Component:
    """One Tausworthe component; ``order`` leading bits of the word carry its state.

    A step is ``z = ((z & keep) << shift) ^ (((z << tap) ^ z) >> (order - shift))`` on 64-bit words.
    """

    order: int
    tap: int
    shift: int

    @property
    def keep(self) -> int:
        """Mask of the state-carrying bits, the ``order`` leading ones."""
        return WORD_MASK ^ (self.least - 1)

    @property
    def least(self) -> int:
        """Smallest valid word: below it all state-carrying bits are zero and the component would stand still."""
        return 1 << (WORD_BITS - self.order)

    def step(self, word: int) -> int:
        """The word after one step."""
        feedback = (((word << self.tap) & WORD_MASK) ^ word) >> (self.order - self.shift)
        return (((word & self.keep) << self.shift) & WORD_MASK) ^ feedback


COMPONENTS = (
    Component(63, 1, 10),
    Component(55, 24, 5),
    Component(52, 3, 29),
    Component(47, 5, 23),
    Component(41, 3, 8),
)


def seed_state(seed: int) -> State:
    """The five words of a seed: successive SplitMix64 outputs, each lifted above its component's ``least``."""
    check_seed(seed)
    words, counter = [], seed
    for component in COMPONENTS:
        counter = (counter + 0x9E3779B97F4A7C15) & WORD_MASK
        word = ((counter ^ (counter >> 30)) * 0xBF58476D1CE4E5B9) & WORD_MASK
        word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & WORD_MASK
        word ^= word >> 31
        words.append(word if word >= component.least else word + component.least)
    return words[0], words[1], words[2], words[3], words[4]


def step(state: State) -> State:
    """All five components one step on."""
    a, b, c, d, e = (component.step(word) for component, word in zip(COMPONENTS, state, strict=True))
    return a, b, c, d, e


def output(state: State) -> int:
    """The 64-bit draw of a state."""
    return state[0] ^ state[1] ^ state[2] ^ state[3] ^ state[4]


Matrix = tuple[int, ...]
"""A 64 x 64 matrix over GF(2): entry ``i`` is the image of the word ``1 << i``."""


def apply(matrix: Matrix, word: int) -> int:
    """Matrix times word."""
    image = 0
    while word:
        lowest = word & -word
        image ^= matrix[lowest.bit_length() - 1]
        word ^= lowest
    return image


@cache
def leap_matrix(component: int, steps: int) -> Matrix:
    """The matrix that advances ``COMPONENTS[component]`` by ``steps`` steps."""
    if steps == 0:
        return tuple(1 << bit for bit in range(WORD_BITS))
    if steps == 1:
        return tuple(COMPONENTS[component].step(1 << bit) for bit in range(WORD_BITS))
    half = leap_matrix(component, steps // 2)
    square = tuple(apply(half, column) for column in half)
    if steps % 2:
        single = leap_matrix(component, 1)
        return tuple(apply(single, column) for column in square)
    return square


def leap(state: State, steps: int) -> State:
    """The state ``steps`` steps on, in time logarithmic in ``steps``, by matrices of powers of two alone."""
    words = list(state)
    for index in range(len(words)):
        for power in range(steps.bit_length()):
            if steps >> power & 1:
                words[index] = apply(leap_matrix(index, 1 << power), words[index])
    a, b, c, d, e = words
    return a, b, c, d, e


def state_before(seed: int, draw: int) -> State:
    """The state from which one step gives draw number ``draw`` of ``seed``."""
    return leap(seed_state(seed), draw)
