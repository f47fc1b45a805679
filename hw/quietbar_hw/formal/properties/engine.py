"""The way into the engine: whatever descriptors say and frames do, it goes on; and frames come out whole."""

from __future__ import annotations

from amaranth.hdl import Array, Assert, Assume, Cat, Module, Mux, Signal

from quietbar.contract.engine import EngineError, Section

from ...engine.frames import STAGE_FIELDS, DescriptorTable
from ...engine.framing import Framing
from ...engine.memory import Writer
from ..abstraction import anything
from ..surroundings import Surrounded
from .property import Property
from .streams import ENGINE

PATIENCE = 2
"""Cycles that a sink of the framing may make it wait for each beat."""
BEATS = 8
"""Of the largest frame that fields of these widths can say: as many may have to be made up where one is cut short."""
WITHIN = (BEATS + 2) * (PATIENCE + 1) + 4


def any_descriptors(m: Module, part: Framing) -> None:
    """The surroundings of a framing: a table of descriptors that say whatever they like, be they valid or not, and
    sinks that are ready before long and, once they are, until they get something.

    The table does not change: the engine writes no memory while it runs.
    """
    shape = part.fields.as_value().shape()
    table = [anything(m, shape.width, f"descriptor_{block}") for block in range(ENGINE.blocks)]
    before = [Signal.like(each, name=f"{each.name}_before") for each in table]
    running, fields = Signal(), Signal(shape)
    m.d.sync += [running.eq(1), *(kept.eq(each) for kept, each in zip(before, table, strict=True))]
    m.d.comb += [Assume(~running | (kept == each)) for kept, each in zip(before, table, strict=True)]
    with m.If(part.lookup):
        m.d.sync += fields.eq(Array(table)[part.block])
    m.d.comb += Assume(part.fields.as_value() == fields)
    for name in ("element", "skipped", *(f"frame_{stage}" for stage in STAGE_FIELDS)):
        sink = getattr(part, name)
        waits, stays = Signal(range(PATIENCE + 1), name=f"{name}_waits"), Signal(name=f"{name}_stays")
        m.d.sync += [
            waits.eq(Mux(sink.ready, 0, waits + 1)),
            stays.eq(sink.ready & ~sink.valid),
        ]
        m.d.comb += [Assume(sink.ready | (waits < PATIENCE)), Assume(sink.ready | ~stays)]


def takes_every_beat(m: Module, part: Framing) -> None:
    """No beat waits longer than a whole frame takes to be made up."""
    any_descriptors(m, part)
    m.d.comb += Assume(part.begin)
    age = Signal(range(WITHIN + 2))
    m.d.sync += age.eq(Mux(part.i.valid & ~part.i.ready, age + 1, 0))
    m.d.comb += Assert(age <= WITHIN)


def emits_whole_frames(m: Module, part: Framing) -> None:
    """From its first beat to the one that ends it, a frame has as many beats as its block's descriptor says, all to
    both sinks; it says once, and with its last beat, that it is bad, and is so if anything was wrong with it.
    """
    any_descriptors(m, part)
    out = part.element.valid & part.element.ready
    count, expected, inside = Signal(range(BEATS + 1)), Signal(range(BEATS + 1)), Signal()
    fields = part.fields
    size = (fields.last_column + 1) * (fields.last_row + 1) * (fields.last_beat + 1)
    here = Mux(inside, expected, size)
    ends = part.element.payload.ends_frame
    wrong, asked = Signal(), Signal.like(part.block)
    spoiling = part.errors & ~(EngineError.BLOCK_UNKNOWN | EngineError.NOT_SEEDED)
    m.d.comb += [
        Assert(part.element.valid == part.skipped.valid),
        Assert(~out | (ends == (count + 1 == here))),
        Assert(~out | (part.skipped.payload.last == ends)),
        Assert(~(out & ends) | (part.skipped.payload.bad == (wrong | (spoiling != 0)))),
        Assert(part.begun == (out & ~inside)),
        Assert(~part.dropped | ~out),
        Assert(~part.begun | (fields.valid & (part.seeded | ~fields.sampling))),
        Assert(~(part.begun | part.dropped) | (asked == part.skipped.payload.id)),
    ]
    with m.If(part.lookup):
        m.d.sync += asked.eq(part.block)
    with m.If(out):
        m.d.sync += [
            inside.eq(~ends),
            count.eq(Mux(ends, 0, count + 1)),
            expected.eq(here),
            wrong.eq(~ends & (wrong | (spoiling != 0))),
        ]


