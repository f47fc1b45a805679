"""A network whose weights are those of one chip with generic conductance noise."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

from quietbar.contract.seeds import derive_seed
from quietbar.sharpness.formulas import conductance_noise


@contextlib.contextmanager
def noisy_weights(model: nn.Module, sigma: float, chip: int) -> Iterator[nn.Module]:
    """Inside, every convolution and linear weight has the noise of ``chip``; afterwards all are as before, bit for bit.

    The noise is ``sigma * max|w_layer| * N(0, 1)``; the normal numbers belong to the chip and are the same at each
    level.

    Args:
        model: whose ``nn.Conv2d`` and ``nn.Linear`` modules are held by the chip.
        sigma: deviation of the noise, in units of the layer's largest weight.
        chip: seed.
    """
    kinds = (nn.Conv2d, nn.Linear)
    weights = [module.weight for module in model.modules() if isinstance(module, kinds)] if sigma > 0 else []
    kept = [weight.detach().clone() for weight in weights]
    generator = torch.Generator().manual_seed(derive_seed(chip, "conductance noise"))
    try:
        with torch.no_grad():
            if weights:
                # Drawn on the CPU: a chip is the same on all processors.
                noise = conductance_noise([weight.cpu() for weight in kept], sigma, generator)
                torch._foreach_add_(weights, [each.to(kept[0].device) for each in noise])
        yield model
    finally:
        with torch.no_grad():
            if weights:
                torch._foreach_copy_(weights, kept)
