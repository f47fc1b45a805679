"""What the engine's core and its register bank say to one another."""

from __future__ import annotations

from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract.engine import COUNTER_BITS, COUNTERS, ERROR_BITS, WORD_BITS, EngineConfig


def write_layout(config: EngineConfig) -> data.StructLayout:
    """A word on its way to the engine's memory; addresses are those of words."""
    return data.StructLayout({"address": config.address_bits, "word": WORD_BITS})


def control_signature(config: EngineConfig) -> wiring.Signature:
    """Control of an engine, as the core sees it.

    Members:
        run: In(1), frames may begin. Those that have begun end in any case.
        restart: In(1), a pulse: whatever is inside is dropped, the streams begin anew, and the seed is forgotten;
            parameters and descriptors stay.
        clear: In(1), a pulse: all counters begin at 0.
        write: In(stream of a `write_layout`). Each write that is taken is answered, one after the other.
        written: Out(1), a pulse: the answer, ``Writer.LATENCY`` cycles after the write.
        refused: Out(1), with ``written``: the write was dropped; ``errors`` says why in the same cycle.
        busy: Out(1), frames are inside.
        seeded: Out(1), there is a seed.
        errors: Out, pulses of :class:`quietbar.contract.engine.EngineError`.
        error_block: Out, ``tid`` of the last frame that was bad or dropped.
        counters: Out, in the order of :data:`quietbar.contract.engine.COUNTERS`.

    Memory is written while ``run`` is low and ``busy`` is low.
    """
    return wiring.Signature(
        {
            "run": In(1),
            "restart": In(1),
            "clear": In(1),
            "write": In(stream.Signature(write_layout(config))),
            "written": Out(1),
            "refused": Out(1),
            "busy": Out(1),
            "seeded": Out(1),
            "errors": Out(ERROR_BITS),
            "error_block": Out(config.id_bits),
            "counters": Out(data.ArrayLayout(COUNTER_BITS, len(COUNTERS))),
        }
    )
