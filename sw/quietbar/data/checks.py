"""Batches that a user gave, refused by name where they are none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import length_hint
from typing import Any

from torch import Tensor

from quietbar.contract.errors import require


def require_batches(field: str, batches: Any, *, again: bool = False) -> None:
    """Refuse what is no iterable of batches, or says that it has none; none is read, so no random order is disturbed.

    Args:
        field: the argument's name, for the message.
        batches: what the user gave.
        again: whether it has to give the same batches each time that it is gone through.
    """
    kind = type(batches)
    iterable = (hasattr(kind, "__iter__") or hasattr(kind, "__getitem__")) and not isinstance(batches, (str, bytes))
    require(iterable, field, batches, "batches: a list of them, quietbar.data.Batches or a torch DataLoader")
    require(length_hint(batches, 1) > 0, field, batches, "at least one batch")
    allowed = "batches that can be gone through again, e.g. a list: an iterator cannot"
    require(not (again and isinstance(batches, Iterator)), field, kind.__name__, allowed)


def pairs(field: str, batches: Iterable[Any]) -> Iterator[tuple[Tensor, Tensor]]:
    """The (inputs, labels) of each batch; a batch that is none is refused by its number, one without images too."""
    for number, batch in enumerate(batches):
        name = f"{field}[{number}]"
        is_pair = isinstance(batch, (tuple, list)) and len(batch) == 2 and all(isinstance(e, Tensor) for e in batch)
        require(is_pair, name, type(batch).__name__, "a batch of (inputs, labels), two tensors")
        inputs, labels = batch
        require(len(inputs) > 0, name, tuple(inputs.shape), "a batch of at least one image")
        yield inputs, labels


def first_inputs(field: str, batches: Iterable[Any]) -> Tensor:
    """The inputs of the first batch of (inputs, labels)."""
    first = next(pairs(field, batches), None)
    require(first is not None, field, batches, "at least one batch")
    assert first is not None
    return first[0]
