"""How much the noise at each tap hurts, and how much of it a block could take away."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from quietbar import analog
from quietbar.contract.errors import require, require_choice
from quietbar.data.checks import pairs, require_batches
from quietbar.denoise.levels import FIRST_IMAGE, unchanged_noise
from quietbar.denoise.observation import observed
from quietbar.models import evaluation_mode

Rule = Literal["noise", "gradient"]
RULES = ("noise", "gradient")

PIXELS = 1 << 14
"""Pixels of a tap that the regression of its noise looks at."""


@dataclass(frozen=True)
class Sensitivity:
    """What was measured at one tap.

    Attributes:
        damage: mean square, over images, of the first-order change of the loss by the noise that is new since the taps
            before (rule ``noise``), or of the gradient's norm (rule ``gradient``).
        removable: removable[r - 1] is the share of the noise energy that the best linear estimate of rank r removes.
    """

    damage: float
    removable: tuple[float, ...]


def measure_sensitivity(
    model: nn.Module,
    data: Iterable[tuple[Tensor, Tensor]],
    names: Iterable[str],
    *,
    rule: Rule = "noise",
    images: int = 512,
) -> dict[str, Sensitivity]:
    """Run ``images`` images through the model, with and without noise, and measure every tap.

    With ``a`` the noisy and ``c`` the clean activations at a tap, ``g`` the gradient of an image's cross-entropy with
    respect to ``a``, and ``d`` the noise at the tap when all taps before it are clean::

        noise:     damage = mean over images of <g, d>**2
        gradient:  damage = mean over images of <g, g>

    The removable share comes from a linear regression, over pixels, of ``a - c`` on ``a`` and on the mean of ``a`` over
    3x3 windows: the energy of the fit's ``r`` strongest directions and of the constant part, over all the energy.

    Args:
        model: from ``quietbar.analog.convert``, calibrated; its noise as it is to be removed.
        data: (inputs, labels) batches.
        names: of the taps, in the order in which the model reaches them.
        rule: which damage.
        images: how many; all there are, if fewer.
    """
    require_choice("search.rule", rule, RULES)
    require_batches("search.data", data)
    modules = {name: model.get_submodule(name) for name in names}
    squares = {name: 0.0 for name in modules}
    regressions = {name: _Regression() for name in modules}
    count = 0
    with unchanged_noise(model), evaluation_mode(model):
        for inputs, labels in pairs("search.data", data):
            position = FIRST_IMAGE + count
            with torch.no_grad(), analog.quiet(model), observed(modules) as clean:
                model(inputs)
            analog.restart(model, position)
            with observed(modules) as noisy:
                scores = model(inputs.detach().requires_grad_())
            loss = functional.cross_entropy(scores, labels, reduction="sum")
            gradients = torch.autograd.grad(loss, [noisy[name][0] for name in modules])
            analog.restart(model, position)
            with torch.no_grad(), observed(modules, {name: clean[name][0] for name in modules}) as local:
                model(inputs)
            for name, gradient in zip(modules, gradients, strict=True):
                new = local[name][0] - clean[name][0] if rule == "noise" else gradient
                squares[name] += float((gradient * new).flatten(1).sum(1).square().sum())
                regressions[name].add(noisy[name][0].detach(), clean[name][0], images)
            count += len(inputs)
            if count >= images:
                break
    require(count > 0, "search.data", count, "at least one image")
    return {name: Sensitivity(squares[name] / count, regressions[name].removable()) for name in modules}


class _Regression:
    """Second moments of (1, activations, their 3x3 means, noise) over pixels, in float64."""

    def __init__(self) -> None:
        self.moments: Tensor | None = None

    def add(self, noisy: Tensor, clean: Tensor, images: int) -> None:
        around = functional.avg_pool2d(noisy, 3, stride=1, padding=1, count_include_pad=False)
        parts = [torch.ones_like(noisy[:, :1]), noisy, around, noisy - clean]
        every = max(1, images * noisy.shape[2] * noisy.shape[3] // PIXELS)
        table = torch.cat(parts, dim=1).movedim(1, -1).flatten(0, -2)[::every].double()
        moments = table.T @ table
        self.moments = moments if self.moments is None else self.moments + moments

    def removable(self) -> tuple[float, ...]:
        assert self.moments is not None
        mean = self.moments[0] / self.moments[0, 0]
        covariance = self.moments / self.moments[0, 0] - torch.outer(mean, mean)
        channels = (len(mean) - 1) // 3
        seen, noise = slice(1, 2 * channels + 1), slice(2 * channels + 1, None)
        total = float(covariance[noise, noise].trace() + mean[noise].square().sum())
        if not total > 0:
            return (0.0,) * channels
        spread = covariance[seen, seen]
        # Channels that are always zero leave the system singular; the ridge is far below any real one.
        ridge = torch.eye(2 * channels, dtype=torch.float64) * (1e-9 * float(spread.trace()) + 1e-30)
        fit = covariance[noise, seen] @ torch.linalg.solve(spread + ridge, covariance[seen, noise])
        energies = torch.linalg.eigvalsh(fit).flip(0).clamp(min=0)
        shares = (mean[noise].square().sum() + energies.cumsum(0)) / total
        return tuple(shares.clamp(max=1.0).tolist())
