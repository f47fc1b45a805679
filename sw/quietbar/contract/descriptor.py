"""A block on an engine: how its stages fold, how much memory it takes, and the descriptor that says both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .block import BlockConfig
from .engine import EngineConfig
from .errors import require, require_integer


def beats_of(engine: EngineConfig, block: BlockConfig) -> int:
    """Beats of a pixel."""
    return -(-block.channels // engine.lanes)


def groups_of(engine: EngineConfig, block: BlockConfig) -> int:
    """Groups of hidden channels of a pixel."""
    return -(-block.hidden // engine.group)


def passes_of(engine: EngineConfig, block: BlockConfig) -> int:
    """How often the 3x3 stage goes over the groups of a pixel."""
    return 1 if block.kernel == "depthwise" else groups_of(engine, block) * engine.parts


def frame_beats_of(engine: EngineConfig, block: BlockConfig) -> int:
    """Beats of a frame."""
    return block.pixels * beats_of(engine, block)


def rows_needed(engine: EngineConfig, block: BlockConfig) -> dict[str, int]:
    """Rows that a block takes, by the descriptor's fields."""
    beats, groups = beats_of(engine, block), groups_of(engine, block)
    return {
        "matrix": beats * groups,
        "window": passes_of(engine, block) * groups,
        "hidden": groups,
        "channel": beats,
    }


def stage_cycles(engine: EngineConfig, block: BlockConfig) -> dict[str, int]:
    """Cycles a pixel of each part in steady state; the largest is the block's."""
    beats, groups = beats_of(engine, block), groups_of(engine, block)
    spatial = groups * (engine.parts if block.kernel == "depthwise" else passes_of(engine, block))
    return {
        "stream": beats,
        "reduce": groups * max(beats, engine.parts),
        "spatial": spatial,
        "heads": beats * groups,
    }


@dataclass(frozen=True)
class Descriptor:
    """A block as an engine runs it: its shape, and the first rows of its parameters.

    Attributes:
        block: shape and mode.
        matrix, window, hidden, channel: first row in the memories of as many ``..._rows``.
    """

    block: BlockConfig
    matrix: int = 0
    window: int = 0
    hidden: int = 0
    channel: int = 0

    def check(self, engine: EngineConfig, where: str = "descriptor") -> None:
        """Refuse a descriptor that asks for more than ``engine`` has; the engine itself refuses it likewise."""
        engine.check(self.block, f"{where}.block")
        needed = rows_needed(engine, self.block)
        for name, rows in needed.items():
            high = getattr(engine, f"{name}_rows") - rows
            require(high >= 0, f"{where}.{name}", rows, f"at most {high + rows} rows")
            require_integer(f"{where}.{name}", getattr(self, name), 0, high)

    def words(self, engine: EngineConfig) -> list[int]:
        """The words of the descriptor; the last one written makes it valid.

        | word | bits | |
        |---|---|---|
        | 0 | 7:0 | beats of a pixel, less one |
        | 0 | 15:8 | groups of hidden channels, less one |
        | 0 | 16, 17, 18 | signed activations, sampling mode, depthwise |
        | 1 | 15:0, 31:16 | width less one, height less one |
        | 2 | 15:0, 31:16 | first row of ``matrix``, of ``window`` |
        | 3 | 15:0, 31:16 | first row of ``hidden``, of ``channel`` |
        """
        block = self.block
        flags = block.signed | (block.mode == "sampling") << 1 | (block.kernel == "depthwise") << 2
        beats, groups = beats_of(engine, block), groups_of(engine, block)
        return [
            (beats - 1) | (groups - 1) << 8 | flags << 16,
            (block.width - 1) | (block.height - 1) << 16,
            self.matrix | self.window << 16,
            self.hidden | self.channel << 16,
        ]


def place(engine: EngineConfig, blocks: Sequence[BlockConfig], names: Sequence[str] | None = None) -> list[Descriptor]:
    """Descriptors that lay the blocks out one after the other.

    Args:
        engine: that is to hold them.
        blocks: in the order of their ``tid``.
        names: of the blocks, for errors.

    Raises:
        ConfigurationError: a block is too large, or all together are; the field tells how many rows would do.
    """
    names = [f"block {number}" for number in range(len(blocks))] if names is None else names
    require(len(blocks) <= engine.blocks, "engine.blocks", engine.blocks, f"at least {len(blocks)} for these blocks")
    totals = {"matrix": 0, "window": 0, "hidden": 0, "channel": 0}
    found = []
    for name, block in zip(names, blocks, strict=True):
        engine.check(block, name)
        found.append(Descriptor(block, **totals))
        for field, rows in rows_needed(engine, block).items():
            totals[field] += rows
    for field, rows in totals.items():
        have = getattr(engine, f"{field}_rows")
        require(rows <= have, f"engine.{field}_rows", have, f"at least {rows} for these {len(blocks)} blocks")
    return found
