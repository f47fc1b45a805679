"""Lines of the Verilog that no run of a part reaches, with the reason."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Waiver:
    """Lines that are excused.

    Attributes:
        parts: whose they are, as a regular expression.
        what: instance, a colon, a space and the line's Verilog, as a regular expression.
        reason: why nothing reaches them.
    """

    parts: str
    what: str
    reason: str


WAIVERS: tuple[Waiver, ...] = ()


def waiver(part: str, what: str, waivers: Iterable[Waiver] = WAIVERS) -> Waiver | None:
    """The first that excuses a line; None where it has to be covered."""
    for each in waivers:
        if re.fullmatch(each.parts, part) and re.fullmatch(each.what, what):
            return each
    return None
