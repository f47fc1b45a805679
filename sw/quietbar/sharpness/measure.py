"""How sharp a minimum is: how far the loss rises when the weights climb once, in whatever units."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from quietbar.contract.errors import require
from quietbar.data.checks import pairs, require_batches
from quietbar.models import evaluation_mode

from .optimizer import SharpnessAware


def loss_sharpness(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    variant: Literal["sam", "asam", "samson", "layer"] = "sam",
    rho: float | None = None,
    *,
    eta: float = 0.0,
    p: float = 2,
) -> float:
    """The mean over images of ``L(w + eps) - L(w)``, eps the perturbation of ``variant`` from the batch itself.

    The batch's size is the m of m-sharpness (Foret et al., arXiv 2010.01412, section 4.1); with ASAM's operator and
    ``eta`` 0 it is adaptive sharpness (Kwon et al., arXiv 2102.11600, definition 2), both to first order. Batch
    normalization uses its running statistics. The model is left as it was.

    Args:
        model: from inputs to class scores.
        batches: of (inputs, labels).
        variant, rho, eta, p: as of :class:`SharpnessAware`.

    Returns:
        A rise of the cross entropy, in nats.

    Raises:
        ConfigurationError: an argument is outside what is allowed, or there are no images.
    """
    require_batches("sharpness.batches", batches)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    kept = [weight.grad for weight in weights]
    climber = SharpnessAware(torch.optim.SGD(weights, lr=0.0), variant, rho, eta, p)
    rise, count = 0.0, 0
    try:
        with evaluation_mode(model):
            for inputs, labels in pairs("sharpness.batches", batches):
                climber.zero_grad()
                loss = functional.cross_entropy(model(inputs), labels)
                loss.backward()
                climber.first_step()
                with torch.no_grad():
                    top = functional.cross_entropy(model(inputs), labels)
                climber.restore()
                rise += len(labels) * (float(top) - float(loss.detach()))
                count += len(labels)
    finally:
        climber.restore()
        for weight, gradient in zip(weights, kept, strict=True):
            weight.grad = gradient
    require(count > 0, "sharpness.batches", count, "at least one image")
    return rise / count
