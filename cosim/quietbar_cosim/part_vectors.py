"""Vectors of single parts: what goes into requantizer, line buffer and 3x3 core, and what the references make of it."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from numpy.typing import NDArray

from quietbar.contract import UINT8, BlockConfig, IntegerFormat
from quietbar.contract.block import HIDDEN
from quietbar.contract.requantize import MULTIPLIER_BITS, MULTIPLIER_HIGH, MULTIPLIER_LOW, SHIFT_HIGH, SHIFT_LOW
from quietbar.contract.stream import FrameKind, to_words
from quietbar.integer import BlockParameters
from quietbar.integer.arithmetic import requantize
from quietbar.integer.convolution import run_stage
from quietbar_hw.conv.folding import StageFolding

from .parts import core_lanes
from .vectors import Vectors, pack


def requantizer_vectors(
    accumulator: IntegerFormat, target: IntegerFormat, count: int, seed: int, prefix: str = ""
) -> Vectors:
    """Every extreme of the operands with every other, products that barely reach a bit, and ``count`` operands near the
    edges of the clamp.

    The former have one high bit apart from the sign, far from the low ones: lost, it leaves a product of another size.
    """
    extremes = (accumulator.low, accumulator.low + 1, -1, 0, 1, accumulator.high - 1, accumulator.high)
    multipliers = (MULTIPLIER_LOW, MULTIPLIER_LOW + 1, MULTIPLIER_HIGH)
    corners = np.array(list(itertools.product(extremes, multipliers, range(SHIFT_LOW, SHIFT_HIGH + 1))))
    scales = [MULTIPLIER_LOW] * (accumulator.bits - 1) + [MULTIPLIER_HIGH]
    reached = [(1 << bit, scale) for bit, scale in enumerate(scales, MULTIPLIER_BITS - 1)]
    reaching = [(each, scale) for power, scale in reached for each in (-(-power // scale), -(power // scale) - 1)]
    lone = np.array([(*each, shift) for each in reaching for shift in range(SHIFT_LOW, SHIFT_HIGH + 1, 4)])
    generator = np.random.default_rng(seed)
    multiplier = generator.integers(MULTIPLIER_LOW, MULTIPLIER_HIGH, count, endpoint=True)
    shift = generator.integers(SHIFT_LOW, SHIFT_HIGH, count, endpoint=True)
    aim = generator.integers(2 * target.low - 4, 2 * target.high + 4, count, endpoint=True)
    near = np.ldexp(aim / multiplier, shift - 1).clip(accumulator.low, accumulator.high).astype(np.int64)
    operands = np.concatenate([corners, lone, np.stack([near, multiplier, shift], axis=1)])
    values, factors, shifts = operands.T
    tensors = [torch.from_numpy(each) for each in operands.T.copy()]
    expected = requantize(tensors[0], tensors[1], tensors[2], target.low, target.high).numpy()
    word = (values & (1 << accumulator.bits) - 1) | factors << accumulator.bits
    word |= shifts << accumulator.bits + MULTIPLIER_BITS
    return Vectors(
        configuration=(),
        inputs=pack(word[:, None], 48),
        frame_beats=1,
        expected=pack(expected[:, None], target.bits),
        output_frame_beats=0,
        lanes=1,
        element=target,
        axes=(("operand", len(operands)),),
        prefix=prefix,
    )


def resize_vectors(beats: int, before: int, after: int, seed: int) -> Vectors:
    """Random bytes, ``before`` to a beat, which come out ``after`` to a beat."""
    data = np.random.default_rng(seed).integers(0, 256, beats * before).astype(np.uint8)
    return Vectors(
        configuration=(),
        inputs=data.reshape(-1, before),
        frame_beats=1,
        expected=data.reshape(-1, after),
        output_frame_beats=0,
        lanes=after,
        element=UINT8,
        axes=(("byte", data.size),),
    )


def window_vectors(frames: NDArray[np.uint8], group: int, prefix: str = "") -> Vectors:
    """Frames [N, C, H, W] in, ``group`` channels a beat; each pixel's 3x3 window out, zero outside the frame."""
    count, channels, height, width = frames.shape
    padded = np.pad(frames, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    # Frame, row, column and group of channels; then the nine places of the window, each with the group's channels.
    grouped = windows.reshape(count, channels // group, group, height, width, 9).transpose(0, 3, 4, 1, 5, 2)
    return Vectors(
        configuration=(),
        inputs=np.ascontiguousarray(frames.transpose(0, 2, 3, 1)).reshape(-1, group),
        frame_beats=height * width * channels // group,
        expected=np.ascontiguousarray(grouped).reshape(-1, 9 * group),
        output_frame_beats=0,
        lanes=9 * group,
        element=HIDDEN,
        axes=(("frame", count), ("row", height), ("column", width), ("group", channels // group), ("place", 9 * group)),
        prefix=prefix,
    )


def core_vectors(
    config: BlockConfig, folding: StageFolding, parameters: BlockParameters, frames: NDArray[np.uint8], prefix: str = ""
) -> Vectors:
    """Hidden activations [N, C, H, W] in, those of the 3x3 stage out."""
    lanes, output_lanes = core_lanes(config, folding)
    stage, integers = config.stage("spatial"), parameters.stages["spatial"]
    expected = run_stage(stage, integers, torch.from_numpy(frames).double()).numpy().astype(np.uint8)
    values = [value for tensor in integers.to_dict().values() for value in tensor.flatten().tolist()]
    axes = ("frame", len(frames)), ("row", config.height), ("column", config.width), ("channel", config.hidden)
    return Vectors(
        configuration=((FrameKind.PARAMETERS, *to_words(values)),),
        inputs=np.ascontiguousarray(frames.transpose(0, 2, 3, 1)).reshape(-1, lanes),
        frame_beats=config.pixels * config.hidden // lanes,
        expected=np.ascontiguousarray(expected.transpose(0, 2, 3, 1)).reshape(-1, output_lanes),
        output_frame_beats=0,
        lanes=output_lanes,
        element=HIDDEN,
        axes=axes,
        prefix=prefix,
    )
