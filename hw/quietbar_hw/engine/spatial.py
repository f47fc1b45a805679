"""The second stage: rows of hidden channels in memory, their 3x3 windows, and the dense or depthwise convolution."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract.block import HIDDEN, WINDOW
from quietbar.contract.engine import EngineConfig, Section

from ..conv.folding import tree_levels
from ..conv.matrix_vector import add_up
from ..storage import storage
from ..stream import ResultQueue, delay
from .frames import FrameQueue, stage_layout
from .memory import RowMemory, store_layout, weight_words
from .scale import PRODUCT_LATENCY, SCALE_LATENCY, Scale, accumulated, products_of, weights_in
from .slots import Gather, hidden_layout

BANKS = 4
"""Rows in memory: three that are read, one that is written."""
COLUMN_LATENCY = 2
"""Cycles from a step to the column that it reads: the memory's, and a register."""


def spatial_latency(config: EngineConfig) -> int:
    """Cycles from a step that ends a sum to its first results."""
    return PRODUCT_LATENCY + _sum_levels(config) + 1 + SCALE_LATENCY


def spatial_depth(config: EngineConfig) -> int:
    """Results that can be under way or wait."""
    return ResultQueue.credit(spatial_latency(config), config.parts, config.parts)


def _sum_levels(config: EngineConfig) -> int:
    return len(tree_levels(WINDOW)) + (len(tree_levels(config.group)) if config.dense else 0)


