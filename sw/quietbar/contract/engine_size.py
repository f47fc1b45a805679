"""How large an engine has to be for blocks, its parallelism given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from .block import BlockConfig
from .descriptor import rows_needed
from .engine import EngineConfig
from .errors import require


def fitting(engine: EngineConfig, blocks: Sequence[BlockConfig]) -> EngineConfig:
    """``engine`` with as much more of everything as the blocks need; its parallelism stays.

    Raises:
        ConfigurationError: no engine of this parallelism runs them, as blocks of different ``fraction_bits``.
    """
    fractions = {block.fraction_bits for block in blocks}
    require(len(fractions) == 1, "bundle.fraction_bits", sorted(fractions), "the same in all taps of an engine")
    kernels = {block.kernel for block in blocks}
    sampling = any(block.mode == "sampling" for block in blocks)
    if engine.kernels == "both" or len(kernels) == 2:
        kind: Any = "both"
    else:
        kind = engine.kernels if engine.kernels in kernels else "both"
    grown = replace(
        engine,
        channels=max(engine.channels, _whole(max(block.channels for block in blocks), engine.lanes)),
        hidden=max(engine.hidden, _whole(max(block.hidden for block in blocks), engine.group)),
        height=max(engine.height, *(block.height for block in blocks)),
        width=max(engine.width, *(block.width for block in blocks)),
        blocks=max(engine.blocks, len(blocks)),
        noise=engine.noise or sampling,
        kernels=kind,
        fraction_bits=fractions.pop(),
    )
    needed = [rows_needed(grown, block) for block in blocks]
    totals = {f"{name}_rows": sum(each[name] for each in needed) for name in needed[0]}
    return replace(grown, **{name: max(getattr(engine, name), rows) for name, rows in totals.items()})


def _whole(number: int, unit: int) -> int:
    return -(-number // unit) * unit
