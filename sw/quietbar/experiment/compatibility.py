"""Whether a network and a data set belong together."""

from __future__ import annotations

import torch
from torch import nn

from quietbar.contract.errors import ConfigurationError, require
from quietbar.data import Dataset
from quietbar.models import evaluation_mode


def require_compatible(field: str, name: str, model: nn.Module, data: Dataset) -> None:
    """Refuse a network that does not take the data's images, or that has scores of other classes.

    Args:
        field: where the user named the network, for the message.
        name: the network's.
        model: the network.
        data: the data set.
    """
    images, _ = next(iter(data.batches("train", 1)))
    try:
        with evaluation_mode(model), torch.inference_mode():
            scores = model(images)
    except (RuntimeError, ValueError) as error:
        shape = " x ".join(map(str, images.shape[1:]))
        allowed = f"a network for images of {shape}, which {data.name} has ({error})"
        raise ConfigurationError(field, name, allowed) from error
    allowed = f"a network with scores for {len(data.classes)} classes, which {data.name} has ({scores.shape[-1]} here)"
    require(scores.shape[-1] == len(data.classes), field, name, allowed)
