"""The arrays of conductances: the currents of their columns, ``I_j = sum_i x_i * (G+_ij - G-_ij)``."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract import CrossbarConfig, IntegerFormat
from quietbar.contract.crossbar import CONDUCTANCE
from quietbar.contract.number import signed_bits

from ..arithmetic import shape_of
from ..counting import Loop, step_through
from ..storage import storage
from .folding import CrossbarFolding
from .placing import PAIR, WriteSignature
from .replay import step_layout


def sum_format(config: CrossbarConfig) -> IntegerFormat:
    """Format of a column current before read noise, sized by proof."""
    magnitude = config.rows * config.dac.magnitude * CONDUCTANCE.magnitude
    return IntegerFormat(signed_bits(magnitude), signed=True)


def current_layout(config: CrossbarConfig) -> data.StructLayout:
    """The current of a column; ``last`` on the last column of a frame's last vector."""
    return data.StructLayout({"current": shape_of(sum_format(config)), "last": 1})


def difference(pair: data.View) -> Value:
    """What a pair of conductances stands for."""
    return pair.plus - pair.minus


class ColumnSum(wiring.Component):
    """Multiplies ``folding.rows * folding.columns`` pairs of conductances a cycle. While a group of columns waits to be
    taken, all stands still.

    Timing: a group every ``rows / folding.rows`` cycles, `LATENCY` cycles after its last step was taken.

    Members:
        write: In(`WriteSignature`), new conductances.
        steps: In(stream of `step_layout`).
        currents: Out(stream of ``folding.columns`` elements of `current_layout`).
    """

    LATENCY = 3

    def __init__(self, config: CrossbarConfig, folding: CrossbarFolding) -> None:
        self.config, self.folding = config, folding
        super().__init__(
            {
                "write": In(WriteSignature(config, folding)),
                "steps": In(stream.Signature(step_layout(config, folding))),
                "currents": Out(stream.Signature(data.ArrayLayout(current_layout(config), folding.columns))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        rows, columns = self.folding.rows, self.folding.columns
        depth = self.folding.depth(self.config)
        m.submodules.conductances = memory = storage(data.ArrayLayout(PAIR, rows * columns), depth)
        write, read = memory.write_port(granularity=1), memory.read_port()
        m.d.comb += [write.addr.eq(self.write.address), write.en.eq(self.write.lanes)]
        m.d.comb += [write.data[lane].eq(self.write.pair) for lane in range(rows * columns)]

        advance = Signal()
        address = Loop("address", depth)
        m.d.comb += [
            advance.eq(~self.currents.valid | self.currents.ready),
            self.steps.ready.eq(advance),
            read.addr.eq(address.counter),
            read.en.eq(advance),
        ]
        step_through(m, self.steps.valid & advance, address)

        # A step is looked up, multiplied, added.
        step, looked_up = Signal(self.steps.p.shape()), Signal()
        opens, closes, last, multiplied = Signal(), Signal(), Signal(), Signal()
        products = Signal(data.ArrayLayout(signed(CONDUCTANCE.bits + 1 + self.config.dac_bits), rows * columns))
        with m.If(advance):
            m.d.sync += [
                step.eq(self.steps.payload),
                looked_up.eq(self.steps.valid),
                multiplied.eq(looked_up),
                opens.eq(step.opens),
                closes.eq(step.closes),
                last.eq(step.last),
                self.currents.valid.eq(multiplied & closes),
                self.currents.payload[-1].last.eq(last),
            ]
            m.d.sync += [
                products[row * columns + column].eq(step.codes[row] * difference(read.data[row * columns + column]))
                for row in range(rows)
                for column in range(columns)
            ]
            with m.If(multiplied):
                for column in range(columns):
                    total = self.currents.payload[column].current
                    added = sum(products[row * columns + column] for row in range(rows))
                    m.d.sync += total.eq(Mux(opens, 0, total) + added)
        return m
