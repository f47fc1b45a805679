"""Analog crossbar tiles in integers, vectorised: programming, conversion, and the frames that set up the hardware.

Equal, integer for integer, to the specification in `quietbar.contract.crossbar` and to the tiles in RTL::

    g_plus, g_minus = program(config, weights, seed)
    codes = convert(config, g_plus, g_minus, converter, x, seed=another_seed)
"""

from __future__ import annotations

import torch
from torch import Tensor

from quietbar.contract.crossbar import CONDUCTANCE, FAULT_BITS, CrossbarConfig
from quietbar.contract.drift import TIME
from quietbar.contract.errors import require, require_integer
from quietbar.contract.gaussian import SAMPLE_FRACTION_BITS
from quietbar.contract.stream import FrameKind, to_words

from .arithmetic import requantize, round_shift
from .box_muller import gaussian
from .conductances import (
    check_faults,
    check_integers,
    check_weights,
    draw_exponents,
    draw_faults,
    drift,
    program,
    stick,
)
from .converters import Converter, Scale, converter_for_chip, design_converter, design_scale

__all__ = [
    "Converter",
    "Scale",
    "convert",
    "converter_for_chip",
    "converter_frame",
    "design_converter",
    "design_scale",
    "draw_exponents",
    "draw_faults",
    "drift",
    "exponents_frame",
    "faults_frame",
    "program",
    "program_frame",
    "scale_frame",
    "stick",
    "time_frame",
]

CHUNK = 1 << 22
"""Conversions computed at a time."""


def convert(
    config: CrossbarConfig,
    g_plus: Tensor,
    g_minus: Tensor,
    converter: Converter,
    x: Tensor,
    seed: int = 0,
    start: int = 0,
    scale: Scale | None = None,
) -> Tensor:
    """The outputs for input vectors, int64 (..., outputs): ADC codes, their sums, or those scaled.

    Args:
        config: the tiles.
        g_plus: conductances (inputs, outputs), 0 to 4095.
        g_minus: likewise.
        converter: offsets, gains, shifts and read noise.
        x: input codes (..., inputs), the vectors in stream order.
        seed: of the read noise.
        start: samples of ``seed`` drawn before, i.e. conversions of the vectors converted since it was set.
        scale: digital scale of the sums, where ``config.output`` is not ``"sums"``.

    Raises:
        ConfigurationError: a shape, type or range is not as above; the argument is named.
    """
    shape = (config.inputs, config.outputs)
    g_plus = check_integers("crossbar.g_plus", g_plus, shape, CONDUCTANCE.low, CONDUCTANCE.high)
    g_minus = check_integers("crossbar.g_minus", g_minus, shape, CONDUCTANCE.low, CONDUCTANCE.high)
    _check_converter(config, converter)
    _check_scale(config, scale)
    require(x.dim() >= 1, "crossbar.x", tuple(x.shape), f"of shape (..., {config.inputs})")
    x = check_integers("crossbar.x", x, (*x.shape[:-1], config.inputs), config.source.low, config.source.high)
    require_integer("crossbar.start", start, 0, 1 << 62)

    difference = (g_plus - g_minus).double().reshape(config.row_tiles, config.rows, config.outputs)
    vectors = x.reshape(-1, config.inputs)
    size = max(1, CHUNK // config.conversions)
    parts = [
        _sums(config, difference, converter, vectors[first : first + size], seed, start + first * config.conversions)
        for first in range(0, len(vectors), size)
    ]
    sums = torch.cat(parts) if parts else torch.zeros(0, config.outputs, dtype=torch.int64)
    if scale is not None:
        bias, multiplier, shift = (torch.tensor(each) for each in (scale.bias, scale.multiplier, scale.shift))
        sums = requantize(sums + bias, multiplier, shift, config.target.low, config.target.high)
    return sums.reshape(*x.shape[:-1], config.outputs)


def _sums(config: CrossbarConfig, difference: Tensor, converter: Converter, x: Tensor, seed: int, start: int) -> Tensor:
    """Sums of codes (vectors, outputs) of vectors (vectors, inputs)."""
    place = torch.arange(config.slices) * config.dac_bits
    slices = (x[:, None, :] >> place[:, None]) & config.dac.high
    tiles = slices.reshape(len(x), config.slices, config.row_tiles, config.rows)
    # Exact in floating point: every partial sum is an integer far below 2**53.
    current = torch.einsum("vstr,trc->vstc", tiles.double(), difference).long()
    if converter.read_sigma and current.numel():
        sample = gaussian(seed, current.numel(), start).long().reshape(current.shape)
        current += round_shift(converter.read_sigma * sample, SAMPLE_FRACTION_BITS)
    by_tile = (config.row_tiles, config.outputs)
    offset, gain, shift = (
        torch.tensor(each).reshape(by_tile) for each in (converter.offset, converter.gain, converter.shift)
    )
    codes = requantize(current + offset, gain, shift, config.adc.low, config.adc.high)
    return (codes << place[:, None, None]).sum((1, 2))


def program_frame(config: CrossbarConfig, weights: Tensor) -> list[int]:
    """The configuration frame that programs the tiles, as unsigned 32-bit words."""
    return to_words([FrameKind.PROGRAM, *check_weights(config, weights).flatten().tolist()])


def exponents_frame(config: CrossbarConfig, weights: Tensor) -> list[int]:
    """The configuration frame after which the devices that hold ``weights`` draw their exponents of drift."""
    return to_words([FrameKind.EXPONENTS, *check_weights(config, weights).flatten().tolist()])


def time_frame(time: int) -> list[int]:
    """The configuration frame that lets the devices drift to time step ``time``."""
    require_integer("crossbar.time", time, TIME.low, TIME.high)
    return [FrameKind.TIME, time]


def faults_frame(config: CrossbarConfig, faults: Tensor) -> list[int]:
    """The configuration frame of a fault map (inputs, outputs, 2)."""
    faults = check_faults(config, faults)
    return to_words([FrameKind.FAULTS, *(faults[..., 0] | faults[..., 1] << FAULT_BITS).flatten().tolist()])


def converter_frame(config: CrossbarConfig, converter: Converter) -> list[int]:
    """The configuration frame that loads the tiles' converters, as unsigned 32-bit words."""
    _check_converter(config, converter)
    values = (*converter.offset, *converter.gain, *converter.shift, converter.read_sigma)
    return to_words([FrameKind.CONVERTER, *values])


def scale_frame(config: CrossbarConfig, scale: Scale) -> list[int]:
    """The configuration frame that loads the digital scale, as unsigned 32-bit words."""
    _check_scale(config, scale)
    return to_words([FrameKind.SCALE, *scale.bias, *scale.multiplier, *scale.shift])


def _check_converter(config: CrossbarConfig, converter: Converter) -> None:
    columns = config.row_tiles * config.outputs
    require(converter.columns == columns, "converter.columns", converter.columns, f"{columns}")


def _check_scale(config: CrossbarConfig, scale: Scale | None) -> None:
    if config.output == "sums":
        require(scale is None, "crossbar.scale", "given", "None where crossbar.output is 'sums'")
    else:
        require(scale is not None, "crossbar.scale", None, f"a Scale where crossbar.output is {config.output!r}")
        assert scale is not None
        require(scale.columns == config.outputs, "scale.columns", scale.columns, f"{config.outputs}")
