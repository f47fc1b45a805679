"""The engine's memory: writes are checked word by word, and land in the row memories of the stages."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract import BIAS
from quietbar.contract.engine import (
    ERROR_BITS,
    SCALE_SECTIONS,
    SECTION_BITS,
    SHIFT_PLACE,
    WEIGHT_SECTIONS,
    WORD_BITS,
    WORDS_PER_OUTPUT,
    EngineConfig,
    EngineError,
    Section,
)
from quietbar.contract.number import WEIGHT, WEIGHT_LIMIT
from quietbar.contract.requantize import MULTIPLIER_BITS, SHIFT_BITS, SHIFT_HIGH, SHIFT_LOW

from ..arithmetic.placed import NUMBER_BITS, PLACED_BITS, WINDOW
from ..storage import storage
from ..stream import delay
from .control import write_layout

SCALE = data.StructLayout({"multiplier": PLACED_BITS, "window": NUMBER_BITS})
"""What is kept of the second word of an output's requantisation: see :func:`quietbar_hw.arithmetic.placed.placed`."""
SCALE_WORDS = (BIAS.bits, SCALE.size)
"""Bits that are kept of the words of an output's requantisation."""


def store_layout(config: EngineConfig) -> data.StructLayout:
    """A checked word on its way to whoever keeps that section; ``scale``: as what it is kept in a scale section.

    Section and offset are there two cycles before ``en``.
    """
    return data.StructLayout(
        {"en": 1, "section": SECTION_BITS, "offset": config.section_bits, "word": WORD_BITS, "scale": SCALE}
    )


