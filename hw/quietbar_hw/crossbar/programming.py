"""Programming: from weights to conductances, with the deviation that each level is known for.

G+ = clamp((max(w, 0) << 4) + round_shift(PROGRAMMING[max(w, 0)] * eps, 15))         G- likewise from max(-w, 0)
"""

from __future__ import annotations

from amaranth.hdl import Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from quietbar.contract import INT8, CrossbarConfig
from quietbar.contract.crossbar import CONDUCTANCE, LEVEL_FRACTION_BITS, PROGRAMMING, PROGRAMMING_BITS
from quietbar.contract.gaussian import SAMPLE, SAMPLE_FRACTION_BITS, SIGMA_FRACTION_BITS

from ..arithmetic import shape_of
from ..counting import Loop, step_through
from .folding import CrossbarFolding

LEVEL_BITS = (len(PROGRAMMING) - 1).bit_length()
NOISE_SHIFT = SIGMA_FRACTION_BITS + SAMPLE_FRACTION_BITS - LEVEL_FRACTION_BITS

PAIR = data.StructLayout({"plus": shape_of(CONDUCTANCE), "minus": shape_of(CONDUCTANCE)})
"""The two conductances of a weight."""


class WriteSignature(wiring.Signature):
    """One pair of conductances into the memory.

    ``address`` is ``column fold * row folds + row fold``; in ``lanes`` the bit ``row * columns + column`` is set.
    """

    def __init__(self, config: CrossbarConfig, folding: CrossbarFolding) -> None:
        super().__init__(
            {
                "address": Out(range(max(2, folding.steps(config)))),
                "lanes": Out(folding.rows * folding.columns),
                "pair": Out(PAIR),
            }
        )


class Programmer(wiring.Component):
    """Takes the tile's weights row by row and writes their pairs of conductances.

    With noisy programming each weight uses two samples, the first for ``G+``. One conductance is made in each cycle in
    which a sample is there, so a weight takes two cycles; without noise it takes one and no sample.

    Members:
        restart: In(1), the next weight is the first.
        weights: In(stream of weights from -127 to 127), row by row.
        samples: In(stream of samples).
        write: Out(`WriteSignature`), to the conductance memory.
        busy: Out(1), a weight is on its way.
    """

    def __init__(self, config: CrossbarConfig, folding: CrossbarFolding) -> None:
        self.config, self.folding = config, folding
        super().__init__(
            {
                "restart": In(1),
                "weights": In(stream.Signature(signed(INT8.bits))),
                "samples": In(stream.Signature(shape_of(SAMPLE))),
                "write": Out(WriteSignature(config, folding)),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        pair, valid = Signal(PAIR), Signal()
        if self.config.noisy_programming:
            self._noisy_pairs(m, pair, valid)
        else:
            self._exact_pairs(m, pair, valid)
        self._write_in_order(m, pair, valid)
        return m

    def _levels(self) -> tuple[Value, Value]:
        """The target levels of ``G+`` and ``G-``."""
        weight = self.weights.payload
        return Mux(weight > 0, weight, 0), Mux(weight < 0, -weight, 0)

    def _exact_pairs(self, m: Module, pair: Signal, valid: Signal) -> None:
        plus, minus = self._levels()
        m.d.comb += [self.weights.ready.eq(1), self.samples.ready.eq(0), self.busy.eq(valid)]
        m.d.sync += [
            valid.eq(self.weights.valid),
            pair.plus.eq(plus << LEVEL_FRACTION_BITS),
            pair.minus.eq(minus << LEVEL_FRACTION_BITS),
        ]

    def _noisy_pairs(self, m: Module, pair: Signal, valid: Signal) -> None:
        m.submodules.sigmas = sigmas = Memory(
            shape=unsigned(PROGRAMMING_BITS), depth=len(PROGRAMMING), init=PROGRAMMING
        )
        sigma = sigmas.read_port()

        # A conductance goes through three stages: its level is looked up, its noise is drawn, its value is rounded.
        looked_up, drawn = Signal(), Signal()
        minus, minus_looked_up, minus_drawn = Signal(), Signal(), Signal()
        level = Signal(LEVEL_BITS)
        level_looked_up, level_drawn = Signal(LEVEL_BITS), Signal(LEVEL_BITS)
        noise = Signal(signed(PROGRAMMING_BITS + SAMPLE.bits))

        plus_level, minus_level = self._levels()
        look_up = ~looked_up | self.samples.valid
        m.d.comb += [
            level.eq(Mux(minus, minus_level, plus_level)),
            sigma.addr.eq(level),
            sigma.en.eq(look_up),
            self.samples.ready.eq(looked_up),
            self.weights.ready.eq(look_up & minus),
            self.busy.eq(minus | looked_up | drawn | valid),
        ]
        with m.If(look_up):
            m.d.sync += [looked_up.eq(self.weights.valid), minus_looked_up.eq(minus), level_looked_up.eq(level)]
            with m.If(self.weights.valid):
                m.d.sync += minus.eq(~minus)

        m.d.sync += [
            drawn.eq(looked_up & self.samples.valid),
            minus_drawn.eq(minus_looked_up),
            level_drawn.eq(level_looked_up),
            noise.eq(sigma.data * self.samples.payload),
        ]

        rounded = (noise + (1 << (NOISE_SHIFT - 1))) >> NOISE_SHIFT
        total = Signal(signed(PROGRAMMING_BITS + SAMPLE.bits - NOISE_SHIFT + 2))
        conductance = Signal(CONDUCTANCE.bits)
        m.d.comb += total.eq((level_drawn << LEVEL_FRACTION_BITS) + rounded)
        with m.If(total < CONDUCTANCE.low):
            m.d.comb += conductance.eq(CONDUCTANCE.low)
        with m.Elif(total > CONDUCTANCE.high):
            m.d.comb += conductance.eq(CONDUCTANCE.high)
        with m.Else():
            m.d.comb += conductance.eq(total)
        m.d.sync += valid.eq(drawn & minus_drawn)
        with m.If(drawn & minus_drawn):
            m.d.sync += pair.minus.eq(conductance)
        with m.Elif(drawn):
            m.d.sync += pair.plus.eq(conductance)

    def _write_in_order(self, m: Module, pair: Signal, valid: Signal) -> None:
        """Follow the weights through the tile, column by column within a row, each counted as fold and lane."""
        row_folds, column_folds = self.folding.row_folds(self.config), self.folding.column_folds(self.config)
        lanes = self.folding.rows * self.folding.columns
        column_lane = Loop("column_lane", self.folding.columns)
        column_fold = Loop("column_fold", column_folds, stride=row_folds)
        row_lane = Loop("row_lane", self.folding.rows, stride=self.folding.columns)
        row_fold = Loop("row_fold", row_folds)
        loops = (column_lane, column_fold, row_lane, row_fold)
        step_through(m, valid, *loops)
        with m.If(self.restart):
            m.d.sync += [loop.counter.eq(0) for loop in loops]
        m.d.comb += [
            self.write.address.eq(column_fold.counter + row_fold.counter),
            self.write.pair.eq(pair),
            self.write.lanes.eq(Mux(valid, Const(1, lanes) << (row_lane.counter + column_lane.counter), 0)),
        ]
