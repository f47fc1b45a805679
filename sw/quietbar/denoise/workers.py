"""Block training by several processes: each takes its part of every batch, and all make the step of the whole batch.

Under ``torchrun`` with ``torch.distributed.init_process_group("gloo")`` before, :func:`quietbar.denoise.train` divides
every batch into equal parts in the order of the ranks. What a single process would do with the whole batch is then
done together: an image meets the noise of its number, batch normalization takes its statistics from the parts of all,
gradients and losses are means over all. Sums are taken in another order than in one process, so weights agree to
rounding, not to the bit; between the workers they agree to the bit.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, distributed, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn import functional

from quietbar import analog
from quietbar.contract.block import BlockConfig
from quietbar.contract.errors import require

from .objective import Objective
from .teacher import Teacher


def count() -> int:
    """Processes that train together: 1 unless a process group was made."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def check(blocks: Sequence[BlockConfig], objective: Objective) -> None:
    """Refuse what several workers would not do as one does.

    Blocks that sample draw from one source for the batch; the feature error is in units of the batch's own variance.
    """
    if count() == 1:
        return
    for block in blocks:
        require(block.mode == "mean", "train.block.mode", block.mode, "'mean' for several workers")
    require(objective.features == 0, "train.objective.features", objective.features, "0 for several workers")


def loss_of_whole(
    objective: Objective, model: nn.Module, inputs: Tensor, labels: Tensor, teacher: Teacher | None = None
) -> Tensor:
    """The loss of a batch: this worker's part of it is computed, with the noise of its images; the value is of all."""
    workers = count()
    if workers == 1:
        return objective(model, inputs, labels, teacher)
    total, rank = len(inputs), distributed.get_rank()
    require(total % workers == 0, "train.batch", total, f"a multiple of the {workers} workers")
    size, start = total // workers, analog.position(model)
    analog.restart(model, {layer: image + rank * size for layer, image in start.items()})
    part = slice(rank * size, (rank + 1) * size)
    loss = objective(model, inputs[part], labels[part], teacher)
    analog.restart(model, {layer: image + total for layer, image in start.items()})
    whole = loss.detach().clone()
    distributed.all_reduce(whole)
    return loss + (whole / workers - loss.detach())


@contextlib.contextmanager
def shared(blocks: Sequence[nn.Module], parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Within the context, blocks normalize by the statistics of all workers, and gradients are means over them."""
    workers = count()
    if workers == 1:
        yield
        return
    norms = [module for block in blocks for module in block.modules() if isinstance(module, nn.BatchNorm2d)]
    hooks = [parameter.register_hook(partial(_mean, workers=workers)) for parameter in parameters]
    for norm in norms:
        norm.forward = partial(_normalize, norm, workers=workers)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for norm in norms:
            del norm.forward
        for hook in hooks:
            hook.remove()


def _mean(gradient: Tensor, workers: int) -> Tensor:
    gradient = gradient.clone()
    distributed.all_reduce(gradient)
    return gradient / workers


def _normalize(norm: nn.BatchNorm2d, inputs: Tensor, workers: int) -> Tensor:
    """As ``nn.BatchNorm2d`` of the batch of all workers: (N, C, H, W) of equal shape on each."""
    if not norm.training:
        return functional.batch_norm(
            inputs, norm.running_mean, norm.running_var, norm.weight, norm.bias, False, 0.0, norm.eps
        )
    elements = workers * inputs.numel() // inputs.shape[1]
    places = (0, 2, 3)
    mean = all_reduce(inputs.sum(places)) / elements
    centered = inputs - mean[:, None, None]
    variance = all_reduce(centered.square().sum(places)) / elements
    assert norm.running_mean is not None and norm.running_var is not None and norm.momentum is not None
    with torch.no_grad():
        norm.running_mean.lerp_(mean, norm.momentum)
        norm.running_var.lerp_(variance * elements / (elements - 1), norm.momentum)
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked += 1
    scale = torch.rsqrt(variance + norm.eps)
    return centered * (scale * norm.weight)[:, None, None] + norm.bias[:, None, None]
