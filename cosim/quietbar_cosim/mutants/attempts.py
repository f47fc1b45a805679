"""One bench on one mutant, in a process of its own: a mutant may crash its simulator or never end."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import resource
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from quietbar.contract import QuietbarError

from ..planting import FAULT
from .benches import Bench, Planted

CPU_SECONDS = 600
"""Of one process, after which a mutant counts as one that never ends."""


@dataclass(frozen=True)
class Attempt:
    """A bench to run on the mutant with a number; 0 is the sound design."""

    number: int
    bench: Bench
    planted: Planted


@dataclass(frozen=True)
class Outcome:
    """What came of an attempt: the first line of what the bench reported, or empty where it found nothing."""

    report: str
    cpu_seconds: float

    @property
    def caught(self) -> bool:
        """Whether the bench told the mutant from the sound design."""
        return bool(self.report)


def run_attempts(attempts: Iterable[Attempt], jobs: int) -> Iterator[tuple[Attempt, Outcome]]:
    """Carry attempts out, ``jobs`` at a time, each in a forked process; they come as they end.

    Raises:
        QuietbarError: an attempt could not be made, for want of memory, disk or a tool.
    """
    context = multiprocessing.get_context("fork")
    waiting = iter(attempts)
    running: dict[Any, tuple[Attempt, Any]] = {}  # by the end of the pipe that it answers on
    try:
        while True:
            while len(running) < jobs and (attempt := next(waiting, None)) is not None:
                ours, theirs = context.Pipe(duplex=False)
                process = context.Process(target=_attempt, args=(attempt, theirs))
                process.start()
                theirs.close()
                running[ours] = attempt, process
            if not running:
                return
            for ready in wait(list(running)):
                attempt, process = running.pop(ready)
                yield attempt, _outcome(attempt, ready, process)
    finally:
        for _, process in running.values():
            process.kill()
            process.join()


def _attempt(attempt: Attempt, answer: Connection) -> None:
    """In the process of its own: run the bench and send what it reported, or that it could not run."""
    faulthandler.disable()
    os.environ[FAULT] = str(attempt.number)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 10))
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(null, stream)
    report, failure = "", ""
    try:
        attempt.bench.run(attempt.planted)
    except _unable() as error:
        failure = f"{type(error).__name__}: {error}"
    except Exception as error:
        # Whatever a bench stumbles over, in a design whose sound twin it passes, is the mutant's doing.
        report = f"{type(error).__name__}: {error}"
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    answer.send((report, failure, sum(each.ru_utime + each.ru_stime for each in used)))
    answer.close()


def _unable() -> tuple[type[Exception], ...]:
    """Errors that say nothing about a mutant."""
    from quietbar.toolchain import MissingToolError
    from quietbar_hw.formal import ProofError

    from ..build import BuildError

    return (OSError, MemoryError, MissingToolError, BuildError, ProofError)


def _outcome(attempt: Attempt, answer: Any, process: Any) -> Outcome:
    where = f"{attempt.bench.name} on mutant {attempt.number}"
    try:
        report, failure, seconds = answer.recv()
    except EOFError:
        process.join()
        killed = -process.exitcode
        if killed in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT) or killed <= 0:
            raise QuietbarError(f"{where}: its process was ended from outside (status {process.exitcode})") from None
        name = signal.Signals(killed).name
        report = "it does not end" if killed == signal.SIGXCPU else f"the simulator ends with {name}"
        return Outcome(report, 0.0)
    process.join()
    if failure:
        raise QuietbarError(f"{where}: {failure}")
    return Outcome(" ".join(report.splitlines()[0].split()) if report else "", seconds)
