"""The exact choice of blocks under a budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESOLUTION = 1 << 20
"""Steps of the budget, at most: beyond, costs are rounded up to whole steps, and the budget still holds."""


@dataclass(frozen=True)
class Option:
    """One block that a place may get: its parameters, and the share of the damage there that it removes."""

    cost: int
    removed: float


def choose(
    damages: Sequence[float], options: Sequence[Sequence[Option]], budget: int
) -> tuple[list[int | None], float]:
    """One option or none for each place, so that the least damage is left after the last place::

        left_k = (left_{k-1} + damages[k]) * (1 - removed)        left_{-1} = 0

    The damage done at a place travels on, and every block behind it takes its share. As less before never leaves more
    behind, dynamic programming over (place, parameters spent) is exact.

    Args:
        damages: new at each place, in the order in which the network reaches them.
        options: of each place.
        budget: parameters that may be spent.

    Returns:
        The index of the option for each place, None for no block; and the damage left.
    """
    unit = -(-budget // RESOLUTION) or 1
    steps = budget // unit
    left = np.zeros(steps + 1)
    chosen: list[np.ndarray] = []
    for damage, choices in zip(damages, options, strict=True):
        before = left + damage
        left, index = before.copy(), np.full(steps + 1, -1, dtype=np.int16)
        for number, option in enumerate(choices):
            cost = -(-option.cost // unit)
            if cost > steps:
                continue
            candidate = before[: steps + 1 - cost] * (1.0 - option.removed)
            better = candidate < left[cost:]
            left[cost:][better] = candidate[better]
            index[cost:][better] = number
        chosen.append(index)

    result: list[int | None] = []
    at = steps
    for index, choices in zip(reversed(chosen), reversed(options), strict=True):
        number = int(index[at])
        result.append(None if number < 0 else number)
        if number >= 0:
            at -= -(-choices[number].cost // unit)
    return result[::-1], float(left[steps])