class RowMemory(wiring.Component):
    """Rows that are written word by word and read whole.

    Timing: a row is there `LATENCY` cycles after its address: the memory's cycle, and a register behind it. A word is
    written a cycle after it was stored, from registers of this memory's own: the engine's memories lie far apart.

    Args:
        config: of the engine.
        section: whose words are kept here.
        rows: of the memory; each takes ``len(bits)`` words of the section's addresses, filled up to a power of two.
        bits: kept of each word of a row, from the lowest on; of scales, of what they say.

    Members:
        store: In, see `store_layout`.
        address: In.
        row: Out, the words next to each other, the first lowest.
    """

    LATENCY = 2

    def __init__(self, config: EngineConfig, section: Section, rows: int, bits: Sequence[int]) -> None:
        self.section, self.rows, self.bits = section, rows, tuple(bits)
        super().__init__(
            {
                "store": In(store_layout(config)),
                "address": In(range(max(rows, 2))),
                "row": Out(sum(bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        word_bits = (len(self.bits) - 1).bit_length()
        # A restart of the stage drops no word.
        here, writing = Signal(reset_less=True), Signal(reset_less=True)
        kept = Signal(self.store.shape(), reset_less=True)
        m.d.sync += [here.eq(self.store.section == self.section), writing.eq(self.store.en & here)]
        with m.If(here):
            m.d.sync += kept.eq(self.store)
        word, row = kept.offset[:word_bits], kept.offset[word_bits:]
        found = []
        scales = self.section in SCALE_SECTIONS.values()
        for number, bits in enumerate(self.bits):
            m.submodules[f"word_{number}"] = ram = storage(bits, self.rows)
            write, read = ram.write_port(), ram.read_port()
            m.d.comb += [
                write.addr.eq(row),
                write.data.eq(kept.scale if scales and number % WORDS_PER_OUTPUT else kept.word),
                write.en.eq(writing & (word == number if word_bits else 1)),
                read.addr.eq(self.address),
                # Nobody reads while a word is written; said so, block RAM needs no logic for reading what is written.
                read.en.eq(~writing),
            ]
            found.append(read.data)
        m.d.comb += self.row.eq(delay(m, Cat(found), 1, "row"))
        return m


class Writer(wiring.Component):
    """Takes writes one by one, refuses those that may not be, and hands on the others.

    Words of a descriptor, and of a seed, come in order, the first of them starting anew.

    Timing: an answer, and with it readiness for the next write, `LATENCY` cycles after a write. A word is stored three
    cycles after it was taken; whoever keeps it may raise ``unfit`` in the cycle of the answer.

    Members:
        write: In(stream of ``write_layout``).
        allowed: In(1), the engine is at rest.
        unfit: In, errors that the word turned out to be when it was stored.
        store: Out, see `store_layout`.
        idle: Out(1), no write is under way.
        written, refused: Out(1), see :func:`quietbar_hw.engine.control.control_signature`.
        errors: Out, pulses, with ``written``.
    """

    LATENCY = 5

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        super().__init__(
            {
                "write": In(stream.Signature(write_layout(config))),
                "allowed": In(1),
                "unfit": In(ERROR_BITS),
                "store": Out(store_layout(config)),
                "idle": Out(1),
                "written": Out(1),
                "refused": Out(1),
                "errors": Out(ERROR_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        address = Signal(config.address_bits, reset_less=True)
        following = Signal(config.address_bits, reset_less=True)
        word, scale = Signal(WORD_BITS, reset_less=True), Signal(SCALE, reset_less=True)
        section, offset = address[config.section_bits :], address[: config.section_bits]
        errors, found = Signal(ERROR_BITS), Signal(ERROR_BITS)
        there, fits, first, storing = Signal(), Signal(init=1), Signal(), Signal()
        in_order = Signal()
        m.d.comb += in_order.eq(first | (address == following))

        placed = _placed(m, word)
        with m.Switch(section):
            for each in Section:
                if config.rows(each) == 0:
                    continue
                with m.Case(each):
                    bits = config.row_bits(each)
                    in_row, row = offset[:bits], offset[bits:]
                    right = (in_row < config.row_words(each)) & (row < config.rows(each))
                    m.d.comb += [there.eq(right), first.eq(in_row == 0)]
                    if each in (Section.DESCRIPTORS, Section.SEED):
                        m.d.comb += there.eq(right & in_order)
                    if each in WEIGHT_SECTIONS.values():
                        m.d.comb += fits.eq(_weights_fit(word))
                    if each in SCALE_SECTIONS.values():
                        m.d.comb += fits.eq(Mux(offset[0], _scale_fits(word), _bias_fits(word)))

        m.d.comb += [
            found.eq(
                Mux(self.allowed, 0, EngineError.WRITE_BUSY)
                | Mux(there, 0, EngineError.WRITE_ADDRESS)
                | Mux(fits | ~there, 0, EngineError.PARAMETER_RANGE)
            ),
            self.store.section.eq(section),
            self.store.offset.eq(offset),
            self.store.word.eq(word),
            self.store.scale.eq(scale),
            self.store.en.eq(storing),
        ]
        m.d.sync += storing.eq(0)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [self.idle.eq(1), self.write.ready.eq(1)]
                with m.If(self.write.valid):
                    m.d.sync += [address.eq(self.write.payload.address), word.eq(self.write.payload.word)]
                    m.next = "CHECK"
            with m.State("CHECK"):
                m.d.sync += errors.eq(found)
                m.next = "JUDGE"
            with m.State("JUDGE"):
                m.d.sync += [storing.eq(errors == 0), scale.eq(placed)]
                m.next = "STORE"
            with m.State("STORE"):
                with m.If(errors == 0):
                    m.d.sync += following.eq(address + 1)
                m.next = "SETTLE"
            with m.State("SETTLE"):
                m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += [
                    self.errors.eq(errors | self.unfit),
                    self.written.eq(1),
                    self.refused.eq(self.errors != 0),
                ]
                m.next = "IDLE"
        return m


def _weights_fit(word: Value) -> Value:
    lowest = -WEIGHT_LIMIT - 1 & (1 << WEIGHT.bits) - 1
    return ~Cat(word.word_select(place, WEIGHT.bits) == lowest for place in range(WORD_BITS // WEIGHT.bits)).any()


def _bias_fits(word: Value) -> Value:
    upper = word[BIAS.bits - 1 :]
    return upper.all() | ~upper.any()


def _scale_fits(word: Value) -> Value:
    shift, rest = word[SHIFT_PLACE : SHIFT_PLACE + SHIFT_BITS], word[SHIFT_PLACE + SHIFT_BITS :]
    return word[MULTIPLIER_BITS - 1] & (shift >= SHIFT_LOW) & (shift <= SHIFT_HIGH) & ~rest.any()


def _placed(m: Module, word: Value) -> Value:
    """Multiplier and shift of a word, the multiplier in its place: a product with a power of two, a cycle later."""
    shift = word[SHIFT_PLACE : SHIFT_PLACE + SHIFT_BITS]
    place = (-shift)[: (WINDOW - 1).bit_length()]
    factors = delay(m, word[:MULTIPLIER_BITS], 1, "multiplier"), delay(m, Const(1) << place, 1, "power")
    return Cat((factors[0] * factors[1])[:PLACED_BITS], (shift - 1)[len(place) :][:NUMBER_BITS])


def weight_words(weights: int) -> tuple[int, ...]:
    """Bits kept of the words of a row of so many weights."""
    whole, rest = divmod(weights * WEIGHT.bits, WORD_BITS)
    return (WORD_BITS,) * whole + ((rest,) if rest else ())
