"""Convolution and linear layers computed on a chip: ordinary layers whose result varies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from quietbar.contract.errors import ConfigurationError
from quietbar.noise import Chip
from quietbar.noise.temporal import add_noise_


@dataclass(frozen=True)
class Calibration:
    """The scale of a layer's ideal results: their standard deviation, and their largest minus their smallest value."""

    std: float
    range: float


class AnalogLayer(nn.Module):
    """What the analog layers share; :class:`quietbar.noise.Variation` has the formula.

    Made by ``quietbar.analog.convert`` out of a digital layer, whose parameters, hooks and ``state_dict`` it keeps. The
    settings below are no part of the ``state_dict``; change them with the functions of ``quietbar.analog``.

    Attributes:
        name: the layer's name in the model, which picks its random numbers.
        chip: the chip that it is computed on.
        calibration: the scale of its results, None until ``quietbar.analog.calibrate`` has measured it.
        image: number of the next image. Image ``n`` meets the same temporal noise in whatever batch it comes.
        factor: scales every deviation from the ideal layer, mismatch and drift included; 0 is ideal, 1 is the chip.
        is_quiet: whether the layer is ideal for now, without counting images.
        gain: factor of each output column, float32 (columns).
        offset: offset of each output column, in units of the reference scale, float32 (columns).
    """

    weight: Tensor
    bias: Any
    gain: Tensor
    offset: Tensor
    name: str = ""
    chip: Chip | None = None
    calibration: Calibration | None = None
    image: int = 0
    factor: float = 1.0
    is_quiet: bool = False

    def place_on(self, chip: Chip, name: str | None = None) -> None:
        """Take the mismatch of ``chip``'s layer ``name`` and start again at image 0."""
        self.name = self.name if name is None else name
        self.chip, self.image, variation = chip, 0, chip.variation
        columns, device = self.weight.shape[0], self.weight.device
        gain = torch.ones(columns, dtype=torch.float64)
        if variation.gain_mismatch > 0:
            gain += variation.gain_mismatch * torch.from_numpy(chip.static_draws(self.name, "gain", columns))
        offset = torch.zeros(columns, dtype=torch.float64)
        if variation.offset_mismatch > 0:
            offset += variation.offset_mismatch * torch.from_numpy(chip.static_draws(self.name, "offset", columns))
        self.register_buffer("gain", (gain * variation.drift).to(device, torch.float32), persistent=False)
        self.register_buffer("offset", offset.to(device, torch.float32), persistent=False)

    def remove_chip(self) -> None:
        """Forget everything that makes the layer analog."""
        for setting in ("name", "chip", "calibration", "image", "factor", "is_quiet"):
            self.__dict__.pop(setting, None)
        for buffer in ("gain", "offset"):
            self._buffers.pop(buffer, None)
            self._non_persistent_buffers_set.discard(buffer)

    @property
    def reference(self) -> float:
        """The calibrated scale that the variation refers to.

        Raises:
            ConfigurationError: the layer was never calibrated, or its results are all the same.
        """
        assert self.chip is not None
        kind = self.chip.variation.reference
        scale = getattr(self.calibration, kind, None)
        if scale is None or not scale > 0:
            allowed = "above 0: measure it with quietbar.analog.calibrate(model, batches) before the noise is on"
            raise ConfigurationError(f"{self.name}.calibration.{kind}", scale, allowed)
        return float(scale)

    @property
    def is_ideal(self) -> bool:
        """Whether the layer computes just what its digital origin does."""
        return self.is_quiet or self.factor == 0 or self.chip is None

    def vary_columns(self) -> tuple[Tensor, Tensor | None]:
        """Weight and bias with the columns' gains and offsets in them."""
        if self.is_ideal or self.chip is None:
            return self.weight, self.bias
        weight, bias, variation = self.weight, self.bias, self.chip.variation
        if variation.has_gain:
            gain = (1 + self.factor * (self.gain - 1)).to(weight.dtype)
            weight = weight * gain.view(-1, *[1] * (weight.dim() - 1))
            bias = None if bias is None else bias * gain
        if variation.offset_mismatch > 0:
            offset = (self.factor * self.reference * self.offset).to(weight.dtype)
            bias = offset if bias is None else bias + offset
        return weight, bias

    def vary_result(self, result: Tensor, has_batch: bool) -> Tensor:
        """``result`` (images, ...), or that of one image, with temporal noise added in place."""
        if self.is_quiet or self.chip is None:
            return result
        images = result if has_batch else result.unsqueeze(0)
        sigma = self.chip.variation.sigma * self.factor
        if sigma > 0:
            add_noise_(images, sigma * self.reference, self.chip.temporal_seed(self.name), self.image)
        self.image += images.shape[0]
        return result

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, chip={self.chip}"


class AnalogConv2d(AnalogLayer, nn.Conv2d):
    """A convolution on a chip; grouped, dilated and strided as any other. A column is an output channel."""

    def forward(self, input: Tensor) -> Tensor:
        weight, bias = self.vary_columns()
        return self.vary_result(self._conv_forward(input, weight, bias), has_batch=input.dim() == 4)


class AnalogLinear(AnalogLayer, nn.Linear):
    """A linear layer on a chip. A column is an output feature; the first of several dimensions counts images."""

    def forward(self, input: Tensor) -> Tensor:
        weight, bias = self.vary_columns()
        return self.vary_result(functional.linear(input, weight, bias), has_batch=input.dim() > 1)


ANALOG: dict[type[nn.Module], type[AnalogLayer]] = {nn.Conv2d: AnalogConv2d, nn.Linear: AnalogLinear}
"""The analog class of each digital one."""

DIGITAL: dict[type[nn.Module], type[nn.Module]] = {analog: digital for digital, analog in ANALOG.items()}
"""The digital class of each analog one."""
