"""The errors a user can cause, each naming the field, its value and what is allowed."""

from __future__ import annotations

import math
from typing import Any


class QuietbarError(Exception):
    """Base of every error that a user can mend; the command line prints it without a traceback."""


class ConfigurationError(QuietbarError, ValueError):
    """A value outside what is allowed.

    Attributes:
        field: dotted name of the field, e.g. ``"block.channels"``.
        value: what was given.
        allowed: what would have been accepted, in words.
    """

    def __init__(self, field: str, value: Any, allowed: str) -> None:
        self.field, self.value, self.allowed = field, value, allowed
        super().__init__(f"{field} = {value!r}: must be {allowed}")


def require(condition: bool, field: str, value: Any, allowed: str) -> None:
    """Raise :class:`ConfigurationError` unless ``condition`` holds."""
    if not condition:
        raise ConfigurationError(field, value, allowed)


def require_integer(field: str, value: Any, low: int, high: int) -> None:
    """Refuse anything but an ``int`` in the closed range [low, high]; ``bool`` is refused too."""
    allowed = f"an integer from {low} to {high}"
    require(isinstance(value, int) and not isinstance(value, bool), field, value, allowed)
    require(low <= value <= high, field, value, allowed)


def require_number(field: str, value: Any, low: float, high: float = math.inf, note: str = "") -> None:
    """Refuse anything but a finite number in the closed range [low, high]; ``bool`` is refused too.

    ``note`` follows the range in the message, e.g. to say where a bound comes from.
    """
    allowed = f"a finite number of at least {low:g}" if high == math.inf else f"a number from {low:g} to {high:g}"
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    require(is_number and low <= value <= high, field, value, allowed + note)


def require_choice(field: str, value: Any, choices: tuple[Any, ...]) -> None:
    """Refuse a value that is not among ``choices``."""
    require(value in choices, field, value, "one of " + ", ".join(repr(choice) for choice in choices))
