"""The exact choice of blocks under one budget, or under several at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESOLUTION = 1 << 20
"""Steps of the budget, at most: beyond, costs are rounded up to whole steps, and the budget still holds."""


SCALE = 1e4
"""All damage together in the units of the solver, whose answer may be 1e-6 of one off the best."""


@dataclass(frozen=True)
class Option:
    """One block that a place may get: its parameters, and the share of the damage there that it removes.

    ``costs`` is what else it costs, in the order of the further budgets.
    """

    cost: int
    removed: float
    costs: tuple[int, ...] = ()


def choose(
    damages: Sequence[float], options: Sequence[Sequence[Option]], budget: int, budgets: Sequence[int] = ()
) -> tuple[list[int | None], float]:
    """One option or none for each place, so that the least damage is left after the last place::

        left_k = (left_{k-1} + damages[k]) * (1 - removed)        left_{-1} = 0

    The damage done at a place travels on, and every block behind it takes its share. As less before never leaves more
    behind, dynamic programming over (place, parameters spent) is exact. With further budgets HiGHS solves it as a mixed
    integer linear program: ``x`` says which option is taken, and each ``left_k`` is bounded from below by what the
    option taken leaves, the others' bounds being lifted by the largest damage that can be there.

    Args:
        damages: new at each place, in the order in which the network reaches them.
        options: of each place.
        budget: parameters that may be spent.
        budgets: what may be spent of each of the options' further ``costs``.

    Returns:
        The index of the option for each place, None for no block; and the damage left.
    """
    if budgets and sum(damages) > 0:
        chosen = _solve(np.asarray(damages), options, [budget, *budgets])
        return chosen, _left(damages, options, chosen)
    return _choose_by_parameters(damages, options, budget)


def _left(damages: Sequence[float], options: Sequence[Sequence[Option]], chosen: Sequence[int | None]) -> float:
    left = 0.0
    for damage, choices, number in zip(damages, options, chosen, strict=True):
        left = (left + damage) * (1 - (0.0 if number is None else choices[number].removed))
    return left


def _choose_by_parameters(
    damages: Sequence[float], options: Sequence[Sequence[Option]], budget: int
) -> tuple[list[int | None], float]:
    unit = -(-budget // RESOLUTION) or 1
    steps = budget // unit
    left = np.zeros(steps + 1)
    chosen: list[NDArray[np.int16]] = []
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


def _solve(
    damages: NDArray[np.float64], options: Sequence[Sequence[Option]], budgets: Sequence[int]
) -> list[int | None]:
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import lil_array

    damages = SCALE * damages / damages.sum()
    reach = damages.cumsum()  # the most that can be left behind each place
    taken = [(place, number) for place, choices in enumerate(options) for number in range(len(choices))]
    column = {option: index for index, option in enumerate(taken)}
    places, first = len(damages), len(taken)

    left = lil_array((first + places, first + places))
    at_least = np.zeros(first + places)
    single = lil_array((places, first + places))
    for place, choices in enumerate(options):
        none = first + place
        left[none, none] = 1
        at_least[none] = damages[place]
        for number, option in enumerate(choices):
            row, keep = column[place, number], 1 - option.removed
            left[row, none] = 1
            left[row, row] = -reach[place] * keep
            at_least[row] = (damages[place] - reach[place]) * keep
            left[none, row] = reach[place] * option.removed
            single[place, row] = 1
            if place:
                left[row, none - 1] = -keep
        if place:
            left[none, none - 1] = -1
    spent = np.zeros((len(budgets), first + places))
    for (place, number), index in column.items():
        option = options[place][number]
        spent[:, index] = (option.cost, *option.costs)

    last = np.zeros(first + places)
    last[-1] = 1
    found = milp(
        last,
        constraints=[
            LinearConstraint(left.tocsr(), lb=at_least),
            LinearConstraint(single.tocsr(), ub=1),
            LinearConstraint(spent / np.maximum(1, budgets)[:, None], ub=np.minimum(1, budgets)),
        ],
        integrality=np.r_[np.ones(first), np.zeros(places)],
        bounds=Bounds(0, np.r_[np.ones(first), np.full(places, np.inf)]),
        options={"mip_rel_gap": 0},
    )
    assert found.x is not None, found.message
    chosen: list[int | None] = [None] * places
    for (place, number), index in column.items():
        if found.x[index] > 0.5:
            chosen[place] = number
    return chosen
