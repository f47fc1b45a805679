"""The stages of a block on whole batches: literally in int64, and fast in floating point that never rounds."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from quietbar.contract.block import WINDOW, Stage
from quietbar.contract.errors import QuietbarError

from .arithmetic import requantize
from .parameters import StageParameters

SIDE = int(WINDOW**0.5)
FLOAT32_EXACT = 1 << 24
"""Integers up to here are exact in float32."""


class AccumulatorError(QuietbarError):
    """An accumulator left the format that the contract proves for it: one of the two is wrong."""


def accumulate(stage: Stage, parameters: StageParameters, source: Tensor) -> Tensor:
    """Weighted sums plus bias, int64 [N, outputs, H, W], of int64 [N, channels, H, W], term by term in int64.

    Raises:
        AccumulatorError: a sum is outside ``stage.accumulator``.
    """
    rows, columns = source.shape[2:]
    windows, weights = [source], parameters.weights.long()[:, None]
    if stage.name == "spatial":
        padded = pad(source, (1, 1, 1, 1))
        windows = [padded[:, :, y : y + rows, x : x + columns] for y in range(SIDE) for x in range(SIDE)]
        weights = weights.reshape(stage.outputs, WINDOW, -1)
    found = parameters.bias.long()[:, None, None].expand(len(source), -1, rows, columns).clone()
    for place, window in enumerate(windows):
        if stage.shared_input:
            found += torch.einsum("oc,nchw->nohw", weights[:, place], window)
        else:
            found += weights[:, place, :, None] * window
    low, high = (int(bound) for bound in torch.aminmax(found)) if found.numel() else (0, 0)
    if not (stage.accumulator.low <= low and high <= stage.accumulator.high):
        raise AccumulatorError(f"an accumulator of stage {stage.name} left {stage.accumulator}: {low} to {high}")
    return found


def requantize_stage(stage: Stage, parameters: StageParameters, accumulators: Tensor, where: str) -> Tensor:
    """The stage's outputs, int64 [N, outputs, H, W], of its accumulators."""
    multiplier, shift = parameters.multiplier[:, None, None], parameters.shift[:, None, None]
    return requantize(accumulators, multiplier, shift, stage.target.low, stage.target.high, where)


def run_stage(stage: Stage, parameters: StageParameters, source: Tensor) -> Tensor:
    """The stage's outputs, integers in float64 [N, outputs, H, W], of integers in float64 [N, channels, H, W].

    Equal to :func:`accumulate` and :func:`requantize_stage`: requantisation is linear up to its ``floor``, so it goes
    into the weights. ``acc * multiplier + 2**(shift-1)`` is an integer below 2**48, scaled by a power of two: every
    product and partial sum is exact in float64, whatever the order of summation.
    """
    scale, bias = parameters.scale[:, None, None], parameters.scaled_bias[:, None, None]
    if stage.name != "spatial":
        matrix = parameters.weights * parameters.scale[:, None]
        found = (matrix @ source.flatten(2)).view(-1, stage.outputs, *source.shape[2:])
    else:
        exact = torch.float32 if parameters.magnitude(stage) <= FLOAT32_EXACT else torch.float64
        kernel = parameters.weights.to(exact).reshape(stage.outputs, SIDE, SIDE, -1).permute(0, 3, 1, 2)
        groups = 1 if stage.shared_input else stage.outputs
        # NNPACK's Winograd transform would round; the other algorithms only multiply and add.
        with torch.backends.nnpack.flags(enabled=False):
            sums = conv2d(source.to(exact), kernel, padding=SIDE // 2, groups=groups)
        found = sums.double().mul_(scale)
    return found.add_(bias).floor_().clamp_(stage.target.low, stage.target.high)
