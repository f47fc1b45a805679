"""SAM and ASAM against another published implementation, where it is installed: ``pip install pytorch-optimizer``."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from quietbar.sharpness import SharpnessAware

peer = pytest.importorskip("pytorch_optimizer", reason="the other implementation is not installed")

STEPS = 20


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1), nn.GroupNorm(2, 6), nn.ReLU(), nn.Flatten(), nn.Linear(96, 3)
    ).double()


@pytest.mark.parametrize(("adaptive", "rho"), [(False, 0.1), (True, 0.5)], ids=["SAM", "ASAM"])
def test_training_agrees_with_pytorch_optimizer(adaptive: bool, rho: float) -> None:
    """Twenty steps in float64; its norm is float32. Its ASAM has no eta and scales every tensor: ours with 0."""
    generator = torch.Generator().manual_seed(5)
    data = [torch.randn(8, 1, 4, 4, generator=generator, dtype=torch.float64) for _ in range(STEPS)]
    labels = torch.arange(8) % 3
    ours, theirs, changed = network(), network(), network()
    settings = {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-3}

    def closure_of(model: nn.Module, optimizer: torch.optim.Optimizer, inputs: torch.Tensor):
        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(inputs), labels)
            loss.backward()
            return loss

        return closure

    other = peer.SAM(theirs.parameters(), torch.optim.SGD, rho=rho, adaptive=adaptive, **settings)
    for inputs in data:
        closure = closure_of(theirs, other, inputs)
        closure()
        other.step(closure)
    for model, radius in ((ours, rho), (changed, 1.01 * rho)):
        base = torch.optim.SGD(model.parameters(), **settings)
        optimizer = SharpnessAware(base, "asam" if adaptive else "sam", radius, eta=0.0, model=model)
        for inputs in data:
            optimizer.step(closure_of(model, optimizer, inputs))

    def difference(one: nn.Module, two: nn.Module) -> float:
        pairs = zip(one.parameters(), two.parameters(), strict=True)
        return max(float((a - b).detach().abs().max()) for a, b in pairs)

    assert difference(ours, theirs) < 1e-7
    assert difference(changed, theirs) > 1e-5, "the check would not notice another radius"