class Spatial(wiring.Component):
    """The 3x3 windows of a frame's pixels, zero outside the frame, times the weights of a dense or depthwise kernel.

    Four banks of memory hold a row of hidden channels each; a row is written while the three before it are read. A
    frame is read column by column, a column being three pixels on top of each other; a small memory holds the last two,
    so the window round a pixel is there when the column to its right is read. The reader goes over the groups of hidden
    channels, in a dense block as many times as ``outputs`` outputs make all of them, and reads the column each time.

    Timing: a step a cycle. A frame takes ``groups`` steps for its first column, and then for each pixel, dense,
    ``groups * passes`` steps, depthwise ``groups`` steps of ``parts`` cycles, once the column to its right has come and
    as long as results find room. A column has come with the pixel below it, those of the last row with the last pixel.

    Members:
        store: In, see `store_layout`.
        frame: In(stream of `stage_layout`).
        i: In(stream of `hidden_layout`).
        o: Out(stream of `hidden_layout`).
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        hidden = hidden_layout(config.outputs * HIDDEN.bits)
        super().__init__(
            {
                "store": In(store_layout(config)),
                "frame": In(stream.Signature(stage_layout(config, "spatial"))),
                "i": In(stream.Signature(hidden)),
                "o": Out(stream.Signature(hidden)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        parts = config.parts
        m.submodules.frames = frames = FrameQueue(self.frame.payload.shape())
        wiring.connect(m, wiring.flipped(self.frame), frames.i)
        frame, fields = frames.o, frames.o.payload
        depthwise = {"both": fields.depthwise, "dense": Value.cast(0), "depthwise": Value.cast(1)}[config.kernels]
        m.submodules.results = results = ResultQueue(self.o.payload.shape(), spatial_depth(config), parts)
        wiring.connect(m, results.o, wiring.flipped(self.o))

        row_read, column_read = Signal(), Signal()
        banks, available = self._rows(m, row_read, column_read)

        # The column to be read next, and the pixel in the middle of the windows, whose column was read before it.
        x, y = Signal.like(fields.last_column, name="x"), Signal.like(fields.last_row, name="y")
        last_x, last_y, reading = Signal(), Signal(), Signal(init=1)
        middle = Signal(data.StructLayout({"there": 1, "first_column": 1, "last_column": 1, "ends_frame": 1}))
        m.d.comb += [last_x.eq(x == fields.last_column), last_y.eq(y == fields.last_row)]

        # Steps.
        group, turn = Signal.like(fields.last_group, name="group"), Signal.like(fields.last_pass, name="turn")
        offset, gap = Signal.like(fields.window, name="offset"), Signal(range(max(parts, 2)))
        last_group, last_turn, starting = Signal(), Signal(), Signal(init=1)
        going, launch, ended = Signal(), Signal(), Signal()
        launching = middle.there & (depthwise | last_group)
        m.d.comb += [
            last_group.eq(group == fields.last_group),
            last_turn.eq(~middle.there | (turn == fields.last_pass)),
            going.eq(frame.valid & (~starting | ~reading | available) & (~launching | (results.room & (gap == 0)))),
            launch.eq(going & launching),
            ended.eq(going & last_group & last_turn),
            column_read.eq(ended & reading),
            row_read.eq(column_read & last_x),
            frame.ready.eq(ended & ~reading),
            results.launch.eq(launch),
            results.count.eq(Mux(depthwise, parts, 1)),
        ]
        with m.If(going):
            m.d.sync += [group.eq(Mux(last_group, 0, group + 1)), starting.eq(last_group & last_turn)]
            with m.If(last_group):
                m.d.sync += turn.eq(Mux(last_turn, 0, turn + 1))
            with m.If(middle.there):
                m.d.sync += offset.eq(Mux(ended, 0, offset + 1))
        with m.If(launch):
            m.d.sync += gap.eq(Mux(depthwise, parts - 1, 0))
        with m.Elif(gap != 0):
            m.d.sync += gap.eq(gap - 1)
        with m.If(ended):
            m.d.sync += [
                middle.there.eq(reading),
                reading.eq(~(reading & last_x & last_y)),
                middle.first_column.eq(x == 0),
                middle.last_column.eq(last_x),
                middle.ends_frame.eq(last_x & last_y),
            ]
        with m.If(column_read):
            m.d.sync += x.eq(Mux(last_x, 0, x + 1))
            with m.If(last_x):
                m.d.sync += y.eq(Mux(last_y, 0, y + 1))

        # Where the column lies.
        address, start = Signal.like(banks[0].addr, name="address"), Signal.like(banks[0].addr, name="start")
        bank = Signal(range(BANKS))
        m.d.comb += [read.addr.eq(address) for read in banks]
        with m.If(going & reading):
            m.d.sync += address.eq(Mux(last_group & ~last_turn, start, address + 1))
        with m.If(column_read):
            m.d.sync += start.eq(address + 1)
        with m.If(row_read):
            m.d.sync += [address.eq(0), start.eq(0), bank.eq(bank + 1)]

        window = self._windows(m, banks, bank, group, middle, y == 0, last_y, going & last_turn)
        self._convolve(m, window, fields, depthwise, group, turn, offset, going, launch, ended, middle, results)
        return m

    def _rows(self, m: Module, row_read: Value, column_read: Value) -> tuple[list, Value]:
        """Ports that read the rows, and whether there is another column to be read."""
        config = self.config
        word = config.group * HIDDEN.bits
        m.submodules.gather = gather = Gather(config.outputs * HIDDEN.bits, config.parts)
        wiring.connect(m, wiring.flipped(self.i), gather.i)
        arrival = gather.o.payload
        taken = gather.o.valid & gather.o.ready
        address, bank = Signal(range(max(config.width * config.groups, 2))), Signal(range(BANKS))
        ahead = Signal(range(BANKS))
        ports = []
        for number in range(BANKS):
            m.submodules[f"row_{number}"] = ram = storage(word, config.width * config.groups)
            write = ram.write_port()
            m.d.comb += [
                write.addr.eq(address),
                write.data.eq(arrival.data),
                write.en.eq(taken & (bank == number)),
            ]
            ports.append(ram.read_port())
        ends_pixel, ends_row = taken & arrival.ends_pixel, taken & arrival.ends_row
        m.d.comb += gather.o.ready.eq(ahead != BANKS - 1)
        with m.If(taken):
            m.d.sync += address.eq(Mux(ends_row, 0, address + 1))
        with m.If(ends_row):
            m.d.sync += bank.eq(bank + 1)
        m.d.sync += ahead.eq(ahead + ends_row - row_read)

        # A pixel makes the column above it one to be read. The first row's makes none; for it the last pixel makes up,
        # below which there is nothing. Whether there is a column is the sign of a register, since steps hang on it.
        first_row, behind = Signal(init=1), Signal(range(config.width + 1))
        spare = Signal(range(-1, BANKS * config.width), init=-1)
        with m.If(ends_pixel):
            m.d.sync += behind.eq(Mux(arrival.ends_frame, 0, behind + first_row))
        with m.If(ends_row):
            m.d.sync += first_row.eq(arrival.ends_frame)
        made = ends_pixel & (~first_row | arrival.ends_frame)
        m.d.sync += spare.eq(spare + made + Mux(ends_pixel & arrival.ends_frame, behind, 0) - column_read)
        return ports, ~spare[-1]

    def _windows(
        self,
        m: Module,
        banks: list,
        bank: Value,
        group: Value,
        middle: Value,
        first_row: Value,
        last_row: Value,
        keeping: Value,
    ) -> Value:
        """The windows of a group of channels, `COLUMN_LATENCY` and one cycles after the step that reads the column."""
        pixel = self.config.group * HIDDEN.bits
        rows = [delay(m, read.data, 1, f"row_{number}") for number, read in enumerate(banks)]
        outside = [delay(m, edge, COLUMN_LATENCY, name) for edge, name in ((first_row, "above"), (last_row, "below"))]
        column = Signal(3 * pixel)
        with m.Switch(delay(m, bank, COLUMN_LATENCY, "bank")):
            for here in range(BANKS):
                with m.Case(here):
                    above, below = rows[(here - 1) % BANKS], rows[(here + 1) % BANKS]
                    m.d.comb += column.eq(Cat(Mux(outside[0], 0, above), rows[here], Mux(outside[1], 0, below)))
        m.submodules.columns = ram = storage(2 * 3 * pixel, self.config.groups)
        before, keep = ram.read_port(domain="comb"), ram.write_port()
        place = delay(m, group, COLUMN_LATENCY, "group")
        m.d.comb += [
            before.addr.eq(place),
            keep.addr.eq(place),
            keep.en.eq(delay(m, keeping, COLUMN_LATENCY, "keeping", reset_less=False)),
            keep.data.eq(Cat(before.data[3 * pixel :], column)),
        ]
        at_left = delay(m, middle.first_column, COLUMN_LATENCY, "at_left")
        at_right = delay(m, middle.last_column, COLUMN_LATENCY, "at_right")
        columns = (
            Mux(at_left, 0, before.data[: 3 * pixel]),
            before.data[3 * pixel :],
            Mux(at_right, 0, column),
        )
        window = Signal(data.ArrayLayout(data.ArrayLayout(HIDDEN.bits, self.config.group), WINDOW), reset_less=True)
        for horizontal, source in enumerate(columns):
            for vertical in range(3):
                m.d.sync += Value.cast(window[3 * vertical + horizontal]).eq(source[vertical * pixel :][:pixel])
        return window

    def _convolve(
        self,
        m: Module,
        window: Value,
        fields: Value,
        depthwise: Value,
        group: Value,
        turn: Value,
        offset: Value,
        going: Value,
        launch: Value,
        ended: Value,
        middle: Value,
        results: ResultQueue,
    ) -> None:
        """Windows times weights, summed up and requantised."""
        config, stage = self.config, self.config.stage("spatial")
        count, parts, outputs = config.group, config.parts, config.outputs
        multipliers = config.multipliers_of("spatial")
        m.submodules.weights = weights = RowMemory(
            config, Section.SPATIAL, config.window_rows, weight_words(multipliers)
        )
        address = delay(m, (fields.window + offset)[: len(fields.window)], 1, "address")
        m.d.comb += [weights.store.eq(self.store), weights.address.eq(address)]
        row = weights_in(weights.row, multipliers)

        age = PRODUCT_LATENCY + _sum_levels(config)
        ends_sum = delay(m, group == fields.last_group, age, "ends_sum")
        summed = delay(m, going, age, "going", reset_less=False)
        last = delay(m, launch, age, "launch", reset_less=False)
        by_channel = delay(m, depthwise, age, "depthwise")
        m.submodules.scale = scale = Scale(
            config, Section.SPATIAL_SCALE, stage, count, outputs, config.hidden_rows * parts
        )
        totals = Signal(scale.totals.shape(), reset_less=True)
        for output in range(outputs if config.dense else 1):
            channels = []
            for channel in range(count):
                values = [window[place][channel] for place in range(WINDOW)]
                name = f"window_{output}_{channel}"
                products = products_of(m, values, row[(output * count + channel) * WINDOW :][:WINDOW], name)
                channels.append(add_up(m, products, name))
            if output == 0 and config.depthwise:
                alone = [
                    delay(m, channel, len(tree_levels(count)) if config.dense else 0, f"alone_{place}")
                    for place, channel in enumerate(channels)
                ]
            if config.dense:
                total = accumulated(m, add_up(m, channels, f"output_{output}"), stage, f"output_{output}",
                                    last=ends_sum, going=summed)  # fmt: skip
                with m.If(last & ~by_channel):
                    m.d.sync += totals[output].eq(total)
        if config.depthwise:
            with m.If(last & by_channel):
                m.d.sync += [totals[channel].eq(sum_) for channel, sum_ in enumerate(alone)]

        place = Mux(depthwise, (group * parts)[: len(scale.row)], turn)
        first_row = (fields.hidden * parts + place)[: len(scale.row)]
        m.d.comb += [
            scale.store.eq(self.store),
            scale.totals.eq(totals),
            scale.finished.eq(delay(m, last, 1, "finished", reset_less=False)),
            scale.whole.eq(delay(m, by_channel, 1, "whole")),
            scale.row.eq(delay(m, first_row, age + 1, "row")),
        ]
        # The flags of a step hold for the last of its results, which in a depthwise step come one by one.
        latency = age + 1 + SCALE_LATENCY
        flags = Signal(2, name="step_flags")
        m.d.comb += flags.eq(Cat(ended, middle.ends_frame))
        early = delay(m, Mux(depthwise, 0, flags), latency, "flags")
        late = delay(m, Mux(depthwise, flags, 0), latency + parts - 1, "flags_late")
        chosen = early | late
        m.d.comb += [
            results.arrivals.valid.eq(scale.valid),
            Value.cast(results.arrivals.payload.data).eq(Value.cast(scale.values)),
            results.arrivals.payload.ends_pixel.eq(scale.last & chosen[0]),
            results.arrivals.payload.ends_frame.eq(scale.last & chosen[1]),
        ]
