"""The perturbations that SAM, ASAM and SAMSON make before they take the gradient, as pure functions.

All three solve, to first order, ``max over eps with ||T_w^-1 eps||_2 <= rho of L(w + eps)`` for a diagonal ``T_w``::

    eps = rho * T_w^2 g / ||T_w g||_2                    the norm over all tensors together

    SAM      T_w = 1                                     Foret et al., arXiv 2010.01412, equation 2
    ASAM     T_w = |w| + eta                             Kwon et al., arXiv 2102.11600, equation 9
    SAMSON   T_w = |w| / ||w_layer||_p                   Mordido et al., arXiv 2211.11561 (our reading of it)
    layer    T_w = ||w_layer||_p                         p = 2: Mueller et al., arXiv 2306.04226

Lists of tensors go in and come out, element ``i`` of each belonging to parameter tensor ``i``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

Tensors = Sequence[Tensor]


def sam_operators(weights: Tensors) -> list[Tensor]:
    """``T_w = 1``: scalars that scale a tensor of any shape."""
    return [torch.ones((), dtype=weight.dtype, device=weight.device) for weight in weights]


def asam_operators(weights: Tensors, eta: float) -> list[Tensor]:
    """``T_w = |w| + eta``. With eta 0, ``T`` grows with the weights: eps does not care how a layer is scaled."""
    if not weights:
        return []
    operators = torch._foreach_abs(list(weights))
    if eta:
        torch._foreach_add_(operators, eta)
    return list(operators)


def samson_operators(weights: Tensors, p: float) -> list[Tensor]:
    """``T_w = |w| / ||w_layer||_p``, the norm over each parameter tensor; 0 for a tensor of zeros.

    ``T`` is the same for ``w`` and ``a w``, whatever a > 0: only the shape of a layer's distribution counts. With p
    infinite the largest weight of every layer has ``T`` 1.
    """
    if not weights:
        return []
    operators = torch._foreach_abs(list(weights))
    norms = _norms(operators, p)
    torch._foreach_clamp_min_(norms, [torch.finfo(norm.dtype).tiny for norm in norms])  # 0 / tiny is 0
    torch._foreach_div_(operators, norms)
    return list(operators)


def layer_operators(weights: Tensors, p: float) -> list[Tensor]:
    """``T_w = ||w_layer||_p``: scalars, the norm of each parameter tensor.

    eps scales with its layer, and all weights of a layer count alike, as they do for the noise of conductances
    (:func:`conductance_noise`), whose unit is this one with p infinite.
    """
    return _norms(torch._foreach_abs(list(weights)), p) if weights else []


def _norms(magnitudes: Sequence[Tensor], p: float) -> list[Tensor]:
    """The p-norm of each tensor of magnitudes. Of an infinite p that is the largest, and a reduction less slow."""
    found = torch._foreach_max(list(magnitudes)) if p == math.inf else torch._foreach_norm(list(magnitudes), p)
    return list(found)


def global_norm(tensors: Tensors, p: float = 2) -> float:
    """The p-norm of all elements of all tensors, in float32 at least; 0 for none."""
    if not tensors:
        return 0.0
    half = any(tensor.dtype in (torch.float16, torch.bfloat16) for tensor in tensors)
    norms = torch._foreach_norm(list(tensors), p, torch.float32 if half else None)
    return float(torch.linalg.vector_norm(torch.stack([norm.to(norms[0].device) for norm in norms]), p))


def all_finite(tensors: Tensors) -> bool:
    """Whether no element is infinite or NaN.

    A finite 2-norm shows it, and is the cheaper one; squares that overflow leave it to the largest element.
    """
    return math.isfinite(global_norm(tensors)) or math.isfinite(global_norm(tensors, math.inf))


def perturbation(gradients: Tensors, operators: Tensors, rho: float) -> list[Tensor] | None:
    """``rho * T^2 g / ||T g||_2``.

    Returns:
        One tensor for each gradient; zeros where all ``T g`` are 0. None where the norm is not finite.
    """
    scaled = torch._foreach_mul(list(gradients), list(operators))
    norm = global_norm(scaled)
    if not math.isfinite(norm):
        return None
    torch._foreach_mul_(scaled, list(operators))
    torch._foreach_mul_(scaled, rho / norm if norm > 0 else 0.0)
    return list(scaled)


def conductance_noise(weights: Tensors, sigma: float, generator: torch.Generator) -> list[Tensor]:
    """``sigma * max|w_layer| * N(0, 1)``: the generic noise of conductances, of each parameter tensor in turn.

    The noise of a device does not depend on the value it holds; the largest weight of a layer takes the whole range.
    """
    noise = [
        torch.randn(weight.shape, dtype=weight.dtype, device=weight.device, generator=generator) for weight in weights
    ]
    if noise:
        torch._foreach_mul_(noise, [sigma * weight.abs().max() for weight in weights])
    return noise


def clipping_bounds(weights: Tensors, limit: float, unit: str) -> list[Tensor]:
    """The largest magnitude a weight of each tensor may have: ``limit``, or ``limit * std(w_layer)``, as scalars.

    The first is Stutz et al., arXiv 2006.13977; the second Joshi et al., doi 10.1038/s41467-020-16108-9. The deviation
    is that of the weights at hand, not of a sample (divided by the count).
    """
    if unit == "absolute":
        return [torch.full((), limit, dtype=weight.dtype, device=weight.device) for weight in weights]
    return [limit * weight.std(correction=0) for weight in weights]
