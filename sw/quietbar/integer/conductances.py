"""The devices of crossbar tiles in integers, vectorised: programming, drift, faults.

Equal, integer for integer, to `quietbar.contract.crossbar` and `quietbar.contract.drift`. Everywhere a pair ``(plus,
minus)`` of int64 tensors (inputs, outputs) holds what belongs to ``G+`` and to ``G-``::

    pair = program(config, weights, seed)
    exponents = draw_exponents(config, weights, another_seed)
    g_plus, g_minus = stick(config, drift(config, pair, exponents, time), faults)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from quietbar.contract.crossbar import (
    CONDUCTANCE,
    LEVEL_FRACTION_BITS,
    PROGRAMMING,
    STUCK_AT_FULL_CONDUCTANCE,
    CrossbarConfig,
    Fault,
)
from quietbar.contract.drift import (
    DECAY,
    DECAY_FRACTION_BITS,
    EXPONENT,
    EXPONENT_MEAN,
    EXPONENT_SIGMA,
    LOSS_FRACTION_BITS,
    LOSS_SHIFT,
    TIME,
)
from quietbar.contract.errors import require, require_integer, require_number
from quietbar.contract.gaussian import SAMPLE_FRACTION_BITS, SIGMA_FRACTION_BITS
from quietbar.contract.number import WEIGHT_LIMIT

from .arithmetic import check_range, round_shift
from .box_muller import gaussian

if TYPE_CHECKING:
    from quietbar.noise import Chip

PROGRAMMING_SHIFT = SIGMA_FRACTION_BITS + SAMPLE_FRACTION_BITS - LEVEL_FRACTION_BITS

Pair = tuple[Tensor, Tensor]


def check_integers(field: str, values: Tensor, shape: tuple[int, ...], low: int, high: int) -> Tensor:
    """``values`` as int64, refused unless integers of this shape in [low, high]."""
    require(isinstance(values, Tensor), field, type(values).__name__, "a tensor of integers")
    require(tuple(values.shape) == shape, field, tuple(values.shape), f"of shape {shape}")
    check_range(field, values, low, high, axis="element")
    return values.long()


def check_weights(config: CrossbarConfig, weights: Tensor) -> Tensor:
    """The weights of all tiles as int64, refused unless (inputs, outputs) from -127 to 127."""
    shape = (config.inputs, config.outputs)
    return check_integers("crossbar.weights", weights, shape, -WEIGHT_LIMIT, WEIGHT_LIMIT)


def program(config: CrossbarConfig, weights: Tensor, seed: int = 0) -> Pair:
    """The conductances that weights come to, in sixteenths of a level.

    Args:
        config: the tiles.
        weights: integers (inputs, outputs) from -127 to 127.
        seed: of the programming noise; unused where ``config.noisy_programming`` is False.

    Raises:
        ConfigurationError: ``weights`` has another shape, is not of integers, or leaves the range.
    """
    levels = _levels(check_weights(config, weights))
    conductances = levels << LEVEL_FRACTION_BITS
    if config.noisy_programming:
        sample = gaussian(seed, levels.numel()).long().reshape(levels.shape)
        conductances += round_shift(torch.tensor(PROGRAMMING)[levels] * sample, PROGRAMMING_SHIFT)
    return _pair(conductances.clamp(CONDUCTANCE.low, CONDUCTANCE.high))


def draw_exponents(config: CrossbarConfig, weights: Tensor, seed: int = 0) -> Pair:
    """The exponents of drift of the devices that hold weights; arguments and errors as of :func:`program`."""
    levels = _levels(check_weights(config, weights))
    exponents = torch.tensor(EXPONENT_MEAN)[levels]
    if config.noisy_programming:
        sample = gaussian(seed, levels.numel()).long().reshape(levels.shape)
        exponents += round_shift(torch.tensor(EXPONENT_SIGMA)[levels] * sample, SAMPLE_FRACTION_BITS)
    return _pair(exponents.clamp(EXPONENT.low, EXPONENT.high))


def drift(config: CrossbarConfig, conductances: Pair, exponents: Pair, time: int) -> Pair:
    """What conductances come to at time step ``time`` (see :func:`quietbar.contract.drift.time_of`)."""
    require_integer("crossbar.time", time, TIME.low, TIME.high)
    shape = (config.inputs, config.outputs)
    decay = torch.tensor(DECAY)

    def drifted(conductance: Tensor, exponent: Tensor) -> Tensor:
        conductance = check_integers("crossbar.conductances", conductance, shape, CONDUCTANCE.low, CONDUCTANCE.high)
        exponent = check_integers("crossbar.exponents", exponent, shape, EXPONENT.low, EXPONENT.high)
        loss = round_shift(exponent * time, LOSS_SHIFT)
        octaves, fraction = loss >> LOSS_FRACTION_BITS, loss & ((1 << LOSS_FRACTION_BITS) - 1)
        return round_shift(conductance * decay[fraction], DECAY_FRACTION_BITS + octaves)

    return drifted(conductances[0], exponents[0]), drifted(conductances[1], exponents[1])


def stick(config: CrossbarConfig, conductances: Pair, faults: Tensor) -> Pair:
    """Conductances with those of stuck devices in their places.

    Args:
        config: the tiles.
        conductances: of sound devices.
        faults: integers (inputs, outputs, 2) of :class:`quietbar.contract.crossbar.Fault`, of ``G+`` and of ``G-``.
    """
    faults = check_faults(config, faults)

    def stuck(conductance: Tensor, fault: Tensor) -> Tensor:
        full = torch.where(fault == Fault.STUCK_AT_FULL, STUCK_AT_FULL_CONDUCTANCE, conductance)
        return torch.where(fault == Fault.STUCK_AT_ZERO, 0, full)

    return stuck(conductances[0], faults[..., 0]), stuck(conductances[1], faults[..., 1])


def check_faults(config: CrossbarConfig, faults: Tensor) -> Tensor:
    """A fault map as int64, refused unless (inputs, outputs, 2) of the values of ``Fault``."""
    return check_integers("crossbar.faults", faults, (config.inputs, config.outputs, 2), Fault.NONE, max(Fault))


def draw_faults(config: CrossbarConfig, chip: Chip, layer: str, at_zero: float, at_full: float) -> Tensor:
    """The fault map of a chip's layer, int64 (inputs, outputs, 2): that of :meth:`quietbar.noise.Chip.faults`.

    Args:
        config: the tiles.
        chip: whose draws are taken.
        layer: name of the layer in the model.
        at_zero, at_full: share of the devices that are stuck, 0 to 1 together.

    Raises:
        ConfigurationError: a share is outside its range.
    """
    for field, share in (("at_zero", at_zero), ("at_full", at_full)):
        require_number(f"faults.{field}", share, 0.0, 1.0)
    require(at_zero + at_full <= 1, "faults.at_full", at_full, f"at most {1 - at_zero:g}, what at_zero leaves")
    faults = torch.from_numpy(chip.faults(layer, 2 * config.weights, at_zero, at_full)).long()
    return faults.reshape(config.inputs, config.outputs, 2)


def _levels(weights: Tensor) -> Tensor:
    """Target levels (inputs, outputs, 2) of ``G+`` and ``G-``."""
    return torch.stack((weights.clamp(min=0), (-weights).clamp(min=0)), dim=-1)


def _pair(values: Tensor) -> Pair:
    plus, minus = values.unbind(-1)
    return plus.contiguous(), minus.contiguous()
