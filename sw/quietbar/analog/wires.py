"""IR drop: what the resistance of its wires makes of an array's conductances, exactly.

The circuit of an array of R rows and C columns. Row i is a wire with a driver at its left end, column j one with an
amplifier, whose input is at 0 V, at its bottom end. Cell (i, j) joins the two wires where they cross::

    driver i --[driver]--[row]--o--[row]--o--[row]-- ... --o         every [row], [column]: the resistance of a wire
                                |g_i0     |g_i1            |         from one cell to the next; the outermost ones lead
                          ------+---------+----------------+----     to the driver and to the amplifier
                                |[column] |[column]        |
                               ...       ...              ...
                          [amplifier]   to the amplifiers of the columns

The circuit is linear, so its currents are ``I_j = sum_i E_ij V_i`` for any voltages: an *effective* array E without
wire resistance does the same (for voltages on all rows at once and cells that obey Ohm's law). It is solved once.

Elimination, row by row from the top, of this block tridiagonal system. A row's cells carry the currents
``K (V 1 - v)``, with v the voltages of the column wires at that row, ``K = (1 + D W)^-1 D``, D the row's conductances
on a diagonal, and W_jk the resistance of the part of the row's wire that the paths to cells j and k share. With
``Q V - P v`` the currents that come down the columns below some row, the next row below finds::

    Q' = [(1 + r P)^-1 Q, K' 1]        r: one column segment
    P' =  (1 + r P)^-1 P + K'

and the amplifiers receive ``(1 + (r + amplifier) P)^-1 Q``. No resistance is inverted: each may be 0. The cost is about
R C^3 multiplications; by reciprocity the transposed array may be solved where that is cheaper.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from quietbar.contract.errors import ConfigurationError, require

MICRO = 1e-6

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Wires:
    """Resistances of an array's wires, in ohms; 0 is ideal.

    Attributes:
        row: of a row's wire, from cell to cell (and from the driver to the first).
        column: of a column's wire, from cell to cell (and from the last to the amplifier).
        driver: of a row's driver, and what leads to it.
        amplifier: of a column amplifier's input, and what leads to it.
        two_sided: whether rows have a second driver, with the same voltage, at their right ends.
    """

    row: float = 0.0
    column: float = 0.0
    driver: float = 0.0
    amplifier: float = 0.0
    two_sided: bool = False

    def __post_init__(self) -> None:
        for name in ("row", "column", "driver", "amplifier"):
            value = getattr(self, name)
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
            require(is_number and value >= 0, f"wires.{name}", value, "a finite number of ohms of at least 0")
        require(isinstance(self.two_sided, bool), "wires.two_sided", self.two_sided, "True or False")

    @property
    def is_ideal(self) -> bool:
        """Whether they change nothing."""
        return self.row == self.column == self.driver == self.amplifier == 0


def effective_conductances(conductances: Any, wires: Wires) -> Matrix:
    """Conductances that without wire resistance give the currents that ``conductances`` give with it.

    Columns of a differential pair, or of weight slices, that lie in one array share its row wires: give them together,
    in the order in which they lie side by side.

    Args:
        conductances: (rows, columns), in microsiemens, finite and at least 0; 0 is an open cell.
        wires: the resistances.

    Returns:
        float64 (rows, columns), in microsiemens.

    Raises:
        ConfigurationError: the conductances are not a matrix of finite numbers of at least 0.
    """
    require(isinstance(wires, Wires), "effective_conductances.wires", wires, "a quietbar.analog.Wires")
    try:
        cells = np.array(conductances, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigurationError("effective_conductances.conductances", conductances, "numbers") from error
    shape_is_right = cells.ndim == 2 and cells.size > 0
    require(
        shape_is_right, "effective_conductances.conductances.shape", cells.shape, "(rows, columns), at least 1 each"
    )
    wrong = cells[~(np.isfinite(cells) & (cells >= 0))]
    if wrong.size:
        allowed = "finite and at least 0, in microsiemens"
        raise ConfigurationError("effective_conductances.conductances", float(wrong[0]), allowed)
    if wires.is_ideal:
        return cells
    rows, columns = cells.shape
    if rows < columns and not wires.two_sided:
        # Driven at the amplifiers and read at the drivers: the same by reciprocity. Both ends come to lie at 0.
        turned = Wires(wires.column, wires.row, wires.amplifier, wires.driver)
        return _solve(cells.T[::-1, ::-1] * MICRO, turned)[::-1, ::-1].T / MICRO
    return _solve(cells * MICRO, wires) / MICRO


def _solve(cells: Matrix, wires: Wires) -> Matrix:
    """The elimination above, in siemens; what is to be inverted is brought to symmetric, positive definite form."""
    rows, columns = cells.shape
    shared = _shared_resistance(columns, wires)
    currents = np.zeros((columns, columns + rows), order="F")  # P and Q side by side, Q filled as the rows come
    for row, conductance in enumerate(cells):
        if row:
            _pass_through(currents, wires.column, columns + row)
        # K = R (1 + R W R)^-1 R with R the square root of D
        root = np.sqrt(conductance)
        factor, _ = lapack.dpotrf(np.eye(columns) + root[:, None] * shared * root, lower=1, overwrite_a=1)
        inverse, _ = lapack.dpotri(factor, lower=1, overwrite_c=1)
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        cell_currents = root[:, None] * inverse * root
        currents[:, :columns] += cell_currents
        currents[:, columns + row] = cell_currents.sum(axis=1)
    _pass_through(currents, wires.column + wires.amplifier, columns + rows)
    return currents[:, columns:].T


def _pass_through(currents: Matrix, resistance: float, used: int) -> None:
    """Put what comes through a resistance in every column in the place of what came down, in the first ``used``."""
    if resistance == 0:
        return
    columns = len(currents)
    factor, _ = lapack.dpotrf(np.eye(columns) + resistance * currents[:, :columns], lower=1, overwrite_a=1)
    currents[:, :used], _ = lapack.dpotrs(factor, currents[:, :used], lower=1, overwrite_b=1)


def _shared_resistance(columns: int, wires: Wires) -> Matrix:
    """W_jk: the voltage that a current of 1 A from the row's wire into cell k takes off cell j."""
    place = wires.driver + wires.row * np.arange(1, columns + 1)
    nearer, farther = np.minimum.outer(place, place), np.maximum.outer(place, place)
    if not wires.two_sided:
        return nearer
    length = 2 * wires.driver + wires.row * (columns + 1)
    return nearer * (length - farther) / length if length > 0 else np.zeros_like(nearer)
