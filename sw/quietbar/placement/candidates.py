"""Where a denoising block could go."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from quietbar.contract.errors import require
from quietbar.denoise import observed
from quietbar.models import evaluation_mode

IMAGES = 8
"""Images that the model is tried with."""


def find_candidates(model: nn.Module, inputs: Tensor) -> list[str]:
    """Names of the places that all of the network's information passes, behind an activation function, in its order.

    A place is a submodule that is called once in a forward pass and returns one (N, C, H, W) tensor of more than one
    pixel, nowhere negative for these inputs; and what it returns is all that the scores know of the inputs: with other
    inputs, but this tensor in its place, the scores are the same. Where a module returns the tensor of a module inside
    it (a residual block that of its last ReLU), the outer one is named, except for a sequence of several places.

    Args:
        model: run in evaluation mode; its noise should be off.
        inputs: of the model, real ones.

    Raises:
        ConfigurationError: there is none; give the taps by name.
    """
    inputs = inputs[:IMAGES]
    modules = {name: module for name, module in model.named_modules() if name}
    with evaluation_mode(model), torch.inference_mode():
        with observed(modules) as seen:
            scores = model(inputs)
        frames = {name: outputs[0] for name, outputs in seen.items() if len(outputs) == 1 and _is_frame(outputs[0])}
        places: list[list[str]] = []
        for name, frame in frames.items():
            with observed({name: modules[name]}, instead={name: frame}):
                if not torch.equal(model(inputs + 1), scores):
                    continue
            if places and torch.equal(frame, frames[places[-1][0]]):
                places[-1].append(name)
            else:
                places.append([name])
    found = [_outermost(names, [group[0] for group in places if group is not names], modules) for names in places]
    require(len(found) > 0, "search.candidates", None, "given by name: none was found")
    return found


def _is_frame(output: Any) -> bool:
    return (
        isinstance(output, Tensor)
        and output.dim() == 4
        and output.shape[2] * output.shape[3] > 1
        and not bool((output < 0).any())
    )


def _outermost(names: list[str], others: list[str], modules: dict[str, nn.Module]) -> str:
    """Of modules that return the same, inner ones first, the last that is around the first and only around it."""
    found = names[0]
    for name in names[1:]:
        is_around = names[0].startswith(f"{name}.")
        several = isinstance(modules[name], nn.Sequential) and any(other.startswith(f"{name}.") for other in others)
        if is_around and not several:
            found = name
    return found
