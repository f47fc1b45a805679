"""The host's end of the serial link: requests sent, answers awaited, faults of the line told apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from quietbar.contract.errors import QuietbarError

from ..registers.driver import BusError
from .protocol import DATA_BYTES, END, NO_TAG, Request, SpoiltPacket, Status, pack, unpack

WORD_BYTES = 4
WORDS_AT_ONCE = DATA_BYTES // WORD_BYTES
ATTEMPTS = 3
"""How often a request is sent whose packet came to the board spoilt. Nothing of it was done, so it may be repeated."""


class LinkError(QuietbarError):
    """The board does not answer, or what it answers cannot be understood."""


class SerialPort(Protocol):
    """A port as pyserial opens it, with a timeout."""

    def write(self, data: bytes, /) -> object:
        """Send bytes."""

    def read(self, size: int, /) -> bytes:
        """``size`` bytes, or fewer where no more come in time."""


class Results(NamedTuple):
    """What an engine's output stream gave: data of whole beats, their block, and whether a frame ends, a bad one."""

    data: bytes
    block: int
    last: bool
    bad: bool


class Link:
    """Requests to a board, each answered before the next is sent. A bus of drivers, too: ``read``, ``write``.

    Args:
        port: with a timeout longer than the longest silence of the line.

    Attributes:
        repeated: requests that had to be sent again.
    """

    def __init__(self, port: SerialPort) -> None:
        self._port, self._tag, self.repeated = port, 0, 0
        self.synchronize()

    def synchronize(self) -> None:
        """End whatever the board may have begun to read, and forget what it answers to that."""
        self._port.write(bytes([END]))
        while self._port.read(1):
            pass

    # Registers and memory, by byte addresses.

    def read(self, address: int) -> int:
        """The word at ``address``; raises BusError where the board refuses."""
        status, payload = self._ask(Request.READ, address.to_bytes(WORD_BYTES, "little"), WORD_BYTES)
        if status is Status.REFUSED:
            raise BusError(f"the read at {address:#x} is refused")
        return int.from_bytes(payload, "little")

    def write(self, address: int, value: int) -> None:
        """Write the word at ``address``; raises BusError where the board refuses."""
        self.write_words(address, [value])

    def write_words(self, address: int, words: Sequence[int]) -> None:
        """Write words to consecutive addresses, up to the first that is refused.

        Raises:
            BusError: the board refused a word; ``written`` of the error tells how many it took before.
        """
        for first in range(0, len(words), WORDS_AT_ONCE):
            some = words[first : first + WORDS_AT_ONCE]
            content = b"".join(word.to_bytes(WORD_BYTES, "little") for word in (address + WORD_BYTES * first, *some))
            status, (count,) = self._ask(Request.WRITE, content, 1)
            if status is Status.REFUSED:
                where = address + WORD_BYTES * (first + count)
                raise BusError(f"the write at {where:#x} is refused", written=first + count)

    # The engine's streams.

    def send(self, block: int, data: bytes, last: bool) -> bool:
        """Beats to the engine, at most `DATA_BYTES`; False where there is no room for them, and none was taken."""
        return self._ask(Request.SEND, bytes([block, last]) + data, 0)[0] is Status.OK

    def receive(self) -> Results:
        """The beats that have come out of the engine, up to the end of a frame; maybe none."""
        _, payload = self._ask(Request.RECEIVE, b"", None)
        *data, block, flags = payload
        return Results(bytes(data), block, bool(flags & 1), bool(flags & 2))

    def clear(self) -> None:
        """Drop the beats that wait on their way into the engine or out of it."""
        self._ask(Request.CLEAR, b"", 0)

    # Packets.

    def _ask(self, request: Request, content: bytes, size: int | None) -> tuple[Status, bytes]:
        """Send a request and wait for its answer, whose payload must have ``size`` bytes unless it was not done."""
        for attempt in range(ATTEMPTS):
            self.repeated += attempt > 0
            self._tag = (self._tag + 1) % NO_TAG
            self._port.write(pack(bytes([self._tag, request]) + content))
            status, payload = self._answer(request)
            if status is Status.SPOILT:
                continue
            if status is Status.UNKNOWN:
                raise LinkError(
                    f"the board does not know the request {request.name}: is its bitstream of this version?"
                )
            done = status is Status.OK or (status is Status.REFUSED and request is Request.WRITE)
            if size is not None and len(payload) != (size if done else 0):
                raise LinkError(f"the answer to {request.name} has {len(payload)} bytes")
            return status, payload
        raise LinkError(f"{ATTEMPTS} packets in a row came to the board spoilt: is the line's speed right?")

    def _answer(self, request: Request) -> tuple[Status, bytes]:
        """The answer to the request that was sent last; those to earlier ones, which were given up, are passed over."""
        while True:
            packet = self._packet(request)
            try:
                content = unpack(packet)
            except SpoiltPacket as error:
                raise LinkError(f"the answer to {request.name} came spoilt: {error}") from error
            if len(content) >= 2 and content[0] in (self._tag, NO_TAG) and content[1] in set(Status):
                return Status(content[1]), content[2:]

    def _packet(self, request: Request) -> bytes:
        found = bytearray()
        while True:
            byte = self._port.read(1)
            if not byte:
                raise LinkError(f"the board did not answer {request.name} in time: is it configured, the speed right?")
            if byte[0] != END:
                found += byte
            elif found:
                return bytes(found)
