"""Accuracy with all blocks of a network on one engine's RTL: workers side by side, each with a chunk of test images."""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from quietbar.contract.engine import EngineConfig, Kernels
from quietbar.contract.engine_size import fitting
from quietbar.contract.sources import Kind
from quietbar.experiment.evaluation import chunk_path, chunk_starts, predict
from quietbar.experiment.hardware_recipe import EngineRecipe
from quietbar.experiment.line import SoftwareLine
from quietbar.integer import Bundle

from .compared import ComparedTap, Tally
from .engine import RTLEngine


def engine_for(bundle: Bundle, recipe: EngineRecipe, source: Kind = "box-muller") -> EngineConfig:
    """The engine of the recipe's parallelism that holds the blocks of a bundle, and nothing that none of them needs.

    Raises:
        ConfigurationError: there is none.
    """
    blocks = [tap.config for tap in bundle.taps.values()]
    kernels = {block.kernel for block in blocks}
    noise = any(block.mode == "sampling" for block in blocks)
    kind: Kernels = kernels.pop() if len(kernels) == 1 else "both"
    return fitting(recipe.smallest(noise=noise, kernels=kind, source=source), blocks)


def engine_chunks(line: SoftwareLine, engine: EngineConfig, workers: int, folder: Path) -> dict[int, list[Any]]:
    """Classify the recipe's test images on its chips, every denoised activation from the RTL and compared.

    Each worker, a thread, has a network, an engine and PyTorch's operations to itself, and takes the next chunk when it
    is done with one: no core waits for another before the last chunk. Chunks that were done before are read. Chips that
    have blocks of their own run on the same engine, each with its own memory.

    Args:
        line: with the recipe, its trained blocks and their integers.
        engine: that holds them.
        workers: chunks at a time.
        folder: where chunks are kept, and the first frame of each tap that differs, under ``replay``.

    Returns:
        For each chip the chunks of :func:`quietbar.experiment.evaluation.predict`, with the counts of each tap and the
        processor time of all of a chunk in seconds.
    """
    recipe, data = line.recipe.evaluation, line.data
    todo: queue.SimpleQueue[tuple[int, int]] = queue.SimpleQueue()
    for chip in recipe.chips:
        for first in chunk_starts(recipe, data):
            if not chunk_path(folder, _name(chip), first).exists():
                todo.put((chip, first))

    def work(_: int) -> None:
        placed = None
        try:
            with contextlib.ExitStack() as opened:
                for chip, first in _taken(todo):
                    if chip != placed:
                        opened.close()
                        model, collect = opened.enter_context(_on_engine(line, engine, chip, folder / "replay"))
                        placed = chip
                    predict(model, data, recipe, folder, _name(chip), collect, [first])
        except BaseException:
            # Nobody begins another chunk.
            list(_taken(todo))
            raise

    count = min(workers, todo.qsize())
    if count:
        # What is made once is made before the workers begin: stages of the line, and the simulator.
        RTLEngine(line.on(recipe.chips[0])[1], engine, threads=1).close()
        # The reference turns NNPACK off and on again, for all threads: off throughout, none can turn it on for another.
        with torch.backends.nnpack.flags(enabled=False), ThreadPoolExecutor(count) as pool:
            list(pool.map(work, range(count)))
    return {chip: predict(line.denoised, data, recipe, folder, _name(chip)) for chip in recipe.chips}


@contextlib.contextmanager
def _on_engine(
    line: SoftwareLine, engine: EngineConfig, chip: int, replay: Path
) -> Iterator[tuple[nn.Module, Callable[[], dict[str, Any]]]]:
    """The denoised network on a chip, its blocks in the memory of an engine; and what counted since the last call."""
    network, bundle = line.on(chip)
    rtl = RTLEngine(bundle, engine, threads=1)
    tallies = {tap: Tally() for tap in bundle.taps}

    def backend(_: Bundle, tap: str) -> ComparedTap:
        return ComparedTap(rtl, tap, tallies[tap], replay / _name(chip))

    clock = [time.thread_time()]

    def collect() -> dict[str, Any]:
        before, clock[0] = clock[0], time.thread_time()
        return {
            "taps": {tap: asdict(tally.take()) for tap, tally in tallies.items()},
            "seconds": clock[0] - before,
        }

    try:
        with bundle.attach(network, backend=backend) as model:
            yield model, collect
    finally:
        rtl.close()


def _name(chip: int) -> str:
    return f"rtl-{chip}"


def _taken(todo: queue.SimpleQueue[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """What is left in the queue, taken one by one."""
    while True:
        try:
            yield todo.get_nowait()
        except queue.Empty:
            return
