"""A buffer that emits each vector several times, while the next one comes in."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, ShapeLike, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract import require_integer

from ..counting import Loop, step_through
from ..storage import storage


class Replay(wiring.Component):
    """Emits each vector of ``length`` transfers ``repeats`` times in a row.

    Two vectors fit in the memory: one is read while the next is written.

    Timing: a transfer every cycle at the output as long as vectors come in time; the first element can leave one cycle
    after the last of its vector came.
    """

    LATENCY = 1

    def __init__(self, shape: ShapeLike, length: int, repeats: int) -> None:
        require_integer("replay.length", length, 1, 1 << 24)
        require_integer("replay.repeats", repeats, 1, 1 << 24)
        self.shape, self.length, self.repeats = shape, length, repeats
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        depth = 2 * self.length
        m.submodules.memory = ram = storage(self.shape, depth)
        write_port, read_port = ram.write_port(), ram.read_port(domain="comb")
        write_address, read_address = Signal(range(depth)), Signal(range(depth))
        vectors = Signal(range(3))

        def at_end(address: Signal) -> Signal:
            return (address == self.length - 1) | (address == depth - 1)

        writing, reading = self.i.valid & self.i.ready, self.o.valid & self.o.ready
        repeat = Loop("repeat", self.repeats)
        filled = writing & at_end(write_address)
        ended = reading & at_end(read_address)
        emptied = step_through(m, ended, repeat)
        m.d.comb += [
            self.i.ready.eq(vectors != 2),
            self.o.valid.eq(vectors != 0),
            self.o.payload.eq(read_port.data),
            write_port.addr.eq(write_address),
            write_port.data.eq(self.i.payload),
            write_port.en.eq(writing),
            read_port.addr.eq(read_address),
        ]
        m.d.sync += vectors.eq(vectors + filled - emptied)
        with m.If(writing):
            m.d.sync += write_address.eq(Mux(write_address == depth - 1, 0, write_address + 1))
        with m.If(emptied):
            m.d.sync += read_address.eq(Mux(read_address == depth - 1, 0, self.length))
        with m.Elif(ended):
            m.d.sync += read_address.eq(Mux(read_address == depth - 1, self.length, 0))
        with m.Elif(reading):
            m.d.sync += read_address.eq(read_address + 1)
        return m
