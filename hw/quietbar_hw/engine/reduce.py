"""The first stage: a 1x1 convolution to the hidden channels."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract.block import HIDDEN
from quietbar.contract.engine import EngineConfig, Section

from ..conv.folding import tree_levels
from ..conv.matrix_vector import add_up
from ..stream import ResultQueue, delay
from .frames import FrameQueue, stage_layout
from .framing import element_layout
from .memory import RowMemory, store_layout, weight_words
from .scale import OPERAND_LATENCY, PRODUCT_LATENCY, SCALE_LATENCY, Scale, accumulated, products_of, weights_in
from .slots import PixelSlots, hidden_layout


def reduce_latency(config: EngineConfig) -> int:
    """Cycles from the last step of a group to its first results."""
    return PRODUCT_LATENCY + len(tree_levels(config.lanes)) + 1 + SCALE_LATENCY


def reduce_depth(config: EngineConfig) -> int:
    """Results that can be under way or wait."""
    return ResultQueue.credit(reduce_latency(config), config.parts, config.parts)


class Reduce(wiring.Component):
    """``lanes`` inputs a cycle for ``group`` hidden channels; pixel by pixel, group by group, beat by beat.

    Timing: a step a cycle, ``groups * max(beats, parts)`` of them a pixel, once the whole pixel is there and as long as
    results find room. Results leave ``outputs`` at a time, the first of them `reduce_latency` and one cycles after the
    last step of their group.

    Members:
        store: In, see `store_layout`.
        frame: In(stream of `stage_layout`).
        i: In(stream of `element_layout`).
        o: Out(stream of `hidden_layout`).
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        super().__init__(
            {
                "store": In(store_layout(config)),
                "frame": In(stream.Signature(stage_layout(config, "reduce"))),
                "i": In(stream.Signature(element_layout(config))),
                "o": Out(stream.Signature(hidden_layout(config.outputs * HIDDEN.bits))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, stage = self.config, self.config.stage("reduce")
        lanes, group, parts = config.lanes, config.group, config.parts
        m.submodules.frames = frames = FrameQueue(self.frame.payload.shape())
        wiring.connect(m, wiring.flipped(self.frame), frames.i)
        frame, fields = frames.o, frames.o.payload

        m.submodules.slots = slots = PixelSlots(8 * lanes + 1, config.beats)
        m.d.comb += [
            slots.i.payload.word.eq(Cat(self.i.payload.data, self.i.payload.ends_row)),
            slots.i.payload.last.eq(self.i.payload.ends_pixel),
            slots.i.payload.flag.eq(self.i.payload.ends_frame),
            slots.i.valid.eq(self.i.valid),
            self.i.ready.eq(slots.i.ready),
        ]
        depth = reduce_depth(config)
        m.submodules.results = results = ResultQueue(self.o.payload.shape(), depth, parts)
        wiring.connect(m, results.o, wiring.flipped(self.o))

        # Steps.
        beat, turn = Signal.like(fields.last_beat, name="beat"), Signal.like(fields.last_group, name="turn")
        offset, gap = Signal.like(fields.matrix, name="offset"), Signal(range(max(parts, 2)))
        last_beat, last_turn = Signal(), Signal()
        going, launch, ended = Signal(), Signal(), Signal()
        m.d.comb += [
            last_beat.eq(beat == fields.last_beat),
            last_turn.eq(turn == fields.last_group),
            going.eq(frame.valid & slots.there & (~last_beat | (results.room & (gap == 0)))),
            launch.eq(going & last_beat),
            ended.eq(launch & last_turn),
            slots.place.eq(beat),
            slots.done.eq(ended),
            frame.ready.eq(ended & slots.flag),
            results.launch.eq(launch),
        ]
        with m.If(going):
            m.d.sync += [beat.eq(Mux(last_beat, 0, beat + 1)), offset.eq(Mux(ended, 0, offset + 1))]
        with m.If(launch):
            m.d.sync += [turn.eq(Mux(last_turn, 0, turn + 1)), gap.eq(parts - 1)]
        with m.Elif(gap != 0):
            m.d.sync += gap.eq(gap - 1)

        # Operands and weights.
        m.submodules.weights = weights = RowMemory(
            config, Section.REDUCE, config.matrix_rows, weight_words(lanes * group)
        )
        address = delay(m, (fields.matrix + offset)[: len(fields.matrix)], 1, "address")
        m.d.comb += [weights.store.eq(self.store), weights.address.eq(address)]
        late = delay(m, slots.word[: 8 * lanes], OPERAND_LATENCY - 1, "late")
        is_signed = delay(m, fields.signed, OPERAND_LATENCY - 1, "is_signed")
        values = []
        for lane in range(lanes):
            value = Signal(signed(9), name=f"value_{lane}", reset_less=True)
            byte = late.word_select(lane, 8)
            m.d.sync += value.eq(Cat(byte, byte[7] & is_signed).as_signed())
            values.append(value)

        # Sums.
        row = weights_in(weights.row, lanes * group)
        age = PRODUCT_LATENCY + len(tree_levels(lanes))
        ends_sum = delay(m, last_beat, age, "ends_sum")
        summed = delay(m, going, age, "going", reset_less=False)
        last = delay(m, launch, age, "launch", reset_less=False)
        rows = config.hidden_rows * parts
        m.submodules.scale = scale = Scale(config, Section.REDUCE_SCALE, stage, group, config.outputs, rows)
        totals = Signal(scale.totals.shape(), reset_less=True)
        for output in range(group):
            products = products_of(m, values, row[output * lanes :][:lanes], f"product_{output}")
            total = accumulated(m, add_up(m, products, f"output_{output}"), stage, f"output_{output}",
                                last=ends_sum, going=summed)  # fmt: skip
            with m.If(last):
                m.d.sync += totals[output].eq(total)
        group_row = (fields.hidden + turn)[: len(fields.hidden)]
        m.d.comb += [
            scale.store.eq(self.store),
            scale.totals.eq(totals),
            scale.finished.eq(delay(m, last, 1, "finished", reset_less=False)),
            scale.row.eq(delay(m, group_row, age + 1, "row") * parts),
        ]

        # Results, and what they end.
        ends = Mux(last_turn, Cat(1, slots.word[8 * lanes], slots.flag), 0)
        ends = delay(m, ends, age + 1 + SCALE_LATENCY + parts - 1, "ends")
        arrival = results.arrivals.payload
        m.d.comb += [
            results.arrivals.valid.eq(scale.valid),
            Value.cast(arrival.data).eq(Value.cast(scale.values)),
            Cat(arrival.ends_pixel, arrival.ends_row, arrival.ends_frame).eq(Mux(scale.last, ends, 0)),
        ]
        return m
