"""Blocks as an engine's memory holds them: addresses and words, in the order in which they may be written."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from quietbar.contract.block import WINDOW
from quietbar.contract.descriptor import Descriptor, beats_of, groups_of
from quietbar.contract.engine import (
    SCALE_SECTIONS,
    SHIFT_PLACE,
    WEIGHT_SECTIONS,
    WEIGHTS_PER_WORD,
    EngineConfig,
    Section,
)
from quietbar.contract.errors import ConfigurationError, require, require_integer
from quietbar.contract.requantize import MULTIPLIER_LOW, SHIFT_HIGH

from .parameters import BlockParameters, StageParameters

Write = tuple[int, int]
"""A word address and the word, unsigned."""


def block_writes(
    engine: EngineConfig, descriptor: Descriptor, parameters: BlockParameters, number: int
) -> Iterator[Write]:
    """Everything that makes block ``number`` ready to run, its descriptor last.

    Raises:
        ConfigurationError: the descriptor does not fit the engine, or is another block's.
    """
    config = parameters.config
    require_integer("engine.block", number, 0, engine.blocks - 1)
    require(descriptor.block == config, f"{parameters.name}.config", config, f"{descriptor.block}")
    descriptor.check(engine, parameters.name)
    for name, stage in parameters.stages.items():
        weights = weight_rows(engine, descriptor, name, stage)
        first = descriptor.window if name == "spatial" else descriptor.matrix
        yield from _rows(engine, WEIGHT_SECTIONS[name], first, _weight_words(weights))
        first = descriptor.hidden if name in ("reduce", "spatial") else descriptor.channel
        yield from _rows(engine, SCALE_SECTIONS[name], first, _scale_words(engine, descriptor, name, stage))
    yield from descriptor_writes(engine, descriptor, number)


def descriptor_writes(engine: EngineConfig, descriptor: Descriptor, number: int) -> Iterator[Write]:
    """The descriptor of block ``number``; its last word makes the block known."""
    for word, value in enumerate(descriptor.words(engine)):
        yield engine.address(Section.DESCRIPTORS, number, word), value


def seed_writes(engine: EngineConfig, seed: int, start_sample: int = 0) -> Iterator[Write]:
    """The words after which the next sampling frame begins with sample ``start_sample`` of ``seed``.

    Raises:
        ConfigurationError: the engine has no Gaussian source, or ``start_sample`` is odd and its samples come in pairs.
    """
    source = engine.gaussian
    if source is None:
        raise ConfigurationError("engine.noise", engine.noise, "True: this engine has no Gaussian source to seed")
    for word, value in enumerate(source.seed_frame(seed, start_sample)[1:]):
        yield engine.address(Section.SEED, 0, word), value


def weight_rows(engine: EngineConfig, descriptor: Descriptor, name: str, stage: StageParameters) -> NDArray[np.int8]:
    """The weights of a stage by row of the engine's memory, int8 [rows, weights of a row]."""
    block = descriptor.block
    channels = beats_of(engine, block) * engine.lanes
    hidden = groups_of(engine, block) * engine.group
    weights = stage.weights.numpy()
    if name == "spatial" and block.kernel == "depthwise":
        padded = _padded(weights, (hidden, WINDOW)).reshape(-1, engine.group * WINDOW)
        return _padded(padded, (len(padded), engine.multipliers_of("spatial")))
    if name == "spatial":
        by_place = weights.reshape(block.hidden, WINDOW, block.hidden)
        padded = _padded(by_place, (hidden, WINDOW, hidden))
        split = padded.reshape(-1, engine.outputs, WINDOW, hidden // engine.group, engine.group)
        return np.ascontiguousarray(split.transpose(0, 3, 1, 4, 2)).reshape(-1, engine.multipliers_of("spatial"))
    outputs, inputs = (engine.group, engine.lanes) if name == "reduce" else (engine.lanes, engine.group)
    shape = (hidden, channels) if name == "reduce" else (channels, hidden)
    split = _padded(weights, shape).reshape(shape[0] // outputs, outputs, shape[1] // inputs, inputs)
    return np.ascontiguousarray(split.transpose(0, 2, 1, 3)).reshape(-1, outputs * inputs)


def _padded(values: NDArray[np.int8], shape: tuple[int, ...]) -> NDArray[np.int8]:
    return np.pad(values, [(0, wanted - given) for wanted, given in zip(shape, values.shape, strict=True)])


def _weight_words(rows: NDArray[np.int8]) -> NDArray[np.uint32]:
    short = -rows.shape[1] % WEIGHTS_PER_WORD
    return np.ascontiguousarray(np.pad(rows, ((0, 0), (0, short)))).view("<u4")


def _scale_words(engine: EngineConfig, descriptor: Descriptor, name: str, stage: StageParameters) -> NDArray[np.uint32]:
    """Biases, multipliers and shifts by row, uint32; channels that only fill up have requantisers that give 0."""
    if name in ("reduce", "spatial"):
        unit, rows = engine.group, groups_of(engine, descriptor.block)
    else:
        unit, rows = engine.lanes, beats_of(engine, descriptor.block)
    words = np.zeros((rows * unit, 2), dtype=np.uint32)
    words[:, 1] = MULTIPLIER_LOW | SHIFT_HIGH << SHIFT_PLACE
    outputs = len(stage.bias)
    words[:outputs, 0] = stage.bias.numpy().view(np.uint32)
    words[:outputs, 1] = (stage.multiplier | stage.shift << SHIFT_PLACE).numpy().view(np.uint32)
    return words.reshape(rows, 2 * unit)


def _rows(engine: EngineConfig, section: Section, first: int, rows: NDArray[np.uint32]) -> Iterator[Write]:
    for row, words in enumerate(rows.tolist(), start=first):
        for word, value in enumerate(words):
            yield engine.address(section, row, word), value
