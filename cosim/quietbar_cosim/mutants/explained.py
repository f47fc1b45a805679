"""Mutants that behave as the sound design does although Yosys cannot prove it, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

EXPLAINED: dict[tuple[str, str], str] = {
    ("crossbar", "crossbar/column_sum.py:82: $signal$22 is not reset"): (
        "products that were under way at a reset are added once more, to a sum that nobody takes: that it closes is "
        "reset, so that it is not offered, and the next vector opens another"
    ),
    ("box_muller", "stream.py:32: arriving_1$39 is not reset"): (
        "what was under way at a reset still reaches the queue, of which nothing is taken before a seed, and the first "
        "word of a seed empties pipeline and queue"
    ),
    ("box_muller", "stream.py:65: $signal is set in every cycle"): (
        "the queue's level stays 0, of which nothing is seen but that the queue is never full, as credit sees to, and "
        "never empty again: nor is that of a source, once it has samples, before the next seed (proven in "
        "tests/hw/test_gaussian_source.py)"
    ),
    ("inverse_cdf", "gaussian/top.py:111: first is not reset"): (
        "it is looked at behind the word of a frame's kind only, which sets it"
    ),
}
"""Reasons by part, and by a mutant's source and change."""


def reason(subject: str, mutant: Mapping[str, Any]) -> str:
    """Why nothing can tell a mutant from the sound design; empty where no reason is known."""
    return EXPLAINED.get((subject, f"{mutant['source']}: {mutant['what']}"), "")
