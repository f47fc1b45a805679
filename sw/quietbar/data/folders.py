"""Where data files lie on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from quietbar.contract.errors import require

VARIABLE = "QUIETBAR_DATA"


def cache_folder() -> Path:
    """The user's own folder for what was downloaded (``XDG_CACHE_HOME`` or ``~/.cache``, and there ``quietbar``)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "quietbar"


def search_folders() -> tuple[Path, ...]:
    """The folders to look for data in, best first: the one ``QUIETBAR_DATA`` names, where it is set, and the cache.

    Raises:
        ConfigurationError: ``QUIETBAR_DATA`` names no folder.
    """
    named = os.environ.get(VARIABLE)
    if not named:
        return (cache_folder(),)
    require(Path(named).is_dir(), VARIABLE, named, "an existing folder, or not set")
    return Path(named), cache_folder()
