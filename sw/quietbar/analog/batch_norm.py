"""Batch normalization folded into the convolution or linear layer in front of it."""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from quietbar.contract.errors import ConfigurationError, require


def find_pairs(model: nn.Module) -> list[tuple[str, str]]:
    """Names of the (layer, batch normalization) pairs where the first's result goes to the second and nowhere else.

    Raises:
        ConfigurationError: ``torch.fx`` cannot trace the model, so nobody knows which results go where.
    """
    if not any(isinstance(module, _BatchNorm) for module in model.modules()):
        return []
    try:
        nodes = fx.Tracer().trace(model).nodes
    except Exception as error:  # whatever the model's own code raises on a symbolic input
        reason = str(error).partition("\n")[0]
        raise ConfigurationError(
            "convert.fold_batch_norm", True, f"False for this model: torch.fx cannot trace it ({reason})"
        ) from error
    modules = dict(model.named_modules(remove_duplicate=False))
    calls = [node for node in nodes if node.op == "call_module"]
    # A module called at several places under any of its names cannot take in one of them.
    uses = Counter(id(modules[str(node.target)]) for node in calls)
    pairs = []
    for node in calls:
        source = node.args[0] if node.args else None
        if not isinstance(source, fx.Node) or source.op != "call_module" or len(source.users) != 1:
            continue
        layer, norm = modules[str(source.target)], modules[str(node.target)]
        is_pair = isinstance(layer, nn.Conv2d | nn.Linear) and isinstance(norm, _BatchNorm)
        if is_pair and uses[id(layer)] == uses[id(norm)] == 1:
            pairs.append((str(source.target), str(node.target)))
    return pairs


def folded(layer: nn.Conv2d | nn.Linear, norm: _BatchNorm, name: str) -> tuple[Tensor, Tensor]:
    """Weight and bias of the layer that computes ``norm(layer(x))`` as ``norm`` does in evaluation mode.

    Computed in float64; returned in the layer's own type.

    Raises:
        ConfigurationError: ``norm``, called ``name``, keeps no running statistics.
    """
    mean, variance = norm.running_mean, norm.running_var
    require(mean is not None and variance is not None, f"{name}.track_running_stats", False, "True to be folded")
    assert mean is not None and variance is not None
    with torch.no_grad():
        factor = (variance.double() + norm.eps).rsqrt()
        if norm.weight is not None:
            factor = factor * norm.weight.double()
        weight = layer.weight.double() * factor.view(-1, *[1] * (layer.weight.dim() - 1))
        bias = -mean.double() if layer.bias is None else layer.bias.double() - mean.double()
        bias = bias * factor
        if norm.bias is not None:
            bias = bias + norm.bias.double()
        return weight.to(layer.weight.dtype), bias.to(layer.weight.dtype)


def fold_pair(layer: nn.Conv2d | nn.Linear, norm: _BatchNorm, name: str) -> None:
    """Fold ``norm``, called ``name``, into ``layer``, in place; the caller takes ``norm`` out of the model."""
    weight, bias = folded(layer, norm, name)
    requires_grad = layer.weight.requires_grad
    layer.weight = nn.Parameter(weight, requires_grad=requires_grad)
    layer.bias = nn.Parameter(bias, requires_grad=requires_grad)
