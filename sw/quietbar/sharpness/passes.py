"""What the second pass over a batch must not do: count batch-norm statistics twice, or meet other noise."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from quietbar.analog import position, restart


@contextlib.contextmanager
def frozen_batch_norm_statistics(model: nn.Module) -> Iterator[nn.Module]:
    """Inside, normalization layers in training mode normalize as before but leave running statistics and counts alone.

    Holds for torch's batch and instance normalization, cumulative averages (``momentum=None``) too.
    """
    batch = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    instance = [module for module in model.modules() if isinstance(module, _InstanceNorm)]
    momenta = [module.momentum for module in instance]
    try:
        for norm in batch:
            if norm.training:
                norm.track_running_stats = False
        for each in instance:
            each.momentum = 0.0
        yield model
    finally:
        for norm in batch:
            norm.track_running_stats = True
        for each, momentum in zip(instance, momenta, strict=True):
            each.momentum = momentum


def random_state(model: nn.Module | None) -> dict[str, Any]:
    """The state of torch's generators (CPU, and CUDA where it is in use) and of ``model``'s analog noise."""
    in_use = torch.cuda.is_available() and torch.cuda.is_initialized()
    return {
        "cpu": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if in_use else None,
        "analog": position(model) if model is not None else None,
    }


def set_random_state(state: dict[str, Any], model: nn.Module | None) -> None:
    """The inverse of :func:`random_state`."""
    torch.set_rng_state(state["cpu"])
    if state["cuda"] is not None:
        torch.cuda.set_rng_state_all(state["cuda"])
    if model is not None:
        restart(model, state["analog"])
