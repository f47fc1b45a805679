"""How many labels a network gets right."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from quietbar.contract.errors import require
from quietbar.data.checks import pairs, require_batches


@contextlib.contextmanager
def kept_modes(model: nn.Module) -> Iterator[nn.Module]:
    """Afterwards every module of ``model`` is in the mode it is in now, training or evaluation.

    ``model.train()`` would wake the frozen parts of a model whose modules are in different modes.
    """
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield model
    finally:
        for module, training in modes:
            module.training = training


@contextlib.contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[nn.Module]:
    """Every module of ``model`` in evaluation mode; afterwards each one in its own mode again."""
    with kept_modes(model):
        yield model.eval()


def accuracy(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Percent of the labels that are the largest of the model's class scores.

    Args:
        model: from inputs to class scores (N, classes).
        batches: of (inputs, labels).

    Raises:
        ConfigurationError: there are no images.
    """
    require_batches("accuracy.batches", batches)
    right, count = 0, 0
    with evaluation_mode(model), torch.inference_mode():
        for inputs, labels in pairs("accuracy.batches", batches):
            right += int((model(inputs).argmax(dim=1) == labels).sum())
            count += len(labels)
    require(count > 0, "accuracy.batches", count, "at least one image")
    return 100.0 * right / count
