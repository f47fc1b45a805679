"""The bulk runner: millions of cycles of the RTL, no Python in the clock loop.

A :class:`Simulator` is one instance of a verilated design (any top with streams ``s_axis_cfg``, ``s_axis`` and
``m_axis``, and maybe an AXI4-Lite port ``s_axil``, see ``harness/bulk.cpp``). It is given whole buffers of beats and
gives one back. The interpreter's lock is released meanwhile, so instances in several threads use several cores.
"""

from __future__ import annotations

import ctypes
import functools
import uuid
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quietbar.contract.errors import require, require_integer

from .build import Design, coverage_folder, shared_library
from .planting import chosen_fault
from .rules import StreamError
from .stalls import KINDS, NO_STALLS, Stalls

Bytes = NDArray[np.uint8]
Accesses = NDArray[np.uint32]

PATIENCE = 1_000_000
"""Cycles without a transfer after which a run is given up."""
RESET_CYCLES = 3
DRAIN_CYCLES = 64
"""Cycles after the last expected beat in which none may follow."""

NO_ANSWER = 0xFF
"""In place of an AXI response."""


class _Pattern(ctypes.Structure):
    _fields_ = (("kind", ctypes.c_uint32), ("threshold", ctypes.c_uint32), ("seed", ctypes.c_uint64))


class _Request(ctypes.Structure):
    _fields_ = (
        ("configuration", ctypes.c_void_p),
        ("configuration_last", ctypes.c_void_p),
        ("configuration_beats", ctypes.c_uint64),
        ("input", ctypes.c_void_p),
        ("input_beats", ctypes.c_uint64),
        ("input_frame_beats", ctypes.c_uint64),
        ("output", ctypes.c_void_p),
        ("output_beats", ctypes.c_uint64),
        ("output_frame_beats", ctypes.c_uint64),
        ("input_stalls", _Pattern),
        ("output_stalls", _Pattern),
        ("patience", ctypes.c_uint64),
        ("reset_cycles", ctypes.c_uint64),
        ("drain_cycles", ctypes.c_uint64),
        ("id", ctypes.c_uint64),
    )


class _Outcome(ctypes.Structure):
    _fields_ = (
        ("status", ctypes.c_uint32),
        ("phase", ctypes.c_uint32),
        ("cycle", ctypes.c_uint64),
        ("configuration_cycles", ctypes.c_uint64),
        ("cycles", ctypes.c_uint64),
        ("configuration_taken", ctypes.c_uint64),
        ("input_taken", ctypes.c_uint64),
        ("output_taken", ctypes.c_uint64),
        ("error", ctypes.c_uint64),
    )


@dataclass(frozen=True)
class Run:
    """What a run gave.

    Attributes:
        output: uint8 (beats, bytes of a beat), low byte first.
        cycles: from the first cycle after configuration to that of the last output beat, both included.
        configuration_cycles: in which the configuration was taken.
    """

    output: Bytes
    cycles: int
    configuration_cycles: int


