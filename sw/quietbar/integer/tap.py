"""One tap in integers, and the way in and out of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from quietbar.contract.block import BlockConfig
from quietbar.contract.errors import require

from .parameters import BlockParameters
from .quantize import Scales


@dataclass(frozen=True, eq=False)
class IntegerTap:
    """One tap in integers.

    Attributes:
        name: of the submodule that is tapped.
        parameters: the block's integers.
        scales: of its activations.
    """

    name: str
    parameters: BlockParameters
    scales: Scales

    @property
    def config(self) -> BlockConfig:
        """The block's shape and mode."""
        return self.parameters.config

    @property
    def dtype(self) -> torch.dtype:
        """The type of its integer activations: int8 or uint8."""
        return torch.int8 if self.config.signed else torch.uint8

    def quantize(self, activations: Tensor) -> Tensor:
        """Real activations (N, C, H, W) as the nearest integers, half upward, clamped to the format.

        Raises:
            ConfigurationError: an activation is not a number.
        """
        where = f"{self.name}.activations"
        require(activations.is_floating_point(), where, activations.dtype, "a floating-point tensor")
        # Unlike `isnan`, one pass without a temporary: a bound of something with a nan in it is nan.
        numbers = not activations.numel() or not bool(torch.aminmax(activations).min.isnan())
        require(numbers, where, "nan", "numbers")
        steps = activations.float().div(self.scales.activation).add_(0.5).floor_()
        return steps.clamp_(self.config.activation.low, self.config.activation.high).to(self.dtype)

    def dequantize(self, integers: Tensor) -> Tensor:
        """Integers as real activations, float32."""
        return integers.float().mul_(self.scales.activation)
