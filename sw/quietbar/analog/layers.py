"""Convolution and linear layers computed on a chip: ordinary layers whose result varies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from quietbar.contract.errors import ConfigurationError
from quietbar.contract.seeds import derive_seed
from quietbar.noise import Chip

from .arrays import channel_ranges, multiply, slice_count, slice_input
from .distribution import Distribution, grid_of
from .grid import Grid
from .interface import Interface
from .readout import Columns, Noise, quantize, read_out_


@dataclass(frozen=True)
class Calibration:
    """The scale of a layer's ideal results, and what its converters' ranges are found from.

    Attributes:
        std: standard deviation of the ideal results.
        range: their largest minus their smallest value.
        inputs: the layer's inputs; None where nobody measured them.
        conversions: the ideal results of each array, slice by slice; empty where nobody measured them.
    """

    std: float
    range: float
    inputs: Distribution | None = None
    conversions: tuple[Distribution, ...] = ()


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
        interface: converters and tiling.
        arrays: first and last-plus-one input channel of each array that the layer is cut into.
        gain: factor of each array's columns, float32 (arrays, columns).
        offset: offset of each array's columns, in units of the reference scale, float32 (arrays, columns).
        adc_gain: gain error of the columns' ADCs, float32 (arrays, columns).
        adc_offset: offset of the columns' ADCs, in codes, float32 (arrays, columns).
    """

    weight: Tensor
    bias: Any
    gain: Tensor
    offset: Tensor
    adc_gain: Tensor
    adc_offset: Tensor
    interface: Interface = Interface()
    arrays: tuple[tuple[int, int], ...] = ()
    name: str = ""
    chip: Chip | None = None
    calibration: Calibration | None = None
    image: int = 0
    factor: float = 1.0
    is_quiet: bool = False
    column_dimension: int = -1

    def place_on(self, chip: Chip, name: str | None = None, interface: Interface | None = None) -> None:
        """Take the mismatch of ``chip``'s layer ``name`` and start again at image 0."""
        name = self.name if name is None else name
        interface = self.interface if interface is None else interface
        arrays = tuple(channel_ranges(self.weight, interface, name))
        self.name, self.interface, self.arrays = name, interface, arrays
        self.chip, self.image, variation = chip, 0, chip.variation
        gain = 1 + self._draws("gain", variation.gain_mismatch)
        for buffer, values in (
            ("gain", gain * variation.drift),
            ("offset", self._draws("offset", variation.offset_mismatch)),
            ("adc_gain", self._draws("adc gain", interface.adc_gain)),
            ("adc_offset", self._draws("adc offset", interface.adc_offset)),
        ):
            self.register_buffer(buffer, values.to(self.weight.device, torch.float32), persistent=False)

    def _draws(self, kind: str, deviation: float) -> Tensor:
        assert self.chip is not None
        shape = len(self.arrays), self.weight.shape[0]
        if deviation == 0:
            return torch.zeros(shape, dtype=torch.float64)
        drawn = self.chip.static_draws(self.name, kind, shape[0] * shape[1])
        return deviation * torch.from_numpy(drawn).view(shape)

    def remove_chip(self) -> None:
        """Forget everything that makes the layer analog."""
        for setting in ("name", "chip", "calibration", "image", "factor", "is_quiet", "interface", "arrays"):
            self.__dict__.pop(setting, None)
        for buffer in ("gain", "offset", "adc_gain", "adc_offset"):
            self._buffers.pop(buffer, None)
            self._non_persistent_buffers_set.discard(buffer)

    @property
    def reference(self) -> float:
        """The calibrated scale that the variation of the layer's result refers to; see :meth:`reference_of`."""
        return self.reference_of(None)

    def reference_of(self, conversion: int | None) -> float:
        """The calibrated scale that the variation of a conversion refers to; None is the layer as a whole.

        Raises:
            ConfigurationError: the layer was never calibrated, or its results are all the same.
        """
        assert self.chip is not None
        kind = self.chip.variation.reference
        source = self.calibration if conversion is None else self.conversion(conversion)
        scale = getattr(source, kind, None)
        if scale is None or not scale > 0:
            allowed = "above 0: measure it with quietbar.analog.calibrate(model, batches) before the noise is on"
            raise ConfigurationError(f"{self.name}.calibration.{kind}", scale, allowed)
        return float(scale)

    def conversion(self, number: int) -> Distribution:
        """What calibration has seen of the ideal results of a conversion.

        Raises:
            ConfigurationError: it has not, with the present interface.
        """
        found = self.calibration.conversions if self.calibration else ()
        count = len(self.arrays) * self.slices
        if len(found) != count:
            allowed = f"{count}: measure them with quietbar.analog.calibrate(model, batches) after the interface is set"
            raise ConfigurationError(f"{self.name}.calibration.conversions", len(found), allowed)
        return found[number]

    @property
    def dac(self) -> Grid | None:
        """The grid of the inputs; None where they are not converted.

        Raises:
            ConfigurationError: the inputs were never measured, or all were 0.
        """
        if self.interface.dac.bits is None:
            return None
        inputs = self.calibration.inputs if self.calibration else None
        if inputs is None:
            allowed = "measured: call quietbar.analog.calibrate(model, batches) before the converters are on"
            raise ConfigurationError(f"{self.name}.calibration.inputs", None, allowed)
        sign = self.interface.dac_sign
        grid = grid_of(inputs, self.interface.dac, sign == "signed" or (sign == "auto" and inputs.low < 0))
        if grid is None:
            raise ConfigurationError(f"{self.name}.calibration.inputs.high", inputs.high, "above 0 for some input")
        return grid

    @property
    def slices(self) -> int:
        """How many slices of bits an input is applied in."""
        return 1 if self.interface.slice_bits is None else slice_count(self.interface, self.dac)

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
            gain = (1 + self.factor * (self.gain[0] - 1)).to(weight.dtype)
            weight = weight * gain.view(-1, *[1] * (weight.dim() - 1))
            bias = None if bias is None else bias * gain
        if variation.offset_mismatch > 0:
            offset = (self.factor * self.reference * self.offset[0]).to(weight.dtype)
            bias = offset if bias is None else bias + offset
        return weight, bias

    def compute(self, input: Tensor, has_batch: bool) -> Tensor:
        """The layer's result, as varied and converted as it is."""
        chip = self.chip
        if self.is_ideal or chip is None:
            result = multiply(self, input, self.weight, self.bias)
        elif self.has_one_conversion:
            grid = self.dac
            weight, bias = self.vary_columns()
            result = multiply(self, input if grid is None else quantize(input, grid), weight, bias)
            result = self.read_out(result, has_batch, None)
        else:
            result = self.add_conversions(input, has_batch)
        if chip is not None and not self.is_quiet:
            self.image += result.shape[0] if has_batch else 1
        return result

    @property
    def has_one_conversion(self) -> bool:
        """Whether one reading gives the result; so it is where several would only add up to the same."""
        assert self.chip is not None
        variation = self.chip.variation
        if self.interface.adc.bits is None and not variation.needs_reference and not variation.has_gain:
            return True
        return len(self.arrays) == 1 and self.slices == 1

    def add_conversions(self, input: Tensor, has_batch: bool) -> Tensor:
        """The digital sum of the results of all arrays and slices; the bias is added digitally too."""
        assert self.chip is not None
        variation, total = self.chip.variation, None
        for number, (channels, values, worth) in enumerate(self.parts(input)):
            array = number // self.slices
            weight, offset = self.weight, None
            if variation.has_gain:
                gain = (1 + self.factor * (self.gain[array] - 1)).to(weight.dtype)
                weight = weight * gain.view(-1, *[1] * (weight.dim() - 1))
            if variation.offset_mismatch > 0:
                offset = (self.factor * self.reference_of(number) * self.offset[array]).to(weight.dtype)
            part = multiply(self, values, weight, offset, channels)
            part = self.read_out(part, has_batch, number)
            total = part * worth if total is None else total.add(part, alpha=worth)
        assert total is not None
        return total if self.bias is None else total + self.bias.view(-1, *[1] * (self.weight.dim() - 2))

    def parts(self, input: Tensor) -> Iterator[tuple[tuple[int, int] | None, Tensor, int]]:
        """Channels, input and worth of each conversion, array by array."""
        grid, width = self.dac, self.interface.slice_bits
        if grid is not None and width is not None:
            slices = slice_input(input, grid, width)
        else:
            slices, width = (input if grid is None else quantize(input, grid),), 0
        for channels in self.arrays:
            for number, values in enumerate(slices):
                yield None if len(self.arrays) == 1 else channels, values, 1 << number * width

    def read_out(self, result: Tensor, has_batch: bool, conversion: int | None) -> Tensor:
        """``result`` with noise and the ADC's steps, in place.

        Args:
            result: of one conversion; nobody else may need its old values.
            has_batch: whether its first dimension counts images.
            conversion: number of the conversion; None where it is the only one.
        """
        assert self.chip is not None
        number = conversion or 0
        sigma, noise, grid, columns = self.chip.variation.sigma * self.factor, None, None, None
        if sigma > 0:
            seed = self.chip.temporal_seed(self.name)
            if conversion:
                seed = derive_seed(self.chip.seed, self.name, "temporal", conversion)
            noise = Noise(sigma * self.reference_of(conversion), seed, self.image)
        if self.interface.adc.bits is not None:
            grid = grid_of(self.conversion(number), self.interface.adc, True)
            if grid is not None and (self.interface.adc_gain > 0 or self.interface.adc_offset > 0):
                array = number // self.slices
                gain = 1 + self.factor * self.adc_gain[array]
                offset = self.factor * grid.step * self.adc_offset[array]
                columns = Columns(gain.to(result.dtype), offset.to(result.dtype), self.column_dimension)
        return read_out_(result, noise, grid, columns, has_batch)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, chip={self.chip}"


class AnalogConv2d(AnalogLayer, nn.Conv2d):
    """A convolution on a chip; grouped, dilated and strided as any other. A column is an output channel."""

    column_dimension = -3

    def forward(self, input: Tensor) -> Tensor:
        return self.compute(input, has_batch=input.dim() == 4)


class AnalogLinear(AnalogLayer, nn.Linear):
    """A linear layer on a chip. A column is an output feature; the first of several dimensions counts images."""

    column_dimension = -1

    def forward(self, input: Tensor) -> Tensor:
        return self.compute(input, has_batch=input.dim() > 1)


ANALOG: dict[type[nn.Module], type[AnalogLayer]] = {nn.Conv2d: AnalogConv2d, nn.Linear: AnalogLinear}
"""The analog class of each digital one."""

DIGITAL: dict[type[nn.Module], type[nn.Module]] = {analog: digital for digital, analog in ANALOG.items()}
"""The digital class of each analog one."""
