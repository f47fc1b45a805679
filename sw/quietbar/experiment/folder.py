"""The folder of a run: every stage's result under the hash of all that decides it, so that nothing runs twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quietbar.files import write_atomically

RESULT = "result.json"


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

    def stage(
        self,
        name: str,
        settings: dict[str, Any],
        after: tuple[StageResult, ...],
        compute: Callable[[Path], dict[str, Any]],
    ) -> StageResult:
        """The stage's result: read where it is there, computed where it is not.

        Args:
            name: of the stage and its folder.
            settings: all that decides the result apart from ``after``, as plain values.
            after: the stages whose results this one uses.
            compute: is given the stage's folder, in which it may keep partial work, and returns plain values.
        """
        statement = json.dumps(
            {"stage": name, "settings": settings, "after": [stage.key for stage in after]}, sort_keys=True
        )
        key = hashlib.sha256(statement.encode()).hexdigest()[:12]
        folder = self.root / f"{name}-{key}"
        result = folder / RESULT
        if result.exists():
            self.announce(f"{name}: done before ({folder.name})")
            return StageResult(name, key, folder, json.loads(result.read_text())["values"])
        self.announce(f"{name} ...")
        folder.mkdir(parents=True, exist_ok=True)
        values = compute(folder)
        record = {"stage": name, "settings": settings, "values": values}
        write_atomically(result, json.dumps(record, indent=1) + "\n")
        return StageResult(name, key, folder, json.loads(json.dumps(values)))
