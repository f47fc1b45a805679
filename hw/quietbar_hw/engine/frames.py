"""Descriptors in the engine: a table of them, and the fields that each stage gets of a frame's."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, ShapeLike, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract.engine import EngineConfig, EngineError, Section

from ..storage import storage
from ..stream import Queue
from .memory import store_layout

FRAMES = 16
"""Frames that can be on their way to a stage."""


def _bits(high: int) -> int:
    """Bits of a number from 0 to ``high``, at least one."""
    return max(1, high.bit_length())


def field_bits(config: EngineConfig) -> dict[str, int]:
    """Width of each field of a descriptor; loop counts are the number of the last turn."""
    return {
        "last_beat": _bits(config.beats - 1),
        "last_group": _bits(config.groups - 1),
        "last_pass": _bits(config.groups * config.parts - 1),
        "last_column": _bits(config.width - 1),
        "last_row": _bits(config.height - 1),
        "matrix": _bits(config.matrix_rows - 1),
        "window": _bits(config.window_rows - 1),
        "hidden": _bits(config.hidden_rows - 1),
        "channel": _bits(config.channel_rows - 1),
        "signed": 1,
        "sampling": 1,
        "depthwise": 1,
    }


STAGE_FIELDS = {
    "reduce": ("last_beat", "last_group", "matrix", "hidden", "signed"),
    "spatial": ("last_group", "last_pass", "last_column", "last_row", "window", "hidden", "depthwise"),
    "heads": ("last_beat", "last_group", "matrix", "channel", "sampling", "signed"),
}
"""What each stage needs to know of a frame."""


def stage_layout(config: EngineConfig, stage: str) -> data.StructLayout:
    """The fields that a stage gets."""
    bits = field_bits(config)
    return data.StructLayout({name: bits[name] for name in STAGE_FIELDS[stage]})


def frame_layout(config: EngineConfig) -> data.StructLayout:
    """All fields of a descriptor, and whether it is valid."""
    return data.StructLayout({**field_bits(config), "valid": 1})


class FrameQueue(wiring.Component):
    """The frames on their way to a stage; the fields of the first lie in registers, since steps hang on them.

    Timing: a frame can leave two cycles after it came, and one each cycle after that.

    Members:
        i: In(stream of ``shape``).
        o: Out(stream of ``shape``).
    """

    def __init__(self, shape: ShapeLike) -> None:
        self.shape = shape
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory = queue = Queue(self.shape, FRAMES - 1)
        wiring.connect(m, wiring.flipped(self.i), queue.i)
        front, held = Signal(self.shape, reset_less=True), Signal()
        m.d.comb += [self.o.valid.eq(held), self.o.payload.eq(front), queue.o.ready.eq(~held | self.o.ready)]
        with m.If(queue.o.ready):
            m.d.sync += [held.eq(queue.o.valid), front.eq(queue.o.payload)]
        return m


class DescriptorTable(wiring.Component):
    """The descriptors. The first word of one makes its block unknown, the last one known, if the engine has it all.

    Timing: the fields are there one cycle after ``lookup``, and stay until the next. The verdict on a last word,
    ``unfit``, is there two cycles after it was stored.

    Members:
        store: In, see `store_layout`.
        unfit: Out(1).
        block: In, whose descriptor is looked up.
        lookup: In(1).
        fields: Out, see `frame_layout`.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        super().__init__(
            {
                "store": In(store_layout(config)),
                "unfit": Out(1),
                "block": In(config.id_bits),
                "lookup": In(1),
                "fields": Out(frame_layout(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        valid = Signal(self.config.blocks)
        words, row, last_stored = self._take_words(m, valid)
        needed, passes = self._needed_rows(m, words)
        fits = self._fits(m, words, needed)

        # A last word is stored, settles, and is judged.
        settling, judging = Signal(), Signal()
        m.d.sync += [settling.eq(last_stored), judging.eq(settling)]
        m.d.comb += self.unfit.eq(judging & ~fits)
        m.submodules.fields = ram = storage(frame_layout(self.config), self.config.blocks)
        write, read = ram.write_port(), ram.read_port()
        fields = {**_fields(words), "last_pass": passes - 1}
        m.d.comb += [
            write.addr.eq(row),
            write.en.eq(judging & fits),
            *(write.data[name].eq(fields[name]) for name in field_bits(self.config)),
            read.addr.eq(self.block),
            read.en.eq(self.lookup),
            self.fields.eq(read.data),
        ]
        with m.If(judging & fits):
            m.d.sync += valid.bit_select(row, 1).eq(1)
        known = Signal()
        with m.If(self.lookup):
            m.d.sync += known.eq(valid.bit_select(self.block, 1) & (self.block < self.config.blocks))
        m.d.comb += self.fields.valid.eq(known)
        return m

    def _take_words(self, m: Module, valid: Signal) -> tuple[list[Signal], Value, Value]:
        """The four words that were stored last, the row that they are for, and whether the last of them comes now."""
        words = [Signal(32, name=f"word_{number}", reset_less=True) for number in range(4)]
        here = Signal()
        m.d.sync += here.eq(self.store.section == Section.DESCRIPTORS)
        storing = self.store.en & here
        word, row = self.store.offset[:2], self.store.offset[2:][: self.config.id_bits]
        with m.If(storing):
            with m.Switch(word):
                for number in range(4):
                    with m.Case(number):
                        m.d.sync += words[number].eq(self.store.word)
            with m.If(word == 0):
                m.d.sync += valid.bit_select(row, 1).eq(0)
        return words, row, storing & (word == 3)

    def _needed_rows(self, m: Module, words: list[Signal]) -> tuple[dict[str, Signal], Signal]:
        """How many rows of each memory the block needs, and its passes: products one cycle after the words."""
        config, fields = self.config, _fields(words)
        beats, groups = Signal(9), Signal(9)
        passes = Signal(range(256 * config.parts + 1))
        m.d.comb += [
            beats.eq(fields["last_beat"] + 1),
            groups.eq(fields["last_group"] + 1),
            passes.eq(Mux(fields["depthwise"], 1, groups * config.parts)),
        ]
        kept_beats, kept_groups, kept_passes = (
            Signal.like(each, name=f"kept_{each.name}", reset_less=True) for each in (beats, groups, passes)
        )
        matrix_rows = Signal(range(config.beats * config.groups + 1), reset_less=True)
        window_rows = Signal(range(config.groups * config.groups * config.parts + 1), reset_less=True)
        m.d.sync += [
            kept_beats.eq(beats),
            kept_groups.eq(groups),
            kept_passes.eq(passes),
            matrix_rows.eq(kept_beats[: _bits(config.beats)] * kept_groups[: _bits(config.groups)]),
            window_rows.eq(kept_passes[: _bits(config.groups * config.parts)] * kept_groups[: _bits(config.groups)]),
        ]
        needed = {"matrix": matrix_rows, "window": window_rows, "hidden": kept_groups, "channel": kept_beats}
        return needed, kept_passes

    def _fits(self, m: Module, words: list[Signal], needed: dict[str, Signal]) -> Signal:
        """Whether the engine has all that the block needs.

        What is left of the rows of a memory comes one cycle after what is needed of them: a base is compared with that,
        so that the verdict on the last word is one comparison away.
        """
        config, fields = self.config, _fields(words)
        within = [
            fields["last_beat"] < config.beats,
            fields["last_group"] < config.groups,
            fields["last_column"] < config.width,
            fields["last_row"] < config.height,
            ~words[0][19:].any(),
        ]
        if not config.noise:
            within.append(~fields["sampling"])
        if config.kernels != "both":
            within.append(fields["depthwise"] == (config.kernels == "depthwise"))
        for name in needed:
            rows = getattr(config, f"{name}_rows")
            left = Signal(range(-(1 << len(needed[name])), rows + 1), name=f"{name}_left", reset_less=True)
            m.d.sync += left.eq(rows - needed[name])
            within.append(fields[name] <= left)
        fits = Signal()
        m.d.sync += fits.eq(Cat(within).all())
        return fits


def _fields(words: list[Signal]) -> dict[str, Value]:
    """The fields that are in a descriptor's four words as they are: all but the number of the last pass."""
    return {
        "last_beat": words[0][:8],
        "last_group": words[0][8:16],
        "last_column": words[1][:16],
        "last_row": words[1][16:],
        "matrix": words[2][:16],
        "window": words[2][16:],
        "hidden": words[3][:16],
        "channel": words[3][16:],
        "signed": words[0][16],
        "sampling": words[0][17],
        "depthwise": words[0][18],
    }


UNFIT = EngineError.DESCRIPTOR_RANGE
