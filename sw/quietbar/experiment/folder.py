"""The folder of a run: every stage's result under the hash of all that decides it, so that nothing runs twice."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quietbar.contract.errors import QuietbarError
from quietbar.files import write_atomically

RESULT, LOCK = "result.json", ".lock"


@dataclass(frozen=True)
class StageResult:
    """A finished stage.

    Attributes:
        name: of the stage.
        key: hash of the stage's name, its settings and the keys of the stages before it.
        folder: the files it left.
        values: its result, as plain values.
    """

    name: str
    key: str
    folder: Path
    values: dict[str, Any]


def say(text: str) -> None:
    """Print at once, also into a pipe."""
    print(text, flush=True)


@dataclass(frozen=True)
class RunFolder:
    """Where a run keeps its stages: ``root/<stage>-<key>/result.json`` and whatever else the stage writes beside it."""

    root: Path
    announce: Callable[[str], None] = say

    def find(self, name: str, settings: dict[str, Any], after: tuple[StageResult, ...]) -> StageResult | None:
        """The stage's result where it is there, else None; the arguments are those of :meth:`stage`.

        Raises:
            QuietbarError: it is there and damaged.
        """
        key = _key(name, settings, after)
        folder = self.root / f"{name}-{key}"
        if not (folder / RESULT).exists():
            return None
        try:
            values = json.loads((folder / RESULT).read_text(encoding="utf-8"))["values"]
        except (ValueError, TypeError, KeyError) as error:
            raise damaged(folder / RESULT, error) from error
        return StageResult(name, key, folder, values)

    def stage(
        self,
        name: str,
        settings: dict[str, Any],
        after: tuple[StageResult, ...],
        compute: Callable[[Path], dict[str, Any]],
    ) -> StageResult:
        """The stage's result: read where it is there, awaited where another run computes it, else computed.

        Args:
            name: of the stage and its folder.
            settings: all that decides the result apart from ``after``, as plain values.
            after: the stages whose results this one uses.
            compute: is given the stage's folder, in which it may keep partial work, and returns plain values.
        """
        found = self.find(name, settings, after)
        if found is not None:
            self.announce(f"{name}: done before ({found.folder.name})")
            return found
        key = _key(name, settings, after)
        folder = self.root / f"{name}-{key}"
        result = folder / RESULT
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            found = self.find(name, settings, after)
            if found is not None:
                return found
            self.announce(f"{name} ...")
            values = compute(folder)
            record = {"stage": name, "settings": settings, "values": values}
            write_atomically(result, json.dumps(record, indent=1) + "\n")
        return StageResult(name, key, folder, json.loads(json.dumps(values)))


def damaged(file: Path, error: Exception) -> QuietbarError:
    """What is to be raised where a file that a stage left cannot be read: how to get it anew."""
    reason = str(error).partition("\n")[0]
    return QuietbarError(f"{file} is damaged ({reason}); delete {file.parent} to have the stage run again")


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a stage's folder for this run alone; the system lets go of it however the process ends."""
    with open(folder / LOCK, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _key(name: str, settings: dict[str, Any], after: tuple[StageResult, ...]) -> str:
    statement = json.dumps(
        {"stage": name, "settings": settings, "after": [stage.key for stage in after]}, sort_keys=True
    )
    return hashlib.sha256(statement.encode()).hexdigest()[:12]
