"""IR drop of a layer: which of its devices share wires, and what the arrays that they form act as.

A group of columns is programmed into arrays of its own. The columns of devices of each weight lie side by side: slice
by slice, the least significant first, and of a differential pair the positive column first. With the offset mapping the
group's reference columns follow at the right. Where that is more than ``tile_columns``, the group is cut into as few
arrays as will do, of nearly equal size and never inside a pair. Rows lie as the weight's inputs are numbered, the first
farthest from the amplifiers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from quietbar.contract.errors import require, require_integer
from quietbar.noise import Conductance

from .interface import Interface
from .wires import Wires, effective_conductances


def check_wires(interface: Interface, conductance: Conductance | None, name: str) -> None:
    """Refuse wires for devices whose conductances are not known, or could not be.

    Raises:
        ConfigurationError: naming what to change for the layer ``name``.
    """
    if interface.wires.is_ideal:
        return
    field, value = f"{name}.interface.wires", interface.wires
    require(conductance is not None, field, value, "Wires() without a conductance: give the chip one, e.g. presets.pcm")
    assert conductance is not None
    allowed = "Wires() with the signed mapping: no device has a negative conductance"
    require(conductance.mapping != "signed", field, value, allowed)
    sides = 2 if conductance.mapping == "differential" else 1
    require_integer(f"{name}.interface.tile_columns", interface.tile_columns, sides, 1 << 20)


def wired(
    conductances: Tensor,
    columns: int,
    groups: int,
    rows: Sequence[tuple[int, int]],
    tile_columns: int,
    wires: Wires,
) -> Tensor:
    """The conductances that a layer's arrays act as; see :func:`quietbar.analog.effective_conductances`.

    Args:
        conductances: float64 (slices, rows, columns [+ groups], sides), in microsiemens, at least 0; the columns after
            ``columns`` are the groups' reference columns.
        columns: how many hold weights.
        groups: of columns.
        rows: first and last-plus-one row of each array on top of each other.
        tile_columns: most columns of devices in an array, at least ``sides``.
        wires: their resistances.
    """
    result = conductances.clone()
    for cells in arrays(conductances.shape, columns, groups, rows, tile_columns):
        held = conductances[cells].numpy()
        solved = effective_conductances(held.reshape(len(held), -1), wires)
        result[cells] = torch.from_numpy(solved.reshape(held.shape))
    return result


def arrays(
    shape: Sequence[int], columns: int, groups: int, rows: Sequence[tuple[int, int]], tile_columns: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Places, in conductances of ``shape``, of each array's devices: (rows, pairs, sides) as they lie."""
    slices, _, width, sides = shape
    size = columns // groups
    for group in range(groups):
        own = [group * size + column for column in range(size)]
        own += [columns + group] if width > columns else []
        pairs = np.array([(number, column) for column in own for number in range(slices)])
        count = -(-len(pairs) // (tile_columns // sides))
        for part in np.array_split(pairs, count):
            for start, end in rows:
                number, column = torch.from_numpy(part).T
                row = torch.arange(start, end)
                yield number[None, :], row[:, None], column[None, :]
