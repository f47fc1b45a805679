"""Writes of a memory of words, one by one and in runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def segments(writes: Iterable[tuple[int, int]]) -> Iterator[tuple[int, list[int]]]:
    """Writes of (word address, word) as runs of words at consecutive addresses: (first word address, words)."""
    first, words = 0, list[int]()
    for address, word in writes:
        if words and address == first + len(words):
            words.append(word)
            continue
        if words:
            yield first, words
        first, words = address, [word]
    if words:
        yield first, words
