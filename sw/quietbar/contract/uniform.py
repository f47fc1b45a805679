"""The uniform sources: combined Tausworthe generators, 64 bits a draw.

`LFSR258` is P. L'Ecuyer's ("Tables of maximally equidistributed combined LFSR generators", Mathematics of Computation
68, 1999; period about 2**258) and feeds the Box-Muller source. `LFSR161` has three components and small steps, made for
little hardware, and feeds the inverse-CDF source.

Components are linear over GF(2), so any of them can leap ``n`` steps by a matrix power: parallel lanes and the
vectorised reference produce the one sequence of a seed.

Draw ``j`` of a seed (j = 0, 1, ...) is the exclusive-or of the words after ``j + 1`` steps from the seed's state.
The functions of this module without a generator in their name are those of `LFSR258`.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from functools import cache, reduce

from .seeds import check_seed

WORD_BITS = 64
WORD_MASK = (1 << WORD_BITS) - 1

State = tuple[int, ...]
"""A word for each component."""


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
def component_matrix(component: Component, steps: int) -> Matrix:
    """The matrix that advances ``component`` by ``steps`` steps."""
    if steps == 0:
        return tuple(1 << bit for bit in range(WORD_BITS))
    if steps == 1:
        return tuple(component.step(1 << bit) for bit in range(WORD_BITS))
    half = component_matrix(component, steps // 2)
    square = tuple(apply(half, column) for column in half)
    if steps % 2:
        single = component_matrix(component, 1)
        return tuple(apply(single, column) for column in square)
    return square


@dataclass(frozen=True)
class CombinedGenerator:
    """Tausworthe components whose words are combined by exclusive-or."""

    components: tuple[Component, ...]

    def seed_state(self, seed: int) -> State:
        """The words of a seed: successive SplitMix64 outputs, each lifted above its component's ``least``."""
        check_seed(seed)
        words, counter = [], seed
        for component in self.components:
            counter = (counter + 0x9E3779B97F4A7C15) & WORD_MASK
            word = ((counter ^ (counter >> 30)) * 0xBF58476D1CE4E5B9) & WORD_MASK
            word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & WORD_MASK
            word ^= word >> 31
            words.append(word if word >= component.least else word + component.least)
        return tuple(words)

    def step(self, state: State) -> State:
        """All components one step on."""
        return tuple(component.step(word) for component, word in zip(self.components, state, strict=True))

    def leap(self, state: State, steps: int) -> State:
        """The state ``steps`` steps on, in time logarithmic in ``steps``, by matrices of powers of two alone."""
        words = list(state)
        for index, component in enumerate(self.components):
            for power in range(steps.bit_length()):
                if steps >> power & 1:
                    words[index] = apply(component_matrix(component, 1 << power), words[index])
        return tuple(words)

    def state_before(self, seed: int, draw: int) -> State:
        """The state from which one step gives draw number ``draw`` of ``seed``."""
        return self.leap(self.seed_state(seed), draw)


def output(state: State) -> int:
    """The 64-bit draw of a state."""
    return reduce(operator.xor, state)


LFSR258 = CombinedGenerator(
    (
        Component(63, 1, 10),
        Component(55, 24, 5),
        Component(52, 3, 29),
        Component(47, 5, 23),
        Component(41, 3, 8),
    )
)
"""L'Ecuyer's generator, maximally equidistributed."""

LFSR161 = CombinedGenerator(
    (
        Component(57, 7, 10),
        Component(55, 24, 9),
        Component(49, 15, 13),
    )
)
"""Three components whose steps take 32 bits together; the period is (2**57 - 1) (2**55 - 1) (2**49 - 1).

Found by a search over primitive trinomials and shifts with that sum, for equidistribution: at each resolution of 1 to
64 leading bits, successive draws are equidistributed in as many dimensions as 161 bits allow, or (at nine of the 64) in
one less. A test computes this.
"""

COMPONENTS = LFSR258.components
seed_state, step, leap, state_before = LFSR258.seed_state, LFSR258.step, LFSR258.leap, LFSR258.state_before


def leap_matrix(component: int, steps: int) -> Matrix:
    """The matrix that advances ``COMPONENTS[component]`` by ``steps`` steps."""
    return component_matrix(COMPONENTS[component], steps)
