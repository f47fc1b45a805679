"""What goes over the serial link: packets, requests and answers. The hardware and the host's program both read this.

A packet is its content and two bytes of checksum (CRC-16/IBM-3740, high byte first), set off by `END` as in SLIP, RFC
1055; packets without content are ignored. The host sends a request and gets one answer to it, in order:

| request | content | answer |
|---|---|---|
| READ | tag, 1, address | tag, OK, word; or tag, REFUSED |
| WRITE | tag, 2, address, words | tag, OK or REFUSED, words written before the one that was refused |
| SEND | tag, 3, block, last, beats | tag, OK; or tag, BUSY: there is no room, and none of it was taken |
| RECEIVE | tag, 4 | tag, OK, beats, block, flags: what has come out, up to the end of a frame |
| CLEAR | tag, 5 | tag, OK: beats that wait on their way in or out are dropped |
| another, or one of a length that it cannot have | | tag, UNKNOWN; nothing was done |
| a spoilt packet | | `NO_TAG`, SPOILT; nothing was done |

Addresses and words have four bytes, low byte first. ``last`` is 1 where the last beat ends a frame; of ``flags`` bit 0
says that the last beat did, bit 1 that the frame is bad. Without beats both are 0.
"""

from __future__ import annotations

import binascii
import enum
from collections.abc import Iterator

from quietbar.contract.errors import QuietbarError

END, ESCAPE, ESCAPED_END, ESCAPED_ESCAPE = 0xC0, 0xDB, 0xDC, 0xDD
"""RFC 1055: the end of a packet, and what stands for the two special bytes within one."""

CHECKSUM_BYTES = 2
CHECKSUM_START = 0xFFFF
HEADER_BYTES = 6
"""At most, before words or beats."""
DATA_BYTES = 240
"""Words or beats of a packet; a multiple of the bytes of a beat up to 16 lanes."""
CONTENT_BYTES = HEADER_BYTES + DATA_BYTES
NO_TAG = 0xFF
"""In the answer to a packet whose tag cannot be trusted; no request has it."""


class Request(enum.IntEnum):
    """What the host wants."""

    READ = 1
    WRITE = 2
    SEND = 3
    RECEIVE = 4
    CLEAR = 5


class Status(enum.IntEnum):
    """How a request was answered."""

    OK = 0
    REFUSED = 1
    BUSY = 2
    SPOILT = 3
    UNKNOWN = 4


class SpoiltPacket(QuietbarError):
    """A packet whose checksum or escapes are wrong."""


def pack(content: bytes) -> bytes:
    """A content as it goes over the line."""
    checksum = binascii.crc_hqx(content, CHECKSUM_START).to_bytes(CHECKSUM_BYTES, "big")
    body = (content + checksum).replace(bytes([ESCAPE]), bytes([ESCAPE, ESCAPED_ESCAPE]))
    return body.replace(bytes([END]), bytes([ESCAPE, ESCAPED_END])) + bytes([END])


def unpack(packet: bytes) -> bytes:
    """The content of a packet, given without its `END`.

    Raises:
        SpoiltPacket: it is none.
    """
    body = bytes(_unescaped(packet))
    if len(body) <= CHECKSUM_BYTES or binascii.crc_hqx(body, CHECKSUM_START):
        raise SpoiltPacket(f"a packet of {len(packet)} bytes came with a wrong checksum")
    return body[:-CHECKSUM_BYTES]


def _unescaped(packet: bytes) -> Iterator[int]:
    bytes_left = iter(packet)
    for byte in bytes_left:
        if byte != ESCAPE:
            yield byte
            continue
        escaped = next(bytes_left, None)
        if escaped not in (ESCAPED_END, ESCAPED_ESCAPE):
            raise SpoiltPacket("a packet came with an escape that is none")
        yield END if escaped == ESCAPED_END else ESCAPE
