"""The converters and the digital scale of crossbar tiles, checked against what the hardware implements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from quietbar.contract.crossbar import READ_SIGMA, CrossbarConfig
from quietbar.contract.errors import require, require_integer
from quietbar.contract.number import BIAS
from quietbar.contract.requantize import check_requantizer, choose_multiplier

if TYPE_CHECKING:
    from quietbar.noise import Chip

Numbers = float | Sequence[float] | Tensor


@dataclass(frozen=True)
class Converter:
    """The analog-to-digital converters of tiles: ``code = requantize(current + offset, gain, shift)``.

    One for every column; where columns are split over several tiles, one for every tile and column, tile by tile.

    Attributes:
        offset: added to each column's current; signed 24 bits, in units of the current.
        gain: 16-bit multipliers from 2**15 to 2**16 - 1.
        shift: right shifts from 1 to 47.
        read_sigma: deviation of the read noise, in units of the current; 0 for none.

    Raises:
        ConfigurationError: a value is outside what the hardware implements; the column is named.
    """

    offset: tuple[int, ...]
    gain: tuple[int, ...]
    shift: tuple[int, ...]
    read_sigma: int = 0

    def __post_init__(self) -> None:
        _check("converter", {"offset": self.offset, "gain": self.gain, "shift": self.shift})
        require_integer("converter.read_sigma", self.read_sigma, READ_SIGMA.low, READ_SIGMA.high)

    @property
    def columns(self) -> int:
        """Number of columns, each counted as often as it has tiles."""
        return len(self.offset)


@dataclass(frozen=True)
class Scale:
    """The digital scale behind the sums of codes: ``requantize(sum + bias, multiplier, shift)``, by column.

    Attributes:
        bias: signed 24 bits, in units of the sum.
        multiplier: 2**15 to 2**16 - 1.
        shift: right shifts from 1 to 47.

    Raises:
        ConfigurationError: a value is outside what the hardware implements; the column is named.
    """

    bias: tuple[int, ...]
    multiplier: tuple[int, ...]
    shift: tuple[int, ...]

    def __post_init__(self) -> None:
        _check("scale", {"bias": self.bias, "multiplier": self.multiplier, "shift": self.shift})

    @property
    def columns(self) -> int:
        """Number of columns."""
        return len(self.bias)


def _check(owner: str, fields: dict[str, tuple[int, ...]]) -> None:
    (added_name, added), (factor_name, factors), (shift_name, shifts) = fields.items()
    for field, values in ((factor_name, factors), (shift_name, shifts)):
        allowed = f"{len(added)} values, as many as in {owner}.{added_name}"
        require(len(values) == len(added), f"{owner}.{field}", f"{len(values)} values", allowed)
    for column, (addend, factor, shift) in enumerate(zip(added, factors, shifts, strict=True)):
        require_integer(f"{owner}.column[{column}].{added_name}", addend, BIAS.low, BIAS.high)
        check_requantizer(factor, shift, f"{owner}.column[{column}]")


def design_converter(
    config: CrossbarConfig,
    full_scale: Numbers,
    gain: Numbers = 1.0,
    offset: Numbers = 0.0,
    read_noise: float = 0.0,
) -> Converter:
    """The converters whose code is ``(gain * (current + noise) + offset) / full_scale * highest code``, rounded.

    Each argument but the last is one number for all columns, or one for each; all tiles of a column have the same.

    Args:
        config: the tiles.
        full_scale: current, in units of x_i * G_ij, that the highest code stands for. Calibrated, e.g. a high quantile
            of the currents that training images cause.
        gain: what process variation made of the nominal 1.
        offset: what process variation adds, in units of the current.
        read_noise: deviation of the read noise, in units of the current.

    Raises:
        ConfigurationError: a value is not finite, or leads to a converter that the hardware does not implement.
    """
    scales = by_column(config, "converter.full_scale", full_scale)
    gains = by_column(config, "converter.gain", gain)
    offsets = by_column(config, "converter.offset", offset)
    for column, (scale, factor) in enumerate(zip(scales, gains, strict=True)):
        require(scale > 0, f"converter.full_scale[{column}]", scale, "above 0")
        require(factor > 0, f"converter.gain[{column}]", factor, "above 0")
    require(math.isfinite(read_noise) and read_noise >= 0, "converter.read_noise", read_noise, "finite and at least 0")
    ratios = [factor * config.adc.high / scale for scale, factor in zip(scales, gains, strict=True)]
    chosen = [choose_multiplier(ratio, f"converter.column[{column}]") for column, ratio in enumerate(ratios)]
    return Converter(
        offset=config.row_tiles * tuple(round(added / factor) for added, factor in zip(offsets, gains, strict=True)),
        gain=config.row_tiles * tuple(multiplier for multiplier, _ in chosen),
        shift=config.row_tiles * tuple(shift for _, shift in chosen),
        read_sigma=round(read_noise),
    )


def converter_for_chip(
    config: CrossbarConfig, chip: Chip, layer: str, full_scale: Numbers, reference: float
) -> Converter:
    """The converters of a chip's layer: the same draws, and by :class:`quietbar.noise.Variation` the same variation.

    The read noise of the tile comes before the gain, so a column's gain error scales its noise too; drift is uniform
    and belongs to the gain. Where a result is the sum of several conversions (tiles, slices), each has its share of
    offset and noise: the result's are those of the float layer.

    Args:
        config: the tiles.
        chip: gives the gain and offset error of every column, the drift, and the read noise.
        layer: name of the layer in the model, whose draws are taken.
        full_scale: as of :func:`design_converter`.
        reference: the layer's calibrated scale, in units of the current.

    Raises:
        ConfigurationError: as :func:`design_converter`.
    """
    variation = chip.variation
    weights = [1 << (number * config.dac_bits) for number in range(config.slices)]
    gain = (1 + variation.gain_mismatch * chip.static_draws(layer, "gain", config.outputs)) * variation.drift
    offset = reference * variation.offset_mismatch * chip.static_draws(layer, "offset", config.outputs)
    offset = offset / (config.row_tiles * sum(weights))
    # Drift shrinks the current, and its noise with it; the variation's noise does not shrink.
    noise = reference * variation.noise / variation.drift
    noise /= math.sqrt(config.row_tiles * sum(weight**2 for weight in weights))
    return design_converter(config, full_scale, gain.tolist(), offset.tolist(), noise)


def design_scale(config: CrossbarConfig, ratio: Numbers, bias: Numbers = 0.0) -> Scale:
    """The scale whose output is ``sum * ratio + bias``, rounded and clamped.

    Args:
        config: the tiles.
        ratio: output steps to one step of the sum; one number for all columns, or one for each; above 0.
        bias: in output steps, likewise.

    Raises:
        ConfigurationError: a value is not finite, or leads to a scale that the hardware does not implement.
    """
    ratios, biases = by_column(config, "scale.ratio", ratio), by_column(config, "scale.bias", bias)
    for column, each in enumerate(ratios):
        require(each > 0, f"scale.ratio[{column}]", each, "above 0")
    chosen = [choose_multiplier(each, f"scale.column[{column}]") for column, each in enumerate(ratios)]
    return Scale(
        bias=tuple(round(added / each) for added, each in zip(biases, ratios, strict=True)),
        multiplier=tuple(multiplier for multiplier, _ in chosen),
        shift=tuple(shift for _, shift in chosen),
    )


def by_column(config: CrossbarConfig, field: str, values: Numbers) -> list[float]:
    """One float per column, from one for all or one for each."""
    listed = torch.as_tensor(values, dtype=torch.float64).tolist()
    numbers = [listed] * config.outputs if isinstance(listed, float) else listed
    require(len(numbers) == config.outputs, field, f"{len(numbers)} values", f"one value or {config.outputs}")
    for column, number in enumerate(numbers):
        require(isinstance(number, float) and math.isfinite(number), f"{field}[{column}]", number, "a finite number")
    return numbers
