"""The analog crossbar tile in integers, vectorised: programming, conversion, and the frames that set up the hardware.

Equal, integer for integer, to the specification in `quietbar.contract.crossbar` and to the tile in RTL::

    g_plus, g_minus = program(config, weights, seed)
    codes = convert(config, g_plus, g_minus, converter, x, seed=another_seed)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from quietbar.contract.crossbar import CONDUCTANCE, LEVEL_FRACTION_BITS, PROGRAMMING, READ_SIGMA, CrossbarConfig
from quietbar.contract.errors import require, require_integer
from quietbar.contract.gaussian import SAMPLE_FRACTION_BITS, SIGMA_FRACTION_BITS
from quietbar.contract.number import BIAS, WEIGHT_LIMIT
from quietbar.contract.requantize import check_requantizer, choose_multiplier
from quietbar.contract.stream import FrameKind, to_words

from .arithmetic import check_range, requantize, round_shift
from .box_muller import gaussian

if TYPE_CHECKING:
    from quietbar.noise import Chip

PROGRAMMING_SHIFT = SIGMA_FRACTION_BITS + SAMPLE_FRACTION_BITS - LEVEL_FRACTION_BITS


@dataclass(frozen=True)
class Converter:
    """The analog-to-digital converters of a tile: ``code = requantize(current + offset, gain, shift)``, by column.

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
        columns = len(self.offset)
        for field in ("gain", "shift"):
            count = len(getattr(self, field))
            require(count == columns, f"converter.{field}", f"{count} values", f"{columns} values, as many as offsets")
        for column, (offset, gain, shift) in enumerate(zip(self.offset, self.gain, self.shift, strict=True)):
            require_integer(f"converter.column[{column}].offset", offset, BIAS.low, BIAS.high)
            check_requantizer(gain, shift, f"converter.column[{column}]")
        require_integer("converter.read_sigma", self.read_sigma, READ_SIGMA.low, READ_SIGMA.high)

    @property
    def columns(self) -> int:
        """Number of columns."""
        return len(self.offset)


