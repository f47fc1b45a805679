"""A backbone that training cannot touch, and the proof that it did not."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from quietbar.contract.errors import QuietbarError

from .insertion import taps


class BackboneChangedError(QuietbarError):
    """Tensors outside the denoising blocks are not what they were."""


def block_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Parameters of all denoising blocks, in the order of the taps."""
    return [parameter for tap in taps(model).values() for parameter in tap.block.parameters()]


def backbone_tensors(model: nn.Module) -> dict[str, Tensor]:
    """All parameters and buffers outside the blocks by name, those that a state_dict leaves out among them."""
    own = {id(tensor) for tap in taps(model).values() for tensor in (*tap.block.parameters(), *tap.block.buffers())}
    return {
        name: tensor.detach()
        for name, tensor in (*model.named_parameters(), *model.named_buffers())
        if id(tensor) not in own
    }


def backbone_hashes(model: nn.Module) -> dict[str, str]:
    """SHA-256 of type, shape and bytes of each of the backbone's tensors."""
    hashes = {}
    for name, tensor in backbone_tensors(model).items():
        digest = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        hashes[name] = digest.hexdigest()
    return hashes


@contextlib.contextmanager
def frozen_backbone(model: nn.Module) -> Iterator[dict[str, str]]:
    """Within the block only the denoising blocks ask for gradients; afterwards each parameter is as it was.

    Returns (as the context's value) the backbone's hashes, and compares them at the end.

    Raises:
        BackboneChangedError: a parameter, batch-norm statistic or other buffer of the backbone changed; it is named.
    """
    before = backbone_hashes(model)
    wanted = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    model.requires_grad_(False)
    for parameter in block_parameters(model):
        parameter.requires_grad_(True)
    try:
        yield before
    finally:
        for parameter, gradient in wanted:
            parameter.requires_grad_(gradient)
    after = backbone_hashes(model)
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    if changed:
        raise BackboneChangedError("training changed the frozen backbone: " + ", ".join(changed))
