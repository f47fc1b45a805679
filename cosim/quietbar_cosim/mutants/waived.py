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


WAIVERS: tuple[Waiver, ...] = (
    Waiver(
        "denoiser",
        r"top\.configuration: 3'h[012]:",
        "a frame is judged behind its last part, so never with one of the others; the choice names all of them",
    ),
    Waiver(
        "crossbar",
        r"top\.tile\.programmer: end else if \(\\\$\d+ \) begin",
        "a draw is 8.2 deviations at most, which takes no level beyond 2,732 of the 4,095 that a conductance can have",
    ),
    Waiver(
        "engine_.*",
        r"top\.core\.heads\.\w+_scale: assign row_here = part \? row_kept : row;",
        "a head has a requantizer for each of its totals, so that there is one part, number 0",
    ),
)


def waiver(part: str, what: str, waivers: Iterable[Waiver] = WAIVERS) -> Waiver | None:
    """The first that excuses a line; None where it has to be covered."""
    for each in waivers:
        if re.fullmatch(each.parts, part) and re.fullmatch(each.what, what):
            return each
    return None
