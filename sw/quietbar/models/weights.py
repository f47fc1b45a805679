"""Weights in files: read, and put into a network without a name left over."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from quietbar.contract.errors import QuietbarError


class WeightsError(QuietbarError):
    """Weights that do not fit the network; the message names what is missing, unknown or of another shape."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.th`` file by name, without the ``module.`` that training on several GPUs puts in front.

    Raises:
        WeightsError: not a file of tensors, or no ``state_dict`` in it.
    """
    try:
        content: Any = torch.load(io.BytesIO(path.read_bytes()), map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError, ValueError, KeyError) as error:
        raise WeightsError(f"{path} is not a file of PyTorch tensors: {str(error).splitlines()[0]}") from error
    weights = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise WeightsError(f"{path} has no 'state_dict' of tensors")
    return {name.removeprefix("module."): value for name, value in weights.items()}


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Put ``weights`` into ``model``; every name and shape must fit, only counters of batches may be missing.

    Raises:
        WeightsError: naming what does not fit; the model is then as it was.
    """
    own = model.state_dict()
    optional = {name for name in own if name.endswith("num_batches_tracked")}
    complaints = [f"{name} is missing" for name in own if name not in weights and name not in optional]
    complaints += [f"{name} is unknown" for name in weights if name not in own]
    complaints += [
        f"{name} has shape {tuple(value.shape)}, must be {tuple(own[name].shape)}"
        for name, value in weights.items()
        if name in own and value.shape != own[name].shape
    ]
    if complaints:
        shown = "; ".join(complaints[:5]) + (f"; and {len(complaints) - 5} more" if len(complaints) > 5 else "")
        raise WeightsError(f"{source} does not fit the network: {shown}")
    model.load_state_dict({**own, **weights})
