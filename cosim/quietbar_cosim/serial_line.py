"""A serial port whose other end is a design in simulation: what a host's program is given in place of a real one."""

from __future__ import annotations

import ctypes
import functools
import weakref
from pathlib import Path
from typing import Any

from quietbar.contract.errors import require, require_number

from .build import Design, shared_library

HARNESS = Path(__file__).parent / "harness" / "serial.cpp"


class SimulatedPort:
    """A port as pyserial has them (``write``, ``read``), wired to the pins ``rx`` and ``tx`` of a design.

    Time passes while it is read, and stands still otherwise.

    Args:
        design: with the ports clk, rst, rx and tx.
        period: cycles of the design's clock that a bit of this end takes; needs not be whole.
        patience: cycles without anything on either line after which a read gives what it has.

    Attributes:
        written: bytes, in all.
    """

    def __init__(self, design: Design, period: float, patience: int = 20_000) -> None:
        for name in ("clk", "rst", "rx", "tx"):
            require(design.has(name), "design", design.top, f"one with a port {name}")
        require_number("serial.period", period, 1.0)
        self.period, self.patience, self.written = float(period), patience, 0
        self._library = _load(shared_library(design, HARNESS))
        self._line: int | None = self._library.line_open()
        self._free = weakref.finalize(self, self._library.line_close, self._line)

    def write(self, data: bytes, spoilt: frozenset[int] = frozenset()) -> None:
        """Send bytes; those at the places ``spoilt`` without their stop bits."""
        flags = bytes(at in spoilt for at in range(len(data)))
        self._library.line_send(self._line, data, flags, len(data))
        self.written += len(data)

    def read(self, size: int) -> bytes:
        """``size`` bytes, or fewer where no more come."""
        buffer = ctypes.create_string_buffer(size)
        count = self._library.line_receive(self._line, buffer, size, self.period, self.patience)
        return buffer.raw[:count]

    @property
    def cycles(self) -> int:
        """Cycles of the design's clock so far."""
        return int(self._library.line_cycle(self._line))

    @property
    def spoilt(self) -> int:
        """Bytes that came without a stop bit."""
        return int(self._library.line_spoilt(self._line))

    def close(self) -> None:
        """Free the simulator."""
        self._line = None
        self._free()


@functools.cache
def _load(path: Path) -> Any:
    library = ctypes.CDLL(str(path))
    library.line_open.restype = ctypes.c_void_p
    library.line_close.argtypes = (ctypes.c_void_p,)
    library.line_close.restype = None
    library.line_send.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_uint64)
    library.line_send.restype = None
    library.line_receive.argtypes = (
        ctypes.c_void_p,
        ctypes.c_char_p,
        ctypes.c_uint64,
        ctypes.c_double,
        ctypes.c_uint64,
    )
    library.line_receive.restype = ctypes.c_uint64
    for name in ("line_cycle", "line_spoilt"):
        getattr(library, name).argtypes = (ctypes.c_void_p,)
        getattr(library, name).restype = ctypes.c_uint64
    return library
