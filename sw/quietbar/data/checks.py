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


def pairs(field: str, batches: Iterable[Any], start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
    """The (inputs, labels) of each batch; a batch that is none is refused by its number, one without images too.

    Args:
        field: the argument's name, for the message.
        batches: what the user gave.
        start: number of the first of them.
    """
    for number, batch in enumerate(batches, start):
        name = f"{field}[{number}]"
        is_pair = isinstance(batch, (tuple, list)) and len(batch) == 2
        is_pair = is_pair and all(isinstance(element, Tensor) and element.dim() > 0 for element in batch)
        require(is_pair, name, type(batch).__name__, "a batch of (inputs, labels), two tensors")
        inputs, labels = batch
        require(len(inputs) > 0, name, tuple(inputs.shape), "a batch of at least one image")
        require(len(labels) == len(inputs), name, (len(inputs), len(labels)), "a batch of as many labels as images")
        yield inputs, labels


def inputs_of(field: str, batches: Iterable[Any]) -> Iterator[Tensor]:
    """The inputs of each batch, of (inputs, labels) or of inputs alone; what is none is refused by its number."""
    for number, batch in enumerate(batches):
        inputs = batch[0] if isinstance(batch, (tuple, list)) and batch else batch
        is_batch = isinstance(inputs, Tensor) and inputs.dim() > 0 and len(inputs) > 0
        allowed = "a batch of (inputs, labels) or of inputs, with at least one image"
        require(is_batch, f"{field}[{number}]", type(batch).__name__, allowed)
        yield inputs


def first_inputs(field: str, batches: Iterable[Any]) -> Tensor:
    """The inputs of the first batch of (inputs, labels)."""
    first = next(pairs(field, batches), None)
    require(first is not None, field, batches, "at least one batch")
    assert first is not None
    return first[0]