class Simulator:
    """One instance of ``design``, reset and ready; close it, or use it in a ``with`` statement.

    What a run configured stays until the next reset.
    """

    def __init__(self, design: Design) -> None:
        self.design = design
        self._library = _load(shared_library(design))
        self._instance: int | None = self._library.quietbar_open()
        self._library.quietbar_plant(self._instance, chosen_fault())
        # One that is forgotten is freed all the same, once.
        self._free = weakref.finalize(self, self._library.quietbar_close, self._instance)
        self.run((), frame_beats=1, reset=True)

    def run(
        self,
        configuration: Sequence[Sequence[int]] = (),
        beats: Bytes | None = None,
        *,
        frame_beats: int,
        output_beats: int = 0,
        output_frame_beats: int = 0,
        input_stalls: Stalls = NO_STALLS,
        output_stalls: Stalls = NO_STALLS,
        reset: bool = False,
        reset_cycles: int = RESET_CYCLES,
        patience: int = PATIENCE,
        identifier: int = 0,
    ) -> Run:
        """Configure, send ``beats``, and take ``output_beats`` of them.

        Args:
            configuration: frames of 32-bit words, sent first.
            beats: uint8 (count, bytes of a beat), low byte first.
            frame_beats: input beats of a frame; every so many carry ``tlast``.
            output_beats: how many to wait for; a further one is an error.
            output_frame_beats: output beats of a frame, for checking ``tlast``; 0 leaves it unchecked.
            input_stalls, output_stalls: patterns at the two ends; configuration is sent with those of the input.
            reset, reset_cycles: whether to reset the design first, and for how long.
            patience: cycles without any transfer after which the run is given up.
            identifier: ``tid`` of all beats, where streams have it.

        Raises:
            StreamError: nothing moved, a stream rule was broken, a beat too many came, a frame was marked bad by
                ``tuser``, or ``error`` was raised.
        """
        require(self._instance is not None, "simulator", "closed", "open")
        require_integer("frame_beats", frame_beats, 1, 2**62)
        words = np.array([word for frame in configuration for word in frame], dtype=np.uint32)
        word_last = np.zeros(len(words), dtype=np.uint8)
        word_last[np.cumsum([len(frame) for frame in configuration], dtype=np.int64) - 1] = 1
        sent = self._input(beats)
        output = np.empty((output_beats, self._bytes("m_axis")), dtype=np.uint8)
        request = _Request(
            words.ctypes.data,
            word_last.ctypes.data,
            len(words),
            sent.ctypes.data,
            len(sent),
            frame_beats,
            output.ctypes.data,
            output_beats,
            output_frame_beats,
            _pattern(input_stalls),
            _pattern(output_stalls),
            patience,
            reset_cycles if reset else 0,
            DRAIN_CYCLES if self.design.has("s_axis_tdata") else 0,
            identifier,
        )
        outcome = _Outcome()
        self._library.quietbar_run(self._instance, ctypes.byref(request), ctypes.byref(outcome))
        if outcome.status:
            raise _failure(request, outcome)
        return Run(output, outcome.cycles, outcome.configuration_cycles)

    def access(self, accesses: Accesses, patience: int = PATIENCE) -> int:
        """Read and write over the AXI4-Lite port, one after the other, up to the first access that fails.

        Args:
            accesses: uint32 (count, 4): address, data, whether it writes, response; what is read is put in the second,
                the answer in the last, `NO_ANSWER` if none came.
            patience: cycles after which an access counts as not answered.

        Returns:
            How many were answered with OKAY; if not all were, the one at that place was not.
        """
        require(self._instance is not None, "simulator", "closed", "open")
        require(self.design.has("s_axil_awvalid"), "design", self.design.top, "one with an AXI4-Lite port s_axil")
        good = accesses.dtype == np.uint32 and accesses.ndim == 2 and accesses.shape[1] == 4
        good = good and accesses.flags.c_contiguous
        require(
            good, "accesses", f"{accesses.dtype} of shape {accesses.shape}", "contiguous uint32 of shape (count, 4)"
        )
        done: int = self._library.quietbar_access(self._instance, accesses.ctypes.data, len(accesses), patience)
        return done

    def bare(self, beats: Bytes, *, frame_beats: int, patience: int = 1 << 40) -> Run:
        """As many beats out as in, through a loop that checks nothing and never stalls: the yardstick of `run`.

        ``tid`` stays what the last run gave it; ``patience`` bounds all cycles.
        """
        require(self._instance is not None, "simulator", "closed", "open")
        sent = self._input(beats)
        output = np.empty((len(sent), self._bytes("m_axis")), dtype=np.uint8)
        request = _Request(
            input=sent.ctypes.data, input_beats=len(sent), input_frame_beats=frame_beats, patience=patience
        )
        request.output, request.output_beats = output.ctypes.data, len(sent)
        return Run(output, self._library.quietbar_bare(self._instance, ctypes.byref(request)), 0)

    def close(self) -> None:
        """Free the instance; what it covered is written where it was built to count that."""
        folder = coverage_folder()
        if folder is not None and self._instance is not None:
            path = folder / f"bulk-{uuid.uuid4().hex}.dat"
            self._library.quietbar_write_coverage(self._instance, str(path).encode())
        self._instance = None
        self._free()

    def __enter__(self) -> Simulator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _bytes(self, stream: str) -> int:
        """Bytes of a beat of a stream; 1 where the design has no such stream."""
        name = f"{stream}_tdata"
        return self.design.ports[name].bytes if self.design.has(name) else 1

    def _input(self, beats: Bytes | None) -> Bytes:
        size = self._bytes("s_axis")
        if beats is None:
            return np.empty((0, size), dtype=np.uint8)
        allowed = f"uint8 of shape (beats, {size}): s_axis_tdata is {self.design.stream_bits('s_axis')} bits wide"
        good = beats.dtype == np.uint8 and beats.ndim == 2 and beats.shape[1] == size
        require(good, "beats", f"{beats.dtype} of shape {beats.shape}", allowed)
        return np.ascontiguousarray(beats)


