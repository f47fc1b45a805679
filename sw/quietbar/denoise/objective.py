"""What denoising blocks are trained for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from quietbar.analog import quiet
from quietbar.contract.errors import require

from .insertion import Tap, taps, without_blocks
from .observation import observed
from .teacher import Teacher


@dataclass(frozen=True)
class Objective:
    """A weighted sum of three losses; a weight of 0 leaves its loss out.

    Attributes:
        task: cross-entropy of the class scores against the labels.
        distillation: Kullback-Leibler divergence of the class probabilities from those of the clean network, both
            softened by ``temperature`` and scaled by its square (Hinton et al., arXiv 1503.02531); needs no labels.
        features: mean over the taps of the squared error of the block's output against the clean network's activations,
            in units of their variance. In sampling mode, in the same units, the negative log-likelihood of the actual
            noise under the predicted Gaussian, weighted by its variance (Seitzer et al., arXiv 2203.09168, beta = 1).
        temperature: of the distillation.
    """

    task: float = 0.0
    distillation: float = 1.0
    features: float = 0.0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            require(is_number and value >= 0, f"objective.{field.name}", value, "a number of at least 0")
        require(self.temperature > 0, "objective.temperature", self.temperature, "above 0")
        weights = (self.task, self.distillation, self.features)
        require(sum(weights) > 0, "objective", weights, "task, distillation and features with one of them above 0")

    def __call__(self, model: nn.Module, inputs: Tensor, labels: Tensor, teacher: Teacher | None = None) -> Tensor:
        """The sum for one batch: a scalar with the blocks' gradients behind it.

        Args:
            model: with taps; its noise as it is to be trained on.
            inputs: of the model.
            labels: (N) class numbers, unused where ``task`` is 0.
            teacher: whose scores are distilled; None is this network, clean.
        """
        found = taps(model) if self.features else {}
        hosts = {(name, "host"): tap.host for name, tap in found.items()}
        blocks = {key: part for name, tap in found.items() for key, part in _outputs(name, tap).items()}
        target = None
        clean: Mapping[Any, list[Tensor]] = {}
        if self.distillation and teacher is not None:
            target = teacher(inputs)
        if self.features or (self.distillation and teacher is None):
            # The clean network is this one, noise and blocks off. (Not inference_mode: the losses save its outputs.)
            with torch.no_grad(), quiet(model), without_blocks(model), observed(hosts) as clean:
                own = model(inputs)
            target = _at_least_float32(own) if target is None else target
        with observed(hosts | blocks) as seen:
            scores = _at_least_float32(model(inputs))

        total = scores.new_zeros(())
        if self.task:
            total = total + self.task * functional.cross_entropy(scores, labels)
        if self.distillation:
            assert target is not None
            total = total + self.distillation * _divergence(scores, target, self.temperature)
        if self.features:
            errors = [_feature_error(tap, seen, clean[name, "host"][0]) for name, tap in found.items()]
            total = total + self.features * torch.stack(errors).mean()
        return total


def _outputs(name: str, tap: Tap) -> dict[tuple[str, str], nn.Module]:
    """The modules whose outputs the feature error compares."""
    if tap.block.log_sigma is None:
        return {(name, "block"): tap.block}
    return {(name, "mean"): tap.block.mean, (name, "log_sigma"): tap.block.log_sigma}


def _at_least_float32(scores: Tensor) -> Tensor:
    return scores.to(torch.promote_types(scores.dtype, torch.float32))


def _divergence(scores: Tensor, target: Tensor, temperature: float) -> Tensor:
    student = functional.log_softmax(scores / temperature, dim=-1)
    teacher = functional.log_softmax(target / temperature, dim=-1)
    return functional.kl_div(student, teacher, reduction="batchmean", log_target=True) * temperature**2


def _feature_error(tap: Tap, seen: Mapping[Any, list[Tensor]], clean: Tensor) -> Tensor:
    if tap.block.log_sigma is None:
        error = (seen[tap.name, "block"][0] - clean).square()
    else:
        residual = seen[tap.name, "host"][0] - clean - seen[tap.name, "mean"][0]
        log_sigma = tap.block.limit(seen[tap.name, "log_sigma"][0])
        variance = torch.exp2(2 * log_sigma)
        error = variance.detach() * (residual.square() / variance + 2 * math.log(2) * log_sigma)
    return error.mean() / clean.var().clamp(min=torch.finfo(clean.dtype).tiny)
