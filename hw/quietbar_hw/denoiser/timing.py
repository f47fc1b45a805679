"""The cycle model of a block: when each beat leaves if no stream ever stalls.

The model follows the beats through the parts of the block. A part turns the times at which its input transfers are
there into the times at which its outputs are; a transfer happens when it is there and the one before it is over. Queues
are taken to be deep enough, as the block's are: a test holds the RTL to the model, to the cycle.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quietbar.contract import BlockConfig, Stage

from ..conv.folding import StageFolding
from ..conv.line_buffer import LineBuffer
from ..conv.matrix_vector import product_latency
from ..conv.replay import Replay
from ..stream import Queue
from .folding import Folding
from .subtract import subtract_latency

Times = NDArray[np.int64]
"""Cycles, one for each transfer of a stream."""

SETTLED_FRAMES = 3
"""Frames after which the distance between frames no longer changes."""


@dataclass(frozen=True)
class Cycles:
    """Cycles from the first beat into an idle block to the last beat out of it, both included.

    Attributes:
        first_frame: for the first frame.
        per_frame: for each frame more, back to back.
    """

    first_frame: int
    per_frame: int

    def total(self, frames: int) -> int:
        """Cycles for so many frames back to back."""
        return self.first_frame + (frames - 1) * self.per_frame


def cycles(config: BlockConfig, folding: Folding) -> Cycles:
    """The cycles of a block, to the cycle, as long as no stream stalls."""
    times = output_times(config, folding, SETTLED_FRAMES + 1)
    ends = times.reshape(SETTLED_FRAMES + 1, -1)[:, -1]
    return Cycles(int(ends[0]) + 1, int(ends[-1] - ends[-2]))


def output_times(config: BlockConfig, folding: Folding, frames: int, offered: Times | None = None) -> Times:
    """The cycle in which each beat of ``frames`` frames leaves, the first beat coming in cycle 0.

    ``offered`` are the cycles in which the input beats are there; by default one comes every cycle.
    """
    beats = frames * config.pixels * folding.beats_per_pixel(config)
    times = np.arange(beats) if offered is None else offered
    return _in_turn(_joined(config, folding, times, frames) + subtract_latency(config))


def skip_depth(config: BlockConfig, folding: Folding) -> int:
    """Beats that wait for their noise at full speed, and a few more."""
    beats_per_pixel = folding.beats_per_pixel(config)
    beats = (SETTLED_FRAMES + 1) * config.pixels * beats_per_pixel
    offered = np.arange(beats) * folding.cycles_per_pixel(config) // beats_per_pixel
    joined = _joined(config, folding, offered, SETTLED_FRAMES + 1)
    gone = np.searchsorted(joined, offered, side="left")
    return int((np.arange(1, beats + 1) - gone).max()) + 2 * beats_per_pixel + 2 * Queue.LATENCY + 2


def _joined(config: BlockConfig, folding: Folding, offered: Times, frames: int) -> Times:
    """When the noise of each beat is there and the beat is subtracted from."""
    reduce, spatial, mean = config.stages[:3]
    group = folding.group(config)
    times = _resized(offered, folding.lanes, folding.reduce.simd)
    times = _computed(times, reduce, folding.reduce)
    times = _resized(times, folding.reduce.requantizers(reduce), group)
    times = _windowed(times, config, config.hidden // group, frames)
    window = spatial.inputs if spatial.shared_input else spatial.inputs * folding.spatial.pe
    taken = folding.spatial.simd if spatial.shared_input else folding.spatial.simd * folding.spatial.pe
    times = _resized(times, window, taken)
    times = _computed(times, spatial, folding.spatial)
    times = _resized(times, folding.spatial.requantizers(spatial), folding.head.simd)
    times = _computed(times, mean, folding.head)
    return _in_turn(_resized(times, folding.head.requantizers(mean), folding.lanes))


def _in_turn(times: Times) -> Times:
    """Transfers one at a time: each when it is there and the one before is over."""
    place = np.arange(len(times))
    return np.maximum.accumulate(times - place) + place


def _resized(times: Times, before: int, after: int) -> Times:
    """Narrowed, a group leaves part by part; widened, it is there with its last part."""
    if before >= after:
        return _in_turn(np.repeat(times, before // after))
    return _in_turn(times).reshape(-1, after // before)[:, -1]


def _computed(times: Times, stage: Stage, folding: StageFolding) -> Times:
    """When the outputs of a matrix-vector unit are there."""
    folds = folding.input_folds(stage)
    times = _in_turn(times)
    if folding.replayed(stage):
        whole = times.reshape(-1, folds)[:, -1] + Replay.LATENCY
        times = _in_turn(np.repeat(whole, folding.cycles(stage)))
    finished = times.reshape(-1, folds)[:, -1]
    burst = np.arange(folding.pe // folding.requantizers(stage))
    return (finished[:, np.newaxis] + product_latency(folding.simd) + burst).ravel()


def _windowed(times: Times, config: BlockConfig, groups: int, frames: int) -> Times:
    """When the windows of the line buffer are there: those of a pixel leave while the column after it is read."""
    width, pixels = config.width, config.pixels
    written = _in_turn(times).reshape(-1, groups)[:, -1]
    # A column is read when the pixel below it has been written; in the last row, when its own has.
    pixel = np.arange(frames * pixels)
    last_row = pixel % pixels >= pixels - width
    readable = written[np.where(last_row, pixel, np.minimum(pixel + width, len(pixel) - 1))] + 1

    leaving, free = [], 0
    for frame in range(frames):
        own = readable[frame * pixels :][:pixels].copy()
        own[0] = max(own[0], free)
        step = np.arange(pixels) * groups
        start = np.maximum.accumulate(own - step) + step
        ended = start[-1] + groups
        # The last window leaves with the first column of the next frame, or with a blank one if that is not there.
        free = ended
        if frame + 1 == frames or readable[(frame + 1) * pixels] > ended:
            free += groups
        leaving.append(np.append(start[1:], ended))
    first = np.concatenate(leaving) + LineBuffer.LATENCY - 1
    return (first[:, np.newaxis] + np.arange(groups)).ravel()
