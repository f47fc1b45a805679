"""Arguments that several commands read alike."""

from __future__ import annotations


def whole_number(text: str) -> int | str:
    """``text`` as an integer, also where it is written like 1e9; anything else as it is, for the error message."""
    try:
        value = float(text)
    except ValueError:
        return text
    return int(text) if text.isdigit() else int(value) if value.is_integer() else text
