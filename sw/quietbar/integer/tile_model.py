"""A network on crossbar tiles as a PyTorch model, so that denoising blocks can be trained on what tiles really do.

Forward, every layer gives the very integers of its tiles; backward, gradients pass as through the ideal layer (the
straight-through estimator of Y. Bengio et al., arXiv 1308.3432)::

    model = tile_model(network, 1 / 255, steps)     # steps of export_with_steps
    place(model, tile_network, image=0)             # on a chip; None is the ideal network
    model(images)
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from quietbar.contract.errors import require, require_integer
from quietbar.contract.number import UINT8

from .tile_network import TileNetwork

Compute = Callable[[Tensor, int], Tensor]
"""Input codes and the number of the first image, to output codes."""

HALF = 0.5 + 2.0**-10
"""Codes are rounded half upward, and means of codes are halves often: what float32 loses must not turn them down."""


class OnTiles(nn.Module):
    """A layer that tiles compute, in real numbers.

    Attributes:
        ideal: the layer in float: its gradient, and its results where ``compute`` is None.
        source_step, step: what a code of its inputs and of its outputs stands for.
        compute: the tiles.
        image: number of the next image since the reading seed was set.
    """

    def __init__(self, ideal: nn.Module, source_step: float, step: float) -> None:
        super().__init__()
        self.ideal, self.source_step, self.step = ideal, source_step, step
        self.compute: Compute | None = None
        self.image = 0

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs for a batch, of which each image meets read noise of its own."""
        if self.compute is None:
            ideal: Tensor = self.ideal(inputs)
            return ideal
        codes = (inputs.detach() / self.source_step + HALF).floor().clamp(UINT8.low, UINT8.high).long()
        found = (self.compute(codes, self.image) * self.step).to(inputs)
        self.image += len(codes)
        if not torch.is_grad_enabled():
            return found
        # What tiles clamp, by their ReLU or at the end of the range, passes no gradient.
        linear, clamped = self._without_activation(inputs)
        passing = linear - linear.detach()
        if clamped:
            passing = passing * ((found > 0) & (found < UINT8.high * self.step))
        return found + passing

    def _without_activation(self, inputs: Tensor) -> tuple[Tensor, bool]:
        """The ideal result before a ReLU at its end, and whether there is one."""
        if isinstance(self.ideal, nn.Sequential) and isinstance(self.ideal[-1], nn.ReLU):
            linear: Tensor = self.ideal[:-1](inputs)
            return linear, True
        return self.ideal(inputs), False


def tile_model(network: nn.Module, step: float, steps: tuple[float, ...]) -> nn.Module:
    """A copy of a network whose stages and linear layer can be computed by tiles; at first by none.

    Args:
        network: as of :func:`quietbar.integer.tile_export.export_with_steps`.
        step: what a code of the images stands for.
        steps: behind each stage and the head, as that function tells.
    """
    model = copy.deepcopy(network)
    names = [name for name, _ in model.named_children() if name.startswith("stage")] + ["linear"]
    require(len(steps) == len(names), "tile_model.steps", len(steps), f"{len(names)}: stages and linear layer")
    for name, source, own in zip(names, (step, *steps), steps, strict=False):
        model.set_submodule(name, OnTiles(model.get_submodule(name), source, own))
    return model.eval()


def place(model: nn.Module, tiles: TileNetwork | None, image: int = 0) -> None:
    """Let tiles compute a model of :func:`tile_model`, from an image of their reading seeds on; None computes ideally.

    Blocks of ``tiles`` are left out: those of the model are its own.
    """
    require_integer("place.image", image, 0, 1 << 50)
    layers = [module for module in model.modules() if isinstance(module, OnTiles)]
    computing: list[Compute | None] = [None] * len(layers)
    if tiles is not None:
        require(len(tiles.layers) + 1 == len(layers), "place.tiles", len(tiles.layers), f"{len(layers) - 1} layers")
        head = tiles.head

        def scores(codes: Tensor, first: int) -> Tensor:
            return head.outputs(codes, start_vector=first)

        computing = [*(layer.behind_tiles for layer in tiles.layers), scores]
    for layer, compute in zip(layers, computing, strict=True):
        layer.compute, layer.image = compute, image