@functools.cache
def _load(path: Path) -> Any:
    library = ctypes.CDLL(str(path))
    library.quietbar_open.restype = ctypes.c_void_p
    library.quietbar_close.argtypes = (ctypes.c_void_p,)
    library.quietbar_close.restype = None
    library.quietbar_plant.argtypes = (ctypes.c_void_p, ctypes.c_uint32)
    library.quietbar_plant.restype = None
    library.quietbar_write_coverage.argtypes = (ctypes.c_void_p, ctypes.c_char_p)
    library.quietbar_write_coverage.restype = None
    library.quietbar_run.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
    library.quietbar_run.restype = None
    library.quietbar_access.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64)
    library.quietbar_access.restype = ctypes.c_uint64
    library.quietbar_bare.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
    library.quietbar_bare.restype = ctypes.c_uint64
    return library


def _pattern(stalls: Stalls) -> _Pattern:
    return _Pattern(KINDS.index(stalls.kind), stalls.threshold, stalls.seed)


def _failure(request: _Request, outcome: _Outcome) -> StreamError:
    """The error that the harness's status stands for, in the words of the stream rules."""
    position = f"output beat {outcome.output_taken}"
    if request.output_frame_beats:
        frame, beat = divmod(outcome.output_taken, request.output_frame_beats)
        position = f"beat {beat + 1} of {request.output_frame_beats} of frame {frame}"
    if outcome.phase == 0:
        stuck = "s_axis_cfg_tready", f"{outcome.configuration_taken} of {request.configuration_beats} words taken"
    else:
        stuck = (
            "m_axis_tvalid",
            f"{outcome.input_taken} of {request.input_beats} beats taken, "
            f"{outcome.output_taken} of {request.output_beats} came",
        )
    signal, what = {
        1: (stuck[0], f"{stuck[1]}, nothing moved for {request.patience} cycles"),
        2: ("error", f"is {outcome.error:#x}: {stuck[1]}"),
        3: ("m_axis_tvalid", f"fell before the waiting beat was taken: {position}"),
        4: ("m_axis_tdata", f"changed while stalled: {position}"),
        5: ("m_axis_tlast", f"changed while stalled: {position}"),
        6: ("m_axis_tlast", f"is wrong on {position}"),
        7: ("m_axis_tvalid", f"offers a beat after the last expected one: {request.output_beats} were"),
        8: ("m_axis_tuser", f"marks a bad frame: {position}"),
        9: ("m_axis_tid", f"is not {request.id}: {position}"),
    }[outcome.status]
    return StreamError(signal, outcome.cycle, what)
