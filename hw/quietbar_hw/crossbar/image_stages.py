"""What stands between the tiles of a network: windows of images, means of channels, the class that scores highest."""

from __future__ import annotations

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract import UINT8, CrossbarConfig
from quietbar.contract.block import WINDOW
from quietbar.contract.tile_network import LayerConfig, TileNetworkConfig

from ..arithmetic import shape_of
from ..conv import LineBuffer
from ..counting import Loop, step_through
from ..storage import storage
from .partial_sums import output_layout

CODE = data.StructLayout({"code": shape_of(UINT8), "last": 1})
"""An activation; ``last`` on the last of an image."""

WINDOW_CODES = data.StructLayout({"codes": data.ArrayLayout(shape_of(UINT8), WINDOW), "last": 1})
"""A channel of a window; ``last`` on the last channel of an image's last window."""


class Windows(wiring.Component):
    """The windows of images, channel by channel; with stride 2 those of even rows and columns only.

    Timing: a channel of a window each cycle, as :class:`quietbar_hw.conv.LineBuffer`; those left out take theirs too.

    Members:
        i: In(stream of activations), channel-last raster order.
        o: Out(stream of `WINDOW_CODES`).
    """

    def __init__(self, config: LayerConfig) -> None:
        self.config = config
        super().__init__({"i": In(stream.Signature(shape_of(UINT8))), "o": Out(stream.Signature(WINDOW_CODES))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.lines = lines = LineBuffer(config.height, config.width, config.channels, 1, UINT8)
        channel, x, y = Loop("channel", config.channels), Loop("x", config.width), Loop("y", config.height)
        kept: Value = Const(1)
        if config.stride == 2:
            kept = ~x.counter[0] & ~y.counter[0]
        last_x, last_y = ((size - 1) * config.stride for size in reversed(config.size))
        step_through(m, lines.o.valid & lines.o.ready, channel, x, y)
        m.d.comb += [
            lines.i.payload[0].eq(self.i.payload),
            lines.i.valid.eq(self.i.valid),
            self.i.ready.eq(lines.i.ready),
            Value.cast(self.o.p.codes).eq(Value.cast(lines.o.payload)),
            self.o.p.last.eq(channel.at_end & (x.counter == last_x) & (y.counter == last_y)),
            self.o.valid.eq(lines.o.valid & kept),
            lines.o.ready.eq(self.o.ready | ~kept),
        ]
        return m


class ChannelMeans(wiring.Component):
    """The mean of each channel of an image, rounded half upward.

    Timing: an activation a cycle; means leave one by one in the cycles of the image's last pixel.

    Members:
        i: In(stream of activations), channel-last raster order.
        o: Out(stream of `CODE`), the channels in order.
    """

    def __init__(self, config: TileNetworkConfig) -> None:
        self.config = config
        super().__init__({"i": In(stream.Signature(shape_of(UINT8))), "o": Out(stream.Signature(CODE))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        layer, places = self.config.layers[-1], self.config.mean_shift
        channel, pixel = Loop("channel", layer.crossbar.outputs), Loop("pixel", layer.pixels)
        total = Signal(UINT8.bits + places)
        m.submodules.sums = memory = storage(total.shape(), layer.crossbar.outputs)
        write, read = memory.write_port(), memory.read_port(domain="comb")
        half = layer.pixels // 2
        m.d.comb += [
            read.addr.eq(channel.counter),
            write.addr.eq(channel.counter),
            total.eq(Mux(pixel.at_start, half, read.data) + self.i.payload),
            write.data.eq(total),
            write.en.eq(self.i.valid & self.i.ready),
            self.i.ready.eq(self.o.ready | ~pixel.at_end),
            self.o.valid.eq(self.i.valid & pixel.at_end),
            self.o.p.code.eq(total >> places),
            self.o.p.last.eq(channel.at_end),
        ]
        step_through(m, write.en, channel, pixel)
        return m


class HighestScore(wiring.Component):
    """The number of the first of the highest scores of an image.

    Timing: a score a cycle; the class is there a cycle after the last of them was taken.

    Members:
        i: In(stream of the head's outputs).
        o: Out(stream of class numbers).
    """

    def __init__(self, head: CrossbarConfig) -> None:
        self.head = head
        super().__init__({"i": In(stream.Signature(output_layout(head))), "o": Out(stream.Signature(shape_of(UINT8)))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        column = Loop("column", self.head.outputs)
        highest, leader, winner = Signal(shape_of(self.head.target)), Signal(UINT8.bits), Signal(UINT8.bits)
        wins, taken = Signal(), Signal()
        m.d.comb += [
            self.i.ready.eq(~self.o.valid | self.o.ready | ~column.at_end),
            taken.eq(self.i.valid & self.i.ready),
            wins.eq(column.at_start | (self.i.p.code > highest)),
            winner.eq(Mux(wins, column.counter, leader)),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(taken):
            m.d.sync += leader.eq(winner)
            with m.If(wins):
                m.d.sync += highest.eq(self.i.p.code)
            with m.If(column.at_end):
                m.d.sync += [self.o.payload.eq(winner), self.o.valid.eq(1)]
        step_through(m, taken, column)
        return m
