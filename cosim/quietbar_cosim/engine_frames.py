"""Single frames of an engine: whole or spoilt, what is sent, and what has to come of it."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from quietbar.contract import BlockConfig
from quietbar.contract.engine import EngineConfig, EngineError
from quietbar.integer import BlockParameters, run_block
from quietbar.integer.arithmetic import round_shift

from .engines import Beat, beats_of_frame
from .vectors import Beats


@dataclass(frozen=True)
class Spoil:
    """How a frame is spoilt.

    Attributes:
        kind: ``short``, ``long``, ``changed``, ``short and changed``, ``unknown``.
        place: where in the frame, from 0 to 1.
        other: the ``tid`` that is wrong.
        extra: beats too many.
    """

    kind: str
    place: float
    other: int
    extra: int


@dataclass
class Outcome:
    """What is sent for a frame, and what has to come of it.

    Attributes:
        sent, came: beats.
        errors, culprit: that are raised, and the ``tid`` that they are about.
        counts: what counters count, by name.
        sample: of the source that comes next; None while there is no seed.
        notes: what it exercises, for the coverage.
    """

    sent: list[Beat]
    came: list[Beat]
    errors: EngineError
    culprit: int
    counts: dict[str, int]
    sample: int | None
    notes: list[tuple[str, str]] = field(default_factory=list)


def run_frame(
    engine: EngineConfig,
    blocks: Sequence[BlockConfig],
    known: Mapping[int, BlockParameters],
    number: int,
    frame: Tensor,
    spoil: Spoil | None,
    seed: int,
    sample: int | None,
) -> Outcome:
    """Send a frame [C, H, W] of block ``number`` to an engine that knows these blocks and has this seed."""
    block = blocks[number]
    source = random.Random(frame.numpy().tobytes())
    data = beats_of_frame(frame, block, engine, [source.randrange(256) for _ in range(block.pixels)])
    count = len(data)
    sent = [Beat(int.from_bytes(beat.tobytes(), "little"), at == count - 1, number) for at, beat in enumerate(data)]
    kind = "whole" if spoil is None else spoil.kind
    errors, received = EngineError(0), data
    if spoil is not None and kind == "unknown" and spoil.other not in known and spoil.other != number:
        number = spoil.other
        sent = [Beat(beat.data, beat.last, number) for beat in sent]
    if spoil is not None and "changed" in kind and count > 1 and spoil.other != number:
        at = 1 + int(spoil.place * (count - 1))
        if kind == "short and changed":
            at = 1
        sent[at] = Beat(sent[at].data, sent[at].last, spoil.other)
        errors |= EngineError.BLOCK_CHANGED
    if spoil is not None and "short" in kind and count > (2 if "changed" in kind else 1):
        first = 1 if "changed" in kind else 0
        end = first + int(spoil.place * (count - 1 - first))
        sent = [*sent[:end], Beat(sent[end].data, True, sent[end].block)]
        received = data.copy()
        received[end + 1 :] = 0
        errors |= EngineError.FRAME_SHORT
    if spoil is not None and kind == "long":
        sent[-1] = Beat(sent[-1].data, False, number)
        sent += [Beat(7 * at, at == spoil.extra - 1, spoil.other) for at in range(spoil.extra)]
        errors |= EngineError.FRAME_LONG

    if number not in known:
        return _dropped(sent, EngineError.BLOCK_UNKNOWN, number, sample)
    if block.mode == "sampling" and sample is None:
        return _dropped(sent, EngineError.NOT_SEEDED, number, sample)
    came, counts, notes = _denoised(engine, known[number], received, seed, sample or 0)
    bad = bool(errors)
    counts["bad_frames" if bad else "frames"] = 1
    notes += [("error cause", str(error.name)) for error in errors]
    following = sample
    if block.mode == "sampling" and sample is not None:
        following = sample + block.pixels * block.channels
    leaving = [
        Beat(int.from_bytes(beat.tobytes(), "little"), at == count - 1, number, bad and at == count - 1)
        for at, beat in enumerate(came)
    ]
    return Outcome(sent, leaving, errors, number, counts, following, notes)


def _dropped(sent: list[Beat], error: EngineError, number: int, sample: int | None) -> Outcome:
    return Outcome(sent, [], error, number, {"dropped_frames": 1}, sample, [("error cause", str(error.name))])


def _denoised(
    engine: EngineConfig, parameters: BlockParameters, received: Beats, seed: int, sample: int
) -> tuple[Beats, dict[str, int], list[tuple[str, str]]]:
    """Beats out, saturations by counter, and notes on shifts and saturations."""
    block = parameters.config
    pixels = received.reshape(block.height, block.width, -1)
    elements = pixels[:, :, : block.channels].view(np.int8 if block.signed else np.uint8)
    frame = torch.from_numpy(np.ascontiguousarray(elements)).permute(2, 0, 1).contiguous()
    denoised, trace = run_block(
        block, parameters, frame[None], seed, trace=True, start_sample=sample, source=engine.source
    )
    came = pixels.copy()
    came[:, :, : block.channels] = denoised[0].permute(1, 2, 0).contiguous().numpy().view(np.uint8)
    counts, notes = {}, []
    for stage in block.stages:
        integers = parameters.stages[stage.name]
        scale, shift = (each.long()[:, None, None] for each in (integers.multiplier, integers.shift))
        exact = round_shift(trace.accumulators[stage.name] * scale, shift)
        above, below = int((exact > stage.target.high).sum()), int((exact < stage.target.low).sum())
        if stage.name in ("mean", "log_sigma"):
            counts[f"{stage.name}_saturations"] = above + below
        notes += _limits(stage.name, above, below)
        notes += [("shift", f"{8 * (each // 8)} to {8 * (each // 8) + 7}") for each in set(integers.shift.tolist())]
    fraction = block.fraction_bits
    exact = round_shift((frame[None].long() << fraction) - trace.noise, fraction)
    above, below = int((exact > block.activation.high).sum()), int((exact < block.activation.low).sum())
    counts["output_saturations"] = above + below
    return came.reshape(received.shape), counts, notes + _limits("output", above, below)


def _limits(name: str, above: int, below: int) -> list[tuple[str, str]]:
    return [("saturation", f"{name} {side}") for side, hits in (("high", above), ("low", below)) if hits]
