"""A record of all parts in a file, of which those that were run anew take the place of those that were there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from quietbar.contract import require

from .subjects import SUBJECTS

Facts = Mapping[str, Any]


def renewed(file: Path, name: str, command: str, parts: Sequence[Facts]) -> list[Facts]:
    """``parts``, and those that the record in ``file`` has beside them, in the order of `SUBJECTS`.

    Args:
        file: of the record, ``{"command": ..., "parts": [...]}``; there may be none.
        name: the field that names a part.
        command: that made the parts, and has to be the record's where something of it is kept.

    Raises:
        ConfigurationError: what would be kept was made by another command.
    """
    found = {facts[name]: facts for facts in parts}
    if file.is_file():
        record = json.loads(file.read_text())
        kept = {facts[name]: facts for facts in record["parts"] if facts[name] not in found}
        if kept:
            what = f"with the other parts as `{record['command']}` made them, or all parts anew"
            require(record["command"] == command, str(file), f"to be renewed by `{command}`", what)
        found |= kept
    return [found[part] for part in SUBJECTS if part in found]
