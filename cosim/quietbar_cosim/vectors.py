"""Test vectors and the circumstances they are run in: what both tiers of simulation read.

Vectors say what goes into the streams of a design and what has to come out; a scenario says how the two ends stall and
whether a reset comes in between. Both are plain data, stored in a folder, so that a case runs again anywhere.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from quietbar.contract.errors import ConfigurationError, require, require_integer
from quietbar.contract.number import IntegerFormat
from quietbar.files import write_atomically

from .stalls import NO_STALLS, Stalls

Beats = NDArray[np.uint8]
"""Beats of a stream, (beats, bytes of a beat), low byte first."""


def pack(elements: NDArray[Any], bits: int) -> Beats:
    """Elements as beats: integers of shape (beats, lanes), each ``bits`` wide, lane 0 in the lowest bits."""
    count, lanes = elements.shape
    if bits % 8 == 0:
        wide = np.ascontiguousarray(elements.astype("<i8")).view(np.uint8).reshape(count, lanes, 8)
        return np.ascontiguousarray(wide[:, :, : bits // 8]).reshape(count, lanes * bits // 8)
    ones = (elements.astype(np.int64)[:, :, None] >> np.arange(bits)) & 1
    return np.packbits(ones.astype(np.uint8).reshape(count, lanes * bits), axis=1, bitorder="little")


def unpack(beats: Beats, lanes: int, number: IntegerFormat) -> NDArray[np.int64]:
    """The inverse of :func:`pack`: int64 of shape (beats, lanes)."""
    if number.bits == 8:
        elements = beats.view(np.int8 if number.signed else np.uint8).astype(np.int64)
        return elements.reshape(len(beats), -1)[:, :lanes]
    ones = np.unpackbits(beats, axis=1, bitorder="little")[:, : lanes * number.bits]
    weights = np.int64(1) << np.arange(number.bits, dtype=np.int64)
    if number.signed:
        weights[-1] = -weights[-1]
    return ones.reshape(len(beats), lanes, number.bits).astype(np.int64) @ weights


@dataclass(frozen=True)
class Vectors:
    """What goes in and what must come out.

    Attributes:
        configuration: frames of 32-bit words for the stream ``s_axis_cfg``.
        inputs: beats for ``s_axis``; None where the design has no such stream.
        frame_beats: input beats of a frame.
        expected: beats that ``m_axis`` must give.
        output_frame_beats: output beats of a frame; 0 where the stream has no ``tlast``.
        lanes: output elements of a beat.
        element: format of an output element.
        axes: the dimensions of the output in stream order, by name, e.g. ``(("frame", 2), ("row", 8), ...)``.
        prefix: what stands before the streams' names, e.g. ``"gaussian_"`` where a top holds several parts.
    """

    configuration: tuple[tuple[int, ...], ...]
    inputs: Beats | None
    frame_beats: int
    expected: Beats
    output_frame_beats: int
    lanes: int
    element: IntegerFormat
    axes: tuple[tuple[str, int], ...]
    prefix: str = ""

    def __post_init__(self) -> None:
        require_integer("vectors.frame_beats", self.frame_beats, 1, 2**31)
        require_integer("vectors.lanes", self.lanes, 1, 2**16)
        if self.inputs is not None:
            whole = len(self.inputs) % self.frame_beats == 0
            require(whole, "vectors.inputs", len(self.inputs), f"a multiple of {self.frame_beats} beats, whole frames")
        named = math.prod(size for _, size in self.axes)
        require(named == self.outputs, "vectors.axes", dict(self.axes), f"{self.outputs} elements in all")

    @property
    def outputs(self) -> int:
        """Output elements."""
        return len(self.expected) * self.lanes

    @property
    def bits(self) -> int:
        """Output bits."""
        return self.outputs * self.element.bits

    @property
    def expected_elements(self) -> NDArray[np.int64]:
        """The expected elements in stream order, one-dimensional."""
        return unpack(self.expected, self.lanes, self.element).reshape(-1)

    def elements(self, beats: Beats) -> NDArray[np.int64]:
        """Elements of output beats in stream order, one-dimensional."""
        return unpack(beats, self.lanes, self.element).reshape(-1)

    def save(self, path: Path) -> None:
        """Write to one ``.npz`` file, whole or not at all."""
        words = np.array([word for frame in self.configuration for word in frame], dtype=np.uint32)
        facts = {
            "frame_beats": self.frame_beats,
            "output_frame_beats": self.output_frame_beats,
            "lanes": self.lanes,
            "element": asdict(self.element),
            "axes": self.axes,
            "prefix": self.prefix,
        }
        arrays: dict[str, Any] = {
            "facts": np.array(json.dumps(facts)),
            "configuration": words,
            "configuration_frames": np.array([len(frame) for frame in self.configuration], dtype=np.int64),
            "expected": self.expected,
        }
        if self.inputs is not None:
            arrays["inputs"] = self.inputs
        buffer = BytesIO()
        np.savez_compressed(buffer, **arrays)
        write_atomically(path, buffer.getvalue())

    @classmethod
    def load(cls, path: Path) -> Vectors:
        """The inverse of :meth:`save`; a damaged file is refused by name."""
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = dict(file)
            facts = json.loads(str(arrays["facts"]))
            ends = np.cumsum(arrays["configuration_frames"])
            frames = np.split(arrays["configuration"], ends[:-1]) if len(ends) else []
            facts["element"] = IntegerFormat(**facts["element"])
            facts["axes"] = tuple((name, size) for name, size in facts["axes"])
            return cls(
                configuration=tuple(tuple(map(int, frame)) for frame in frames),
                inputs=arrays.get("inputs"),
                expected=arrays["expected"],
                **facts,
            )
        except ConfigurationError:
            raise
        except (OSError, KeyError, ValueError, TypeError, EOFError, BadZipFile) as error:
            raise ConfigurationError("vectors", str(path), f"a readable vectors file ({error})") from error


@dataclass(frozen=True)
class Scenario:
    """The circumstances of one run.

    Attributes:
        name: how people call it, e.g. ``"bursty stalls"``.
        input_stalls, output_stalls: of the two ends; configuration stalls as the input does.
        reset_after: None, or the number of output beats (input beats, if the design gives fewer) after which the design
            is reset in the middle of everything, for a single cycle, in which nothing but the reset itself clears what
            is under way; then it is configured anew and given the vectors from their beginning.
    """

    name: str = "no stalls"
    input_stalls: Stalls = NO_STALLS
    output_stalls: Stalls = NO_STALLS
    reset_after: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Scenario:
        """The inverse of :meth:`to_dict`."""
        ends = {end: Stalls(**values[end]) for end in ("input_stalls", "output_stalls")}
        return cls(values["name"], **ends, reset_after=values["reset_after"])


class Subject(Protocol):
    """What vectors were made of, for telling more about an output that differs; plain data, stored with the vectors."""

    def explain(self, position: Mapping[str, int]) -> str:
        """How the reference arrives at the output at ``position`` (an index for every axis)."""

    def save(self, folder: Path) -> None:
        """Store in ``folder`` what :func:`quietbar_cosim.replay.load` needs to make the subject again."""


@dataclass(frozen=True)
class Job:
    """Vectors to run in a scenario; ``name`` says what they exercise, e.g. ``"requantizer extremes"``."""

    name: str
    vectors: Vectors
    scenario: Scenario = field(default_factory=Scenario)
    subject: Subject | None = None


@dataclass(frozen=True)
class Run:
    """What a run gave.

    Attributes:
        output: uint8 (beats, bytes of a beat), low byte first.
        cycles: from the first cycle after configuration to that of the last output beat, both included.
        seconds: of wall clock, for those cycles.
    """

    output: Beats
    cycles: int
    seconds: float


def scenarios(seed: int, output_beats: int, probability: float = 0.4) -> tuple[Scenario, ...]:
    """The set that every stream is put through: none, random and bursty stalls at both ends, a patient sink, a reset.

    Args:
        seed: of all the patterns, so that a failing set runs again.
        output_beats: of one frame; the reset comes in the middle of it.
        probability: of a random stall.
    """
    from quietbar.contract.seeds import derive_seed

    def patterns(kind: str) -> tuple[Stalls, Stalls]:
        ends = [derive_seed(seed, kind, end) for end in ("input", "output")]
        made = [Stalls(kind, probability if kind == "random" else 0.0, end) for end in ends]  # type: ignore[arg-type]
        return made[0], made[1]

    return (
        Scenario("no stalls"),
        Scenario("random stalls", *patterns("random")),
        Scenario("bursty stalls", *patterns("bursty")),
        Scenario("patient sink", output_stalls=Stalls("patient")),
        Scenario("reset in mid-frame", *patterns("random"), reset_after=max(1, output_beats // 2)),
    )


def jobs(name: str, vectors: Vectors, chosen: Sequence[Scenario], subject: Subject | None = None) -> list[Job]:
    """The same vectors in each of the scenarios."""
    return [Job(name, vectors, scenario, subject) for scenario in chosen]