def program(config: CrossbarConfig, weights: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
    """The conductances that weights come to: ``(g_plus, g_minus)``, int64 (rows, columns), in sixteenths of a level.

    Args:
        config: the tile.
        weights: integers (rows, columns) from -127 to 127.
        seed: of the programming noise; unused where ``config.noisy_programming`` is False.

    Raises:
        ConfigurationError: ``weights`` has another shape, is not of integers, or leaves the range.
    """
    weights = _integers("crossbar.weights", weights, (config.rows, config.columns), -WEIGHT_LIMIT, WEIGHT_LIMIT)
    levels = torch.stack((weights.clamp(min=0), (-weights).clamp(min=0)), dim=-1)
    conductances = levels << LEVEL_FRACTION_BITS
    if config.noisy_programming:
        sample = gaussian(seed, levels.numel()).long().reshape(levels.shape)
        conductances += round_shift(torch.tensor(PROGRAMMING)[levels] * sample, PROGRAMMING_SHIFT)
    plus, minus = conductances.clamp(CONDUCTANCE.low, CONDUCTANCE.high).unbind(-1)
    return plus.contiguous(), minus.contiguous()


def convert(
    config: CrossbarConfig,
    g_plus: Tensor,
    g_minus: Tensor,
    converter: Converter,
    x: Tensor,
    seed: int = 0,
    start: int = 0,
) -> Tensor:
    """The ADC codes of input vectors, int64 (..., columns).

    Args:
        config: the tile.
        g_plus: conductances (rows, columns), 0 to 4095.
        g_minus: likewise.
        converter: offsets, gains, shifts and read noise.
        x: DAC codes (..., rows), the vectors in stream order.
        seed: of the read noise.
        start: samples of ``seed`` drawn before, i.e. columns times vectors converted since it was set.

    Raises:
        ConfigurationError: a shape, type or range is not as above; the argument is named.
    """
    shape = (config.rows, config.columns)
    g_plus = _integers("crossbar.g_plus", g_plus, shape, CONDUCTANCE.low, CONDUCTANCE.high)
    g_minus = _integers("crossbar.g_minus", g_minus, shape, CONDUCTANCE.low, CONDUCTANCE.high)
    require(converter.columns == config.columns, "converter.columns", converter.columns, f"{config.columns}")
    require(x.dim() >= 1, "crossbar.x", tuple(x.shape), f"of shape (..., {config.rows})")
    x = _integers("crossbar.x", x, (*x.shape[:-1], config.rows), config.source.low, config.source.high)
    require_integer("crossbar.start", start, 0, 1 << 62)

    # Exact in floating point: every partial sum is an integer far below 2**53.
    current = (x.double() @ (g_plus - g_minus).double()).long()
    if converter.read_sigma and current.numel():
        sample = gaussian(seed, current.numel(), start).long().reshape(current.shape)
        current += round_shift(converter.read_sigma * sample, SAMPLE_FRACTION_BITS)
    return requantize(
        current + torch.tensor(converter.offset),
        torch.tensor(converter.gain),
        torch.tensor(converter.shift),
        config.target.low,
        config.target.high,
    )


def program_frame(config: CrossbarConfig, weights: Tensor) -> list[int]:
    """The configuration frame that programs a tile, as unsigned 32-bit words."""
    weights = _integers("crossbar.weights", weights, (config.rows, config.columns), -WEIGHT_LIMIT, WEIGHT_LIMIT)
    return to_words([FrameKind.PROGRAM, *weights.flatten().tolist()])


def converter_frame(config: CrossbarConfig, converter: Converter) -> list[int]:
    """The configuration frame that loads a tile's converters, as unsigned 32-bit words."""
    require(converter.columns == config.columns, "converter.columns", converter.columns, f"{config.columns}")
    values = (*converter.offset, *converter.gain, *converter.shift, converter.read_sigma)
    return to_words([FrameKind.CONVERTER, *values])


def design_converter(
    config: CrossbarConfig,
    full_scale: float | Sequence[float] | Tensor,
    gain: float | Sequence[float] | Tensor = 1.0,
    offset: float | Sequence[float] | Tensor = 0.0,
    read_noise: float = 0.0,
) -> Converter:
    """The converters whose code is ``(gain * (current + noise) + offset) / full_scale * highest code``, rounded.

    Each argument but the last is one number for all columns, or one for each.

    Args:
        config: the tile.
        full_scale: current, in units of x_i * G_ij, that the highest code stands for. Calibrated, e.g. a high quantile
            of the currents that training images cause.
        gain: what process variation made of the nominal 1.
        offset: what process variation adds, in units of the current.
        read_noise: deviation of the read noise, in units of the current.

    Raises:
        ConfigurationError: a value is not finite, or leads to a converter that the hardware does not implement.
    """
    scales = _by_column(config, "converter.full_scale", full_scale)
    gains = _by_column(config, "converter.gain", gain)
    offsets = _by_column(config, "converter.offset", offset)
    for column, (scale, factor) in enumerate(zip(scales, gains, strict=True)):
        require(scale > 0, f"converter.full_scale[{column}]", scale, "above 0")
        require(factor > 0, f"converter.gain[{column}]", factor, "above 0")
    require(math.isfinite(read_noise) and read_noise >= 0, "converter.read_noise", read_noise, "finite and at least 0")
    ratios = [factor * config.target.high / scale for scale, factor in zip(scales, gains, strict=True)]
    chosen = [choose_multiplier(ratio, f"converter.column[{column}]") for column, ratio in enumerate(ratios)]
    return Converter(
        offset=tuple(round(added / factor) for added, factor in zip(offsets, gains, strict=True)),
        gain=tuple(multiplier for multiplier, _ in chosen),
        shift=tuple(shift for _, shift in chosen),
        read_sigma=round(read_noise),
    )


def converter_for_chip(
    config: CrossbarConfig, chip: Chip, layer: str, full_scale: float | Sequence[float] | Tensor, reference: float
) -> Converter:
    """The converters of a chip's layer: the same draws, and by :class:`quietbar.noise.Variation` the same variation.

    The read noise of the tile comes before the gain, so a column's gain error scales its noise too; drift is uniform
    and belongs to the gain.

    Args:
        config: the tile.
        chip: gives the gain and offset error of every column, the drift, and the read noise.
        layer: name of the layer in the model, whose draws are taken.
        full_scale: as of :func:`design_converter`.
        reference: the layer's calibrated scale, in units of the current.

    Raises:
        ConfigurationError: as :func:`design_converter`.
    """
    variation = chip.variation
    gain = (1 + variation.gain_mismatch * chip.static_draws(layer, "gain", config.columns)) * variation.drift
    offset = reference * variation.offset_mismatch * chip.static_draws(layer, "offset", config.columns)
    # Drift shrinks the current, and its noise with it; the variation's noise does not shrink.
    noise = reference * variation.sigma / variation.drift
    return design_converter(config, full_scale, gain.tolist(), offset.tolist(), noise)


def _by_column(config: CrossbarConfig, field: str, values: float | Sequence[float] | Tensor) -> list[float]:
    """One float per column, from one for all or one for each."""
    listed = torch.as_tensor(values, dtype=torch.float64).tolist()
    numbers = [listed] * config.columns if isinstance(listed, float) else listed
    require(len(numbers) == config.columns, field, f"{len(numbers)} values", f"one value or {config.columns}")
    for column, number in enumerate(numbers):
        require(isinstance(number, float) and math.isfinite(number), f"{field}[{column}]", number, "a finite number")
    return numbers


def _integers(field: str, values: Tensor, shape: tuple[int, ...], low: int, high: int) -> Tensor:
    """``values`` as int64, refused unless integers of this shape in [low, high]."""
    require(isinstance(values, Tensor), field, type(values).__name__, "a tensor of integers")
    require(tuple(values.shape) == shape, field, tuple(values.shape), f"of shape {shape}")
    check_range(field, values, low, high, axis="element")
    return values.long()
