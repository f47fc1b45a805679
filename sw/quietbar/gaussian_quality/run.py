"""A long run in parts: what was counted is kept, whole or not at all, and a run that was stopped goes on."""

from __future__ import annotations

import hashlib
import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, fields
from io import BytesIO
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from quietbar.contract.errors import require, require_integer
from quietbar.contract.seeds import check_seed
from quietbar.contract.sources import Kind, check_kind
from quietbar.files import write_atomically
from quietbar.integer.sources import source_array

from .tally import LAGS, Tally, count_samples

PART = 1 << 22
"""Samples of a part."""
KEEP_EVERY = 5.0
"""Seconds between two writings of what was counted."""
COUNT_HIGH = 1 << 40


@dataclass(frozen=True)
class Plan:
    """A run: ``count`` samples of ``seed``, in parts.

    Raises:
        ConfigurationError: ``count`` is no multiple of 64 in its range, or there is no such source or seed.
    """

    kind: Kind
    seed: int
    count: int

    def __post_init__(self) -> None:
        check_kind(self.kind, "--kind")
        check_seed(self.seed, "--seed")
        require_integer("--count", self.count, 1 << 14, COUNT_HIGH)
        require(self.count % LAGS == 0, "--count", self.count, f"a multiple of {LAGS}")

    @property
    def name(self) -> str:
        """Of the run's folder."""
        return f"{self.kind}-seed{self.seed}-{self.count}"

    def parts(self) -> Iterator[tuple[int, int]]:
        """First sample and number of samples of each part."""
        for start in range(0, self.count, PART):
            yield start, min(PART, self.count - start)

    def fingerprint(self) -> str:
        """Of the samples: what another contract counted is not added to."""
        return hashlib.sha256(source_array(self.kind, self.seed, 1 << 14).tobytes()).hexdigest()


def run(plan: Plan, folder: Path, jobs: int = 1, report: Callable[[int], None] = lambda counted: None) -> Tally:
    """Count what is left to count; ``folder`` keeps what was.

    Args:
        plan: what to count.
        folder: in which ``tally.npz`` is kept; made if it does not exist.
        jobs: processes.
        report: called with the samples counted so far, now and then.
    """
    require_integer("--jobs", jobs, 1, 256)
    path, fingerprint = folder / "tally.npz", plan.fingerprint()
    parts = list(plan.parts())
    tally, done = _load(path, fingerprint, len(parts))
    left = [index for index in range(len(parts)) if not done[index]]
    kept = time.monotonic()

    def keep() -> None:
        columns = {each.name: getattr(tally, each.name) for each in fields(tally)}
        buffer = BytesIO()
        np.savez_compressed(buffer, done=done, fingerprint=np.array(fingerprint), **columns)
        write_atomically(path, buffer.getvalue())
        report(tally.samples)

    for index, counted in _counted(plan, [(index, *parts[index]) for index in left], jobs):
        tally, done[index] = tally + counted, True
        if time.monotonic() - kept > KEEP_EVERY:
            keep()
            kept = time.monotonic()
    if left:
        keep()
    return tally


def _load(path: Path, fingerprint: str, parts: int) -> tuple[Tally, np.ndarray]:
    """What was counted and which parts; nothing if there is no such file, or one of other samples."""
    try:
        with np.load(path) as stored:
            if str(stored["fingerprint"]) == fingerprint and stored["done"].size == parts:
                return Tally(*(stored[each.name] for each in fields(Tally))), stored["done"]
    except (OSError, BadZipFile, KeyError, ValueError):
        pass
    return Tally.empty(), np.zeros(parts, bool)


def _counted(plan: Plan, left: list[tuple[int, int, int]], jobs: int) -> Iterator[tuple[int, Tally]]:
    """Each part's index and tally, in this process or in several."""
    if jobs == 1:
        for index, start, count in left:
            yield index, count_samples(plan.kind, plan.seed, start, count)
        return
    # Few at a time, so that a stop is quick.
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        waiting: dict[Future[Tally], int] = {}
        while left or waiting:
            while left and len(waiting) < 2 * jobs:
                index, start, count = left.pop(0)
                waiting[pool.submit(count_samples, plan.kind, plan.seed, start, count)] = index
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                yield waiting.pop(future), future.result()
