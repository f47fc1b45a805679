"""What sessions with engines have to exercise, and what they did."""

from __future__ import annotations

from collections.abc import Sequence

from quietbar.contract import sources
from quietbar.contract.engine import EngineError

from .coverage import Coverage
from .engine_checks import Observation
from .engine_sessions import Session

STALLS = ("none", "random", "bursty")
KINDS = [
    f"{kernel} {mode} {sign}"
    for kernel in ("dense", "depthwise")
    for mode in ("mean", "sampling")
    for sign in ("signed", "unsigned")
]
REQUIRED = {
    "frame": ("1 x 1", "one row", "one column", "largest", "between"),
    "block": KINDS,
    "channels": ("whole beats", "part of a beat"),
    "hidden": ("whole groups", "part of a group"),
    "beats of a pixel": ("one", "several"),
    "groups of a pixel": ("one", "several"),
    "lanes": ("1", "2", "4"),
    "group": ("1", "2", "4"),
    "outputs": ("1", "2"),
    "source": (*sources.KINDS, "none"),
    "shift": tuple(f"{low} to {low + 7}" for low in range(0, 48, 8)),
    "saturation": tuple(
        f"{name} {side}"
        for name in ("reduce", "spatial", "mean", "log_sigma", "output")
        for side in ("high", "low")
    ),
    "input stalls": STALLS,
    "output stalls": STALLS,
    "switch": (
        "none", "kernel dense to depthwise", "kernel depthwise to dense", "mode mean to sampling",
        "mode sampling to mean", "signed False to True", "signed True to False", "to a larger frame",
        "to a smaller frame",
    ),
    "error cause": tuple(str(error.name) for error in EngineError),
    "recovery": ("reset", "restart"),
    "cut off": ("before anything left", "while beats left"),
    "beat": ("waits to leave", "waits to be taken"),
}  # fmt: skip
"""Bins by group."""


def collect(coverage: Coverage, session: Session, observations: Sequence[Observation]) -> None:
    """Add what a session exercised, once its observations were found right."""
    for step, seen in zip(session.steps, observations, strict=True):
        if step.do != "traffic":
            coverage.add(step.notes)
            continue
        trace = seen["trace"]
        if step.arguments["cut"] is None:
            coverage.add(step.notes)
        else:
            coverage.add([("cut off", "while beats left" if seen["beats"] else "before anything left")])
        waits = {"waits to leave": (0b0100, 0b1100), "waits to be taken": (0b0001, 0b0011)}
        for name, (state, mask) in waits.items():
            hits = sum(each & mask == state for each in trace)
            coverage.add([("beat", name)] * hits)