def answers_every_write(m: Module, part: Writer) -> None:
    """A write is answered once, `Writer.LATENCY` cycles after it was taken; it is stored if and only if nothing is
    wrong with it by then, and refused for what is.
    """
    taken = part.write.valid & part.write.ready
    ages = [Signal(name=f"age_{number}") for number in range(1, part.LATENCY + 1)]
    stored = Signal()
    m.d.sync += [later.eq(now) for now, later in zip((taken, *ages), ages, strict=False)]
    with m.If(part.store.en | taken):
        m.d.sync += stored.eq(part.store.en)
    m.d.comb += [
        Assert(part.written == ages[-1]),
        Assert(part.idle == part.write.ready),
        Assert(part.write.ready == ~Cat(ages).any()),
        Assert(~part.written | (part.refused == (part.errors != 0))),
        Assert(~part.written | stored | part.refused),
        Assert(~part.written | ~stored | (part.errors == part.unfit)),
        Assert(part.written | (part.errors == 0)),
    ]


def knows_what_fits(m: Module, part: DescriptorTable) -> None:
    """A block is known only if all its descriptor asks for is there, whatever was written, in whatever order.

    The surroundings are those of the `Writer`: a word is stored every sixth cycle at most, its section is there a cycle
    before, and all of it until the next; the words of a descriptor come in order; no frame begins meanwhile.
    """
    store, engine = part.store, ENGINE
    quiet, held = Signal(range(5)), Signal.like(store.as_value())
    m.d.sync += held.eq(store.as_value())
    m.d.comb += Assume((quiet == 0) | (store.as_value()[1:] == held[1:]))
    m.d.sync += quiet.eq(Mux(store.en, 4, Mux(quiet == 0, 0, quiet - 1)))
    section_before = Signal.like(store.section)
    m.d.sync += section_before.eq(store.section)
    m.d.comb += Assume(~store.en | (quiet == 0))
    # One block is watched, whichever it is.
    block, block_before, running = anything(m, len(part.block), "watched"), Signal.like(part.block), Signal()
    m.d.sync += [running.eq(1), block_before.eq(block)]
    m.d.comb += [
        Assume(~running | (block == block_before)),
        Assume(~store.en | (running & (store.section == section_before))),
    ]

    storing = store.en & (store.section == Section.DESCRIPTORS)
    address, following = Cat(store.offset, store.section), Signal(len(store.offset) + len(store.section))
    with m.If(store.en):
        m.d.sync += following.eq(address + 1)
    m.d.comb += Assume(~storing | (store.offset[:2] == 0) | (address == following))
    latest = [Signal(32, name=f"latest_{word}") for word in range(4)]
    kept = [Signal(32, name=f"kept_{word}") for word in range(4)]
    for word in range(4):
        with m.If(storing & (store.offset[:2] == word)):
            m.d.sync += latest[word].eq(store.word)
    with m.If(storing & (store.offset[:2] == 3) & (store.offset[2 : 2 + len(block)] == block)):
        m.d.sync += [held.eq(now) for held, now in zip(kept, (*latest[:3], store.word), strict=True)]
    found = Signal()
    m.d.sync += found.eq(part.lookup & (part.block == block))
    first, size, weights, scales = kept
    beats, groups = first[:8] + 1, first[8:16] + 1
    passes = Mux(first[18], 1, groups * engine.parts)
    fits = (
        (beats <= engine.beats)
        & (groups <= engine.groups)
        & (size[:16] < engine.width)
        & (size[16:] < engine.height)
        & (first[19:] == 0)
        & (weights[:16] + beats * groups <= engine.matrix_rows)
        & (weights[16:] + passes * groups <= engine.window_rows)
        & (scales[:16] + groups <= engine.hidden_rows)
        & (scales[16:] + beats <= engine.channel_rows)
    )
    m.d.comb += Assert(~(found & part.fields.valid & (quiet == 0)) | fits)


ENGINE_PROPERTIES = (
    Property(
        "engine/no beat waits for ever",
        f"whatever descriptors say and frames do, the engine takes a beat within {WITHIN} cycles; sinks wait up to 2",
        lambda: Surrounded(Framing(ENGINE), takes_every_beat, rules=False),
        fast=False,
    ),
    Property(
        "engine/frames leave whole",
        "a frame that has begun has the beats its descriptor says, and ends bad if anything was wrong with it",
        lambda: Surrounded(Framing(ENGINE), emits_whole_frames, rules=False),
    ),
    Property(
        "engine/writes are answered",
        f"each write is answered once, {Writer.LATENCY} cycles later, and stored or refused",
        lambda: Surrounded(Writer(ENGINE), answers_every_write),
    ),
    Property(
        "engine/unfit descriptors stay unknown",
        "a block is known only if what its descriptor asks for is there, whatever is written in whatever order",
        lambda: Surrounded(DescriptorTable(ENGINE), knows_what_fits),
        method="bounded",
        depth=28,
        fast=False,
    ),
)
