"""What crossbar tiles and their register bank say to one another."""

from __future__ import annotations

import enum

from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract import CrossbarConfig
from quietbar.contract.drift import TIME
from quietbar.contract.stream import CONFIGURATION_WORD_BITS, FrameKind

from .configuration import LOADED_BITS, Error, frame_lengths

COUNTERS = ("vectors", "busy_cycles", "stalled_in_cycles", "stalled_out_cycles", "clipped_codes")
COUNTER_BITS = 32

KIND_BITS = max(FrameKind).bit_length()


class Cause(enum.IntFlag):
    """Why something was dropped: `Error`, and what only writes of the memory can do."""

    VECTOR_LENGTH = Error.VECTOR_LENGTH
    CONFIGURATION_LENGTH = Error.CONFIGURATION_LENGTH
    CONFIGURATION_KIND = Error.CONFIGURATION_KIND
    VALUE_RANGE = Error.VALUE_RANGE
    NOT_CONFIGURED = Error.NOT_CONFIGURED
    SEED_USED = Error.SEED_USED
    WRITE_BUSY = 64
    """Memory was written while running or busy. The write was dropped."""
    WRITE_ORDER = 128
    """A word out of its turn, or where there is none. It was dropped, and the frame under way with it."""


CAUSE_BITS = max(Cause).bit_length()


def index_bits(config: CrossbarConfig) -> int:
    """Bits of a word's number in the longest frame."""
    return max(1, (max(frame_lengths(config).values()) - 1).bit_length())


def word_address(config: CrossbarConfig, kind: int, index: int) -> int:
    """Where word ``index`` behind the first of a frame of this kind is written; addresses are those of words."""
    return kind << index_bits(config) | index


def write_layout(config: CrossbarConfig) -> data.StructLayout:
    """A word on its way to the tiles."""
    return data.StructLayout({"index": index_bits(config), "kind": KIND_BITS, "word": CONFIGURATION_WORD_BITS})


def control_signature(config: CrossbarConfig) -> wiring.Signature:
    """Control of tiles, as they see it.

    Members:
        run: In(1), vectors may begin. Those that have begun end in any case.
        restart: In(1), a pulse: whatever is inside is dropped, a half-written frame included, and the seed is
            forgotten; all else that was configured stays.
        clear: In(1), a pulse: all counters begin at 0.
        write: In(stream of a `write_layout`). A write is judged in the cycle in which it is taken.
        refused: Out(1), with ``write.ready``: the write was dropped; ``errors`` says why, then or earlier.
        busy: Out(1), vectors are inside.
        ready: Out(1), every kind of frame that there is has come.
        open: Out(1), a frame is half written.
        loaded: Out, by kind of frame whether one is in effect.
        time: Out, the time step.
        errors: Out, pulses of `Cause`.
        counters: Out, in the order of `COUNTERS`.

    Frames are written while ``run`` is low and ``busy`` is low.
    """
    return wiring.Signature(
        {
            "run": In(1),
            "restart": In(1),
            "clear": In(1),
            "write": In(stream.Signature(write_layout(config))),
            "refused": Out(1),
            "busy": Out(1),
            "ready": Out(1),
            "open": Out(1),
            "loaded": Out(LOADED_BITS),
            "time": Out(TIME.bits),
            "errors": Out(CAUSE_BITS),
            "counters": Out(data.ArrayLayout(COUNTER_BITS, len(COUNTERS))),
        }
    )
