"""The denoising block in floating point: what is trained, before it becomes integers."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from quietbar.contract.block import LOG_SIGMA, LOG_SIGMA_STEPS, BlockConfig, Kernel, Mode
from quietbar.contract.errors import require
from quietbar.contract.gaussian import SIGMA_FRACTION_BITS


class DenoisingBlock(nn.Module):
    """Estimates the noise on the activations ``a`` (N, channels, H, W) and subtracts it::

        h1 = relu(norm(conv1x1(a)))        (N, hidden, H, W)
        h2 = relu(norm(conv3x3(h1)))       zero padding 1, depthwise or dense
        mu = conv1x1(h2)                   mean of the noise, in activation units
        l  = conv1x1(h2)                   sampling mode: log2 of its standard deviation in activation units
        n  = mu + 2**l * eps               eps ~ N(0, 1) for every element, from torch's random state
        out = a - n                        at least 0 where the tap is unsigned

    Structure: paper A (arXiv 2409.18553); its layers' details are a choice, see ``docs/denoising.md``. A new block is
    the identity: its mean head is zero, and in sampling mode its deviation the smallest that the integers hold.

    Args:
        channels: depth of the tap.
        hidden: width of the bottleneck.
        kernel: ``"depthwise"`` or ``"dense"`` 3x3 stage.
        mode: ``"mean"`` subtracts ``mu``, ``"sampling"`` a draw.
        signed: whether activations at the tap can be negative.

    Attributes:
        step: size of one integer step of the activations, in activation units. It only sets the range of ``l``, which
            is that of the contract's table: 2**-8 to 235 steps.
    """

    step: Tensor

    def __init__(
        self,
        channels: int,
        hidden: int,
        kernel: Kernel = "depthwise",
        mode: Mode = "mean",
        signed: bool = False,
    ) -> None:
        BlockConfig(channels, hidden, 1, 1, kernel, mode, signed)
        super().__init__()
        self.channels, self.hidden, self.kernel, self.mode, self.signed = channels, hidden, kernel, mode, signed
        self.reduce = nn.Conv2d(channels, hidden, 1, bias=False)
        self.reduce_norm = nn.BatchNorm2d(hidden)
        groups = hidden if kernel == "depthwise" else 1
        self.spatial = nn.Conv2d(hidden, hidden, 3, padding=1, groups=groups, bias=False)
        self.spatial_norm = nn.BatchNorm2d(hidden)
        self.mean = nn.Conv2d(hidden, channels, 1)
        nn.init.zeros_(self.mean.weight)
        nn.init.zeros_(_bias(self.mean))
        self.log_sigma: nn.Conv2d | None = None
        if mode == "sampling":
            self.log_sigma = nn.Conv2d(hidden, channels, 1)
            nn.init.zeros_(self.log_sigma.weight)
        self.register_buffer("step", torch.ones(()))
        self.set_step(1.0)

    def set_step(self, step: float) -> None:
        """Set the size of an activation step; an untrained deviation moves with the bottom of the table.

        Raises:
            ConfigurationError: ``step`` is not a positive number.
        """
        require(math.isfinite(step) and step > 0, "block.step", step, "a positive number")
        if self.log_sigma is not None and not self.log_sigma.weight.any():
            nn.init.constant_(_bias(self.log_sigma), math.log2(step) - SIGMA_FRACTION_BITS)
        self.step.fill_(step)

    def estimate(self, activations: Tensor) -> tuple[Tensor, Tensor | None]:
        """Mean of the noise and, in sampling mode, log2 of its deviation, in activation units, (N, channels, H, W)."""
        hidden = functional.relu(self.reduce_norm(self.reduce(activations)))
        hidden = functional.relu(self.spatial_norm(self.spatial(hidden)))
        mean = self.mean(hidden)
        if self.log_sigma is None:
            return mean, None
        return mean, self.limit(self.log_sigma(hidden))

    def limit(self, log_sigma: Tensor) -> Tensor:
        """``log_sigma`` held within the contract's table; the gradient passes, so that what left it can come back."""
        low = torch.log2(self.step) - SIGMA_FRACTION_BITS
        held = log_sigma.clamp(low, low + LOG_SIGMA.high / LOG_SIGMA_STEPS)
        return log_sigma + (held - log_sigma).detach()

    def forward(self, activations: Tensor) -> Tensor:
        """Denoised activations, of the same shape.

        Raises:
            ConfigurationError: the input is not (N, channels, H, W).
        """
        shape = tuple(activations.shape)
        fits = len(shape) == 4 and shape[1] == self.channels
        require(fits, "block.input.shape", shape, f"(N, {self.channels}, H, W)")
        noise, log_sigma = self.estimate(activations)
        if log_sigma is not None:
            noise = noise + torch.exp2(log_sigma) * torch.randn_like(noise)
        output = activations - noise
        return output if self.signed else output.clamp(min=0)

    def folded(self) -> dict[str, tuple[Tensor, Tensor]]:
        """(weight, bias) of each of the contract's stages, batch normalization folded in as evaluation mode applies it.

        Weights have the shape of their convolution, (outputs, inputs / groups, rows, columns). Batch normalization is
        folded in double precision and rounded once. The stages after folding are convolution, bias and, for ``reduce``
        and ``spatial``, ReLU.
        """
        stages = {
            "reduce": _fold(self.reduce, self.reduce_norm),
            "spatial": _fold(self.spatial, self.spatial_norm),
            "mean": (self.mean.weight.detach().clone(), _bias(self.mean).detach().clone()),
        }
        if self.log_sigma is not None:
            stages["log_sigma"] = (self.log_sigma.weight.detach().clone(), _bias(self.log_sigma).detach().clone())
        return stages

    def extra_repr(self) -> str:
        return f"{self.channels}, {self.hidden}, {self.kernel!r}, {self.mode!r}, signed={self.signed}"


def _bias(convolution: nn.Conv2d) -> Tensor:
    assert convolution.bias is not None
    return convolution.bias


def _fold(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    assert norm.running_mean is not None and norm.running_var is not None
    gain = norm.weight.detach().double() / torch.sqrt(norm.running_var.double() + norm.eps)
    weight = convolution.weight.detach().double() * gain.view(-1, 1, 1, 1)
    bias = norm.bias.detach().double() - norm.running_mean.double() * gain
    return weight.to(convolution.weight.dtype), bias.to(convolution.weight.dtype)
