"""The rules of a stream, checked cycle by cycle; for cocotb, Amaranth's simulator or a recorded trace alike.

1. ``valid`` and ``ready`` are always known, payload and ``last`` wherever ``valid`` is high (no X).
2. Once raised, ``valid`` stays until the beat is taken.
3. While a beat waits, payload and ``last`` keep their values.
4. ``last`` is high on the final beat of every frame, and on no other.

That ``valid`` must not wait for ``ready`` cannot be seen in one trace: it shows as a deadlock against a patient sink
(:data:`quietbar_cosim.stalls.PATIENT`). Rules 2 and 3 are those of Amaranth's stream RFC and of AXI4-Stream (2.2.1).
"""

from __future__ import annotations

from quietbar.contract.errors import QuietbarError, require_integer


class StreamError(QuietbarError):
    """A stream broke its rules, or nothing moved on it; the message names cycle and signal.

    Attributes:
        signal: the signal at fault.
        cycle: the clock cycle, counted from the first one observed.
        what: what happened, in words.
    """

    def __init__(self, signal: str, cycle: int, what: str) -> None:
        self.signal, self.cycle, self.what = signal, cycle, what
        super().__init__(f"{signal}, cycle {cycle}: {what}")


class StreamRules:
    """The rules of one stream, fed the signals' values as they stand right before each clock edge.

    Attributes:
        transfers: beats taken so far, over all frames.
    """

    def __init__(self, name: str, frame_beats: int | None = None) -> None:
        """
        Args:
            name: prefix of the signals' names in messages, e.g. ``"m_axis"``.
            frame_beats: beats of a frame; None leaves rule 4 unchecked.
        """
        if frame_beats is not None:
            require_integer("frame_beats", frame_beats, 1, 2**62)
        self.name, self.frame_beats = name, frame_beats
        self.transfers = 0
        self._waiting: tuple[int, bool | None] | None = None

    def forget(self) -> None:
        """Start afresh, as a reset does: no beat waits, and the next one begins a frame."""
        self.transfers, self._waiting = 0, None

    def observe(
        self, cycle: int, valid: bool | None, ready: bool | None, payload: int | None, last: bool | None = None
    ) -> bool:
        """One cycle; whether a beat was taken in it.

        Args:
            cycle: number for messages.
            valid, ready: None where the simulator shows X or Z.
            payload: None where any of its bits shows X or Z; not looked at while ``valid`` is low.
            last: None where the stream has none.

        Raises:
            StreamError: a rule is broken.
        """
        if valid is None or ready is None:
            raise StreamError(f"{self.name}_{'tvalid' if valid is None else 'tready'}", cycle, "is X")
        if not valid:
            if self._waiting is not None:
                raise StreamError(f"{self.name}_tvalid", cycle, "fell before the waiting beat was taken")
            return False
        if payload is None:
            raise StreamError(f"{self.name}_tdata", cycle, "holds an X while tvalid is high")
        if self._waiting is not None:
            self._require_unchanged(cycle, payload, last)
        if self.frame_beats is not None and last is not None:
            self._require_last(cycle, last)
        if ready:
            self.transfers += 1
            self._waiting = None
        else:
            self._waiting = payload, last
        return ready

    def _require_unchanged(self, cycle: int, payload: int, last: bool | None) -> None:
        assert self._waiting is not None
        before, last_before = self._waiting
        if payload != before:
            raise StreamError(f"{self.name}_tdata", cycle, f"changed from {before:#x} to {payload:#x} while stalled")
        if last != last_before:
            raise StreamError(f"{self.name}_tlast", cycle, f"changed from {last_before} to {last} while stalled")

    def _require_last(self, cycle: int, last: bool) -> None:
        assert self.frame_beats is not None
        position = self.transfers % self.frame_beats
        if last != (position == self.frame_beats - 1):
            verb = "is high" if last else "is low"
            where = f"beat {position + 1} of {self.frame_beats} of frame {self.transfers // self.frame_beats}"
            raise StreamError(f"{self.name}_tlast", cycle, f"{verb} on {where}")
