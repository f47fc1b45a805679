"""When one end of a stream stalls: patterns that a seed repeats, the same in Python and in the C++ harness."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from quietbar.contract.errors import require, require_choice
from quietbar.contract.seeds import check_seed

Kind = Literal["none", "random", "bursty", "patient"]
KINDS: tuple[Kind, ...] = ("none", "random", "bursty", "patient")

LONGEST_BURST_EXPONENT = 6
_MASK = (1 << 64) - 1


@dataclass(frozen=True)
class Stalls:
    """A stall pattern, asked once a cycle.

    Attributes:
        kind: ``none``; ``random``: each cycle stalls with ``probability``; ``bursty``: stalled and free runs alternate,
            each 1, 2, 4, ... or 32 cycles long; ``patient``: a sink that is never ready before it has seen ``valid``
            (which a source must not wait for).
        probability: of a stall, in [0, 1); only ``random`` reads it.
        seed: of the pattern.
    """

    kind: Kind = "none"
    probability: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        require_choice("stalls.kind", self.kind, KINDS)
        require(0.0 <= self.probability < 1.0, "stalls.probability", self.probability, "in [0, 1)")
        check_seed(self.seed, "stalls.seed")

    @property
    def threshold(self) -> int:
        """The probability in units of 2**-32."""
        return round(self.probability * 2**32)

    def cycles(self) -> Iterator[bool]:
        """Whether to stall, cycle by cycle, without end."""
        if self.kind == "random":
            return _random(self.threshold, self.seed)
        if self.kind == "bursty":
            return _bursty(self.seed)
        return _never()

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values."""
        return {"kind": self.kind, "probability": self.probability, "seed": self.seed}


NO_STALLS = Stalls()


def random_stalls(probability: float, seed: int) -> Stalls:
    """Each cycle stalls with ``probability``, whatever happened before."""
    return Stalls("random", probability, seed)


def bursty_stalls(seed: int) -> Stalls:
    """Stalled and free runs of 1 to 32 cycles alternate, stalled first."""
    return Stalls("bursty", seed=seed)


PATIENT = Stalls("patient")


def _never() -> Iterator[bool]:
    while True:
        yield False


def _random(threshold: int, seed: int) -> Iterator[bool]:
    for word in _words(seed):
        yield word >> 32 < threshold


def _bursty(seed: int) -> Iterator[bool]:
    stalled = True
    for word in _words(seed):
        for _ in range(1 << (word >> 32) % LONGEST_BURST_EXPONENT):
            yield stalled
        stalled = not stalled


def _words(seed: int) -> Iterator[int]:
    """SplitMix64 (G. L. Steele et al., "Fast splittable pseudorandom number generators", 2014)."""
    while True:
        seed = (seed + 0x9E3779B97F4A7C15) & _MASK
        word = ((seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _MASK
        yield word ^ (word >> 31)
