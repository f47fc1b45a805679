"""The two ends of a stream as state machines, stepped once a cycle: the same under cocotb and in Amaranth's simulator.

The bulk runner's harness does the same in C++; a test holds all of them to one another, to the cycle.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from .rules import StreamRules
from .stalls import NO_STALLS, Stalls


class SourceEnd:
    """Offers frames beat by beat, and keeps offering a beat until it is taken.

    While it offers nothing, payload and ``last`` are the inverse of the last beat's, so that a design that looks at
    them then is found out.

    Attributes:
        valid, payload, last: what is driven in the coming cycle.
        sent: beats taken so far.
    """

    def __init__(self, bits: int, stalls: Stalls = NO_STALLS) -> None:
        self._mask = (1 << bits) - 1
        self._queue: deque[tuple[int, int]] = deque()
        self.valid, self.payload, self.last, self.sent = 0, 0, 0, 0
        self.stall(stalls)

    @property
    def waiting(self) -> int:
        """Beats not taken yet."""
        return len(self._queue)

    def stall(self, stalls: Stalls) -> None:
        """From now on stall by this pattern, from its beginning."""
        self._stalls = stalls.cycles()

    def send(self, beats: Iterable[int]) -> None:
        """Queue one frame: its beats as unsigned integers; the last one carries ``last``."""
        frame = list(beats)
        self._queue.extend((beat, 0) for beat in frame[:-1])
        self._queue.append((frame[-1], 1))

    def clear(self) -> None:
        """Drop what is queued and offer nothing."""
        self._queue.clear()
        self.valid = self.sent = 0

    def step(self, ready: bool) -> bool:
        """One clock edge, before which ``ready`` was seen; whether anything that is driven changes."""
        stalled = next(self._stalls)
        if self.valid:
            if not ready:
                return False
            beat, last = self._queue.popleft()
            self.sent += 1
            if stalled or not self._queue:
                self.valid, self.payload, self.last = 0, beat ^ self._mask, 1 - last
                return True
        elif stalled or not self._queue:
            return False
        self.valid = 1
        self.payload, self.last = self._queue[0]
        return True


class SinkEnd:
    """Takes beats and holds the stream to its rules.

    Attributes:
        ready: what is driven in the coming cycle.
        beats: payloads taken and not yet handed out.
        last_cycle: number of the cycle in which the last beat was taken.
    """

    def __init__(self, name: str, stalls: Stalls = NO_STALLS, frame_beats: int | None = None) -> None:
        self.rules = StreamRules(name, frame_beats)
        self.beats: list[int] = []
        self.ready, self.last_cycle = 0, 0
        self.stall(stalls)

    def stall(self, stalls: Stalls) -> None:
        """From now on stall by this pattern, from its beginning."""
        self._stalls, self._patient = stalls.cycles(), stalls.kind == "patient"

    def clear(self) -> None:
        """Drop what was taken; the next beat begins a frame."""
        self.beats.clear()
        self.rules.forget()
        self.ready = 0

    def step(self, cycle: int, valid: bool | None, payload: int | None, last: bool | None) -> bool:
        """One clock edge, before which these were seen; whether ``ready`` changes.

        Raises:
            StreamError: a rule of the stream is broken.
        """
        if self.rules.observe(cycle, valid, bool(self.ready), payload, last):
            assert payload is not None
            self.beats.append(payload)
            self.last_cycle = cycle
        before, stalled = self.ready, next(self._stalls)
        self.ready = int(bool(valid) and not before) if self._patient else int(not stalled)
        return self.ready != before
