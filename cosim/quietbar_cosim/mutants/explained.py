"""Mutants that behave as the sound design does although Yosys cannot prove it, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

EXPLAINED: dict[tuple[str, str], str] = {
    ("crossbar", "crossbar/column_sum.py:82: $signal$22 is not reset"): (
        "products that were under way at a reset are added once more, to a sum that nobody takes: that it closes is "
        "reset, so that it is not offered, and the next vector opens another"
    ),
    ("box_muller", "stream.py:31: arriving_1$33 is not reset"): (
        "what was under way at a reset still reaches the queue, of which nothing is taken before a seed, and the first "
        "word of a seed empties pipeline and queue"
    ),
    ("inverse_cdf", "gaussian/top.py:111: first is not reset"): (
        "it is looked at behind the word of a frame's kind only, which sets it"
    ),
    ("line_buffer", "counting.py:35: bank loses the top of its 2 bits in a part"): (
        "the top bit is set in bank 2 alone, the last of three, after which the counter returns to 0 whatever the sum"
    ),
}
"""Reasons by part, and by a mutant's source and change."""


def reason(subject: str, mutant: Mapping[str, Any]) -> str:
    """Why nothing can tell a mutant from the sound design; empty where no reason is known."""
    return EXPLAINED.get((subject, f"{mutant['source']}: {mutant['what']}"), "")
