"""Convolution and linear layers computed on a chip: ordinary layers whose result varies."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from quietbar.contract.errors import ConfigurationError
from quietbar.contract.seeds import derive_seed
from quietbar.noise import Chip
from quietbar.noise.temporal import add_noise_

from .arrays import channel_ranges, multiply, slice_count, slice_input
from .distribution import Calibration, Distribution, grid_of
from .grid import Grid
from .interface import Interface
from .ir_drop import check_wires, wired
from .programming import Held, Transform, program
from .readout import Columns, Noise, quantize, read_out_

PART = 1 << 19
"""Elements of input computed together, where no gradient is wanted."""


class AnalogLayer(nn.Module):
    """What the analog layers share: products with the weights that arrays hold, and results that vary.

    :class:`quietbar.noise.Conductance` and :class:`quietbar.noise.Variation` have the formulas. Devices are programmed
    when they are first needed, and again whenever the layer's weight has changed in place or was replaced (an
    optimizer's step, ``load_state_dict``), so that they always hold the present weights; their draws stay.

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
    _held: Held | None = None
    _written: tuple[weakref.ref[Tensor], tuple[Any, ...]] | None = None

    def place_on(self, chip: Chip, name: str | None = None, interface: Interface | None = None) -> None:
        """Take the mismatch of ``chip``'s layer ``name`` and start again at image 0."""
        name = self.name if name is None else name
        interface = self.interface if interface is None else interface
        arrays = tuple(channel_ranges(self.weight, interface, name))
        check_wires(interface, chip.conductance, name)
        self.name, self.interface, self.arrays = name, interface, arrays
        self.chip, self.image, variation = chip, 0, chip.variation
        self.erase()
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
        self.erase()
        for setting in ("name", "chip", "calibration", "image", "factor", "is_quiet", "interface", "arrays"):
            self.__dict__.pop(setting, None)
        for buffer in ("gain", "offset", "adc_gain", "adc_offset"):
            self._buffers.pop(buffer, None)
            self._non_persistent_buffers_set.discard(buffer)

    def erase(self) -> None:
        """Forget what the array holds; it is programmed anew when it is needed."""
        self.__dict__.pop("_held", None)
        self.__dict__.pop("_written", None)

    def held(self) -> Held:
        """The array with the present weights in it; the chip has a conductance."""
        assert self.chip is not None
        weight = self.weight
        state = (weight._version, weight.device, weight.dtype)
        if self._held is None or self._written is None or self._written[0]() is not weight or self._written[1] != state:
            # Tensors made in inference mode could not be used outside of it.
            with torch.inference_mode(False), torch.no_grad():
                groups = getattr(self, "groups", 1)
                self._held, _, _ = program(weight, self.chip, self.name, groups, self.wiring())
            self._written = (weakref.ref(weight), state)
        return self._held

    def wiring(self) -> Transform | None:
        """What the wires of the layer's arrays do to the conductances of their devices; None is nothing."""
        wires, tile_columns = self.interface.wires, self.interface.tile_columns
        if wires.is_ideal or tile_columns is None:
            return None
        places, columns = self.weight[0, 0].numel(), self.weight.shape[0]
        rows = [(start * places, end * places) for start, end in self.arrays]
        groups = getattr(self, "groups", 1)
        return lambda conductances: wired(conductances, columns, groups, rows, tile_columns, wires)

    def __getstate__(self) -> dict[str, Any]:
        # What belongs to one weight tensor in one process stays there; a copy programs its own array, just the same.
        return {name: value for name, value in self.__dict__.items() if name not in ("_held", "_written")}

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

    def held_weight(self) -> Tensor:
        """The weight that the devices hold; its gradient goes to the digital weight as it is (straight-through)."""
        assert self.chip is not None
        if self.chip.conductance is None:
            return self.weight
        held = self.held().weight
        if self.factor != 1:
            held = torch.lerp(self.weight.detach(), held, self.factor)
        if self.weight.requires_grad and torch.is_grad_enabled():
            straight: Tensor = _StraightThrough.apply(self.weight, held)
            return straight
        return held

    def vary_columns(self) -> tuple[Tensor, Tensor | None]:
        """Weight and bias with the columns' gains and offsets in them."""
        if self.is_ideal or self.chip is None:
            return self.weight, self.bias
        return self.vary_array(self.held_weight(), self.bias, 0, None)

    def vary_array(
        self, weight: Tensor, bias: Tensor | None, array: int, conversion: int | None
    ) -> tuple[Tensor, Tensor | None]:
        """Weight and bias with the gains and offsets of an array's columns in them.

        Args:
            weight: what the devices hold.
            bias: what the columns add, if anything.
            array: number of the array.
            conversion: whose scale offsets refer to; see :meth:`reference_of`.
        """
        assert self.chip is not None
        variation = self.chip.variation
        if variation.has_gain:
            gain = (1 + self.factor * (self.gain[array] - 1)).to(weight.dtype)
            weight = weight * gain.view(-1, *[1] * (weight.dim() - 1))
            bias = None if bias is None else bias * gain
        if variation.offset_mismatch > 0:
            offset = (self.factor * self.reference_of(conversion) * self.offset[array]).to(weight.dtype)
            bias = offset if bias is None else bias + offset
        return weight, bias

    def compute(self, input: Tensor, has_batch: bool) -> Tensor:
        """The layer's result, as varied and converted as it is; a large batch in parts, where no gradient is wanted."""
        count = len(input) if has_batch else 1
        size = self.images_at_a_time(input) if has_batch else 1
        if size >= count:
            return self.compute_at_once(input, has_batch)
        result = None
        for start in range(0, count, size):
            part = self.compute_at_once(input[start : start + size], has_batch)
            if result is None:
                result = _for_images(part, count)
            result[start : start + size] = part
        assert result is not None
        return result

    def images_at_a_time(self, input: Tensor) -> int:
        """How many images to compute together: few enough that what comes in between is never asked of the system."""
        wants_gradient = torch.is_grad_enabled() and (input.requires_grad or self.weight.requires_grad)
        if self.is_ideal or wants_gradient or input.device.type != "cpu":
            return max(len(input), 1)
        # The weights are prepared for every part; that must not count.
        elements = max(PART, 4 * self.weight.numel())
        return max(torch.get_num_threads(), elements // max(input[0].numel(), 1))

    def compute_at_once(self, input: Tensor, has_batch: bool) -> Tensor:
        """:meth:`compute` in one part."""
        chip = self.chip
        if self.is_ideal or chip is None:
            result = multiply(self, input, self.weight, self.bias)
        elif self.has_one_conversion:
            grid = self.dac
            weight, bias = self.vary_columns()
            input = input if grid is None else quantize(input, grid)
            result = self.read_out(multiply(self, input, weight, bias), input, has_batch, None)
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
            # Readings of several arrays add up to that of one; those of slices do not.
            return not self.has_read_noise or self.slices == 1
        return len(self.arrays) == 1 and self.slices == 1

    @property
    def has_read_noise(self) -> bool:
        """Whether every reading of the devices differs."""
        conductance = None if self.chip is None else self.chip.conductance
        if conductance is None or self.factor == 0 or not conductance.read.is_noisy:
            return False
        return conductance.read.redraw == "reading"

    def add_conversions(self, input: Tensor, has_batch: bool) -> Tensor:
        """The digital sum of the results of all arrays and slices; the bias is added digitally too."""
        held, total = self.held_weight(), None
        for number, (channels, values, worth) in enumerate(self.parts(input)):
            weight, offset = self.vary_array(held, None, number // self.slices, number)
            part = multiply(self, values, weight, offset, channels)
            part = self.read_out(part, values, has_batch, number, channels)
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

    def read_out(
        self,
        result: Tensor,
        values: Tensor,
        has_batch: bool,
        conversion: int | None,
        channels: tuple[int, int] | None = None,
    ) -> Tensor:
        """``result`` with noise and the ADC's steps, in place.

        Args:
            result: of one conversion; nobody else may need its old values. Under autocast its products may have
                fewer bits than a converter: it is read out in float32 then.
            values: the inputs that it came from.
            has_batch: whether the first dimension of both counts images.
            conversion: number of the conversion; None where it is the only one.
            channels: the input channels of its array; None is all.
        """
        assert self.chip is not None
        number = conversion or 0
        sigma, noise, grid, columns = self.chip.variation.noise * self.factor, None, None, None
        if (sigma > 0 or self.has_read_noise or self.interface.adc.bits is not None) and _is_autocast(result):
            result = result.to(torch.promote_types(result.dtype, torch.float32))
        if sigma > 0 or self.has_read_noise:
            seed = self.chip.temporal_seed(self.name)
            if conversion:
                seed = derive_seed(self.chip.seed, self.name, "temporal", conversion)
            sigma = sigma * self.reference_of(conversion) if sigma > 0 else 0.0
            noise = Noise(sigma, seed, self.image)
            if self.has_read_noise:
                self.add_reference_noise(result.detach(), values, has_batch, number, channels, seed)
                noise = Noise(sigma, seed, self.image, self.variance(values, number, channels).to(result.dtype))
        if self.interface.adc.bits is not None:
            grid = grid_of(self.conversion(number), self.interface.adc, True)
            if grid is not None and (self.interface.adc_gain > 0 or self.interface.adc_offset > 0):
                array = number // self.slices
                gain = 1 + self.factor * self.adc_gain[array]
                offset = self.factor * grid.step * self.adc_offset[array]
                columns = Columns(gain.to(result.dtype), offset.to(result.dtype), self.column_dimension)
        return read_out_(result, noise, grid, columns, has_batch)

    @torch.no_grad()
    def variance(self, values: Tensor, number: int, channels: tuple[int, int] | None) -> Tensor:
        """Variance of a conversion's results by readings of the devices; rounding may leave it below 0."""
        held = self.held()
        assert held.read_variance is not None
        factor = self.gain_of_noise(number, held.read_variance.dtype).square()
        variance = held.read_variance * factor.view(-1, *[1] * (held.read_variance.dim() - 1))
        return multiply(self, values.detach().square(), variance, None, channels).contiguous()

    @torch.no_grad()
    def add_reference_noise(
        self,
        result: Tensor,
        values: Tensor,
        has_batch: bool,
        number: int,
        channels: tuple[int, int] | None,
        seed: int,
    ) -> None:
        """Add to ``result`` what readings of the reference devices do to all columns of their group at once."""
        held = self.held()
        if held.reference_variance is None:
            return
        shared = multiply(self, values.detach().square(), held.reference_variance, None, channels)
        shared.clamp_(min=0).sqrt_()
        shared *= _standard_normal(shared, derive_seed(seed, "reference"), self.image, has_batch)
        scale = held.scale * self.gain_of_noise(number, held.scale.dtype)
        each = shared.repeat_interleave(len(scale) // shared.shape[self.column_dimension], dim=self.column_dimension)
        result += each * scale.view(-1, *[1] * (-self.column_dimension - 1))

    def gain_of_noise(self, number: int, dtype: torch.dtype) -> Tensor:
        """Factor of each column on the noise of its devices in conversion ``number``."""
        gain = 1 + self.factor * (self.gain[number // self.slices] - 1)
        return (gain * self.factor).to(dtype)

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


def _is_autocast(tensor: Tensor) -> bool:
    return torch.is_autocast_enabled(tensor.device.type)


def _for_images(part: Tensor, count: int) -> Tensor:
    """Memory for the results of ``count`` images, laid out as those of the few in ``part``."""
    last = part.dim() == 4 and part.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last and not part.is_contiguous() else torch.contiguous_format
    return torch.empty((count, *part.shape[1:]), dtype=part.dtype, device=part.device, memory_format=layout)


class _StraightThrough(torch.autograd.Function):
    """``held``, with the gradient of ``weight``."""

    @staticmethod
    def forward(context: Any, weight: Tensor, held: Tensor) -> Tensor:
        return held.clone()

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def _standard_normal(like: Tensor, seed: int, image: int, has_batch: bool) -> Tensor:
    """Standard normal numbers in the shape of ``like``, (images, ...) or one image."""
    noise = torch.zeros_like(like)
    add_noise_(noise if has_batch else noise.unsqueeze(0), 1.0, seed, image)
    return noise


ANALOG: dict[type[nn.Module], type[AnalogLayer]] = {nn.Conv2d: AnalogConv2d, nn.Linear: AnalogLinear}
"""The analog class of each digital one."""

DIGITAL: dict[type[nn.Module], type[nn.Module]] = {analog: digital for digital, analog in ANALOG.items()}
"""The digital class of each analog one."""
