"""The line buffer: 3x3 windows, with zero padding, of frames that come pixel by pixel."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Shape, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract import IntegerFormat, require, require_integer
from quietbar.contract.block import WINDOW

from ..arithmetic import shape_of
from ..counting import Loop, step_through
from ..storage import storage
from ..stream import ResultQueue, delay


class LineBuffer(wiring.Component):
    """Turns a raster stream into the stream of its 3x3 windows, one for each pixel, zero outside the frame.

    A pixel is ``channels / group`` transfers of ``group`` channels; so is its window, each transfer being the nine
    positions of the window in raster order with ``group`` channels each.

    Rows lie in a ring of memory banks. The reader goes over the frame column by column (a column being three pixels on
    top of each other) and keeps the two columns before, so each pixel is read once for each row of windows it is in.
    The window round a pixel leaves while the column to the right of it is read. At the end of a frame that column is
    the next frame's first: if it is not there yet the last window leaves without it, so no frame waits for the next.

    Timing: a transfer every cycle at both ends, frames back to back, as long as pixels come in time. A window can leave
    `LATENCY` cycles after the last transfer of the last pixel in it.

    Members:
        i: In(stream of ``group`` elements).
        o: Out(stream of ``9 * group`` elements).
    """

    LATENCY = 4

    def __init__(self, height: int, width: int, channels: int, group: int, element: IntegerFormat) -> None:
        for name, value in (("height", height), ("width", width), ("channels", channels), ("group", group)):
            require_integer(f"line_buffer.{name}", value, 1, 1 << 16)
        require(channels % group == 0, "line_buffer.group", group, f"a divisor of the {channels} channels")
        self.height, self.width, self.groups, self.group = height, width, channels // group, group
        self.element = shape_of(element)
        # The ring holds the row above the reader and `ahead` pixels, from the reader's column to the writer.
        self.banks = 3 if width > 1 else 4
        self.ahead = (self.banks - 1) * width
        super().__init__(
            {
                "i": In(stream.Signature(data.ArrayLayout(self.element, group))),
                "o": Out(stream.Signature(data.ArrayLayout(self.element, WINDOW * group))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        depth = self.width * self.groups
        lead = Signal(range(self.ahead + 1))
        pixel = data.ArrayLayout(self.element, self.group)
        rows = []
        for number in range(self.banks):
            m.submodules[f"row_{number}"] = row = storage(pixel, depth)
            rows.append((row.write_port(), row.read_port()))

        # Writer: pixels in raster order, whatever frame they belong to.
        writing = self.i.valid & self.i.ready
        m.d.comb += self.i.ready.eq(lead != self.ahead)
        write_address, write_bank = Loop("write_address", depth), Loop("write_bank", self.banks)
        written = step_through(m, writing, Loop("write_group", self.groups))
        step_through(m, writing, write_address, write_bank)
        for number, (port, _) in enumerate(rows):
            m.d.comb += [
                port.addr.eq(write_address.counter),
                port.data.eq(self.i.payload),
                port.en.eq(writing & (write_bank.counter == number)),
            ]

        # Reader: one column a step, each step as many cycles as there are groups. The window of the column before, the
        # center, leaves with it; a blank step flushes the last center of a frame when the next frame is not there.
        group, address, bank = Loop("group", self.groups), Loop("address", depth), Loop("bank", self.banks)
        x, y = Loop("x", self.width), Loop("y", self.height)
        center = Signal(data.StructLayout({"pending": 1, "first_column": 1, "last_column": 1, "ends_frame": 1}))
        available, was_blank, blank = Signal(), Signal(), Signal()
        latency = 2
        m.submodules.windows = windows = ResultQueue(self.o.payload.shape(), ResultQueue.credit(latency))
        wiring.connect(m, windows.o, wiring.flipped(self.o))

        allowed = ~group.at_start | available | (center.pending & center.ends_frame)
        stepping = allowed & (windows.room | ~center.pending)
        m.d.comb += [
            available.eq(lead >= Mux(y.at_end, 1, self.width + 1)),
            blank.eq(Mux(group.at_start, ~available, was_blank)),
            windows.launch.eq(stepping & center.pending),
        ]
        with m.If(stepping):
            m.d.sync += was_blank.eq(blank)
        stepped = step_through(m, stepping, group)
        with m.If(stepped):
            m.d.sync += [
                center.pending.eq(~blank),
                center.first_column.eq(x.at_start),
                center.last_column.eq(x.at_end),
                center.ends_frame.eq(x.at_end & y.at_end),
            ]
        step_through(m, stepped & ~blank, x, y)
        step_through(m, stepping & ~blank, address, bank)
        m.d.sync += lead.eq(lead + written - (stepped & ~blank))

        # One cycle later the column is there, in the order of the banks.
        columns = data.ArrayLayout(pixel, 3)
        column = Signal(columns)
        with m.Switch(delay(m, bank.counter, 1, "bank")):
            for middle in range(self.banks):
                with m.Case(middle):
                    order = ((middle - 1) % self.banks, middle, (middle + 1) % self.banks)
                    m.d.comb += Value.cast(column).eq(Cat(rows[source][1].data for source in order))
        m.d.comb += [read_port.addr.eq(address.counter) for _, read_port in rows]
        with m.If(delay(m, y.at_start, 1, "first_row")):
            m.d.comb += column[0].eq(0)
        with m.If(delay(m, y.at_end, 1, "last_row")):
            m.d.comb += column[2].eq(0)

        # The two columns before, for each group of channels.
        m.submodules.columns = ram = storage(data.ArrayLayout(columns, 2), self.groups)
        before, keep = ram.read_port(domain="comb"), ram.write_port()
        place = delay(m, group.counter, 1, "group")
        m.d.comb += [
            before.addr.eq(place),
            keep.addr.eq(place),
            keep.en.eq(delay(m, stepping, 1, "stepping", reset_less=False)),
            Value.cast(keep.data).eq(Cat(before.data[1], column)),
        ]
        edges = delay(m, center, 1, "center")
        left = Mux(edges.first_column, 0, Value.cast(before.data[0]))
        right = Mux(edges.last_column, 0, Value.cast(column))
        window = Signal(data.ArrayLayout(pixel, WINDOW), reset_less=True)
        for horizontal, source in enumerate((left, Value.cast(before.data[1]), right)):
            for vertical in range(3):
                size = Shape.cast(pixel).width
                m.d.sync += Value.cast(window[3 * vertical + horizontal]).eq(source[vertical * size :][:size])
        m.d.comb += [
            Value.cast(windows.arrivals.payload).eq(Value.cast(window)),
            windows.arrivals.valid.eq(delay(m, windows.launch, latency, "launched", reset_less=False)),
        ]
        return m
