"""Programming: from weights to conductances, with the deviation that each level is known for.

G+ = clamp((max(w, 0) << 4) + round_shift(PROGRAMMING[max(w, 0)] * eps, 15))         G- likewise from max(-w, 0)

In a second pass over the same weights the devices draw their exponents of drift:

exponent = clamp(EXPONENT_MEAN[level] + round_shift((EXPONENT_SIGMA[level] << 4) * eps, 15))
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from quietbar.contract import INT8, CrossbarConfig
from quietbar.contract.crossbar import CONDUCTANCE, LEVEL_FRACTION_BITS, PROGRAMMING, PROGRAMMING_BITS
from quietbar.contract.drift import EXPONENT, EXPONENT_MEAN, EXPONENT_SIGMA
from quietbar.contract.gaussian import SAMPLE, SAMPLE_FRACTION_BITS, SIGMA_FRACTION_BITS

from ..arithmetic import shape_of
from .placing import PAIRS

LEVEL_BITS = (len(PROGRAMMING) - 1).bit_length()
NOISE_SHIFT = SIGMA_FRACTION_BITS + SAMPLE_FRACTION_BITS - LEVEL_FRACTION_BITS
EXPONENT_PLACES = NOISE_SHIFT - SAMPLE_FRACTION_BITS
"""By so many places the deviations of exponents lie higher, so that they are rounded where conductances are."""


class Programmer(wiring.Component):
    """Takes the weights row by row and makes their pairs of conductances, or of exponents.

    With noisy programming each weight uses two samples, the first for ``G+``. One number is made in each cycle in which
    a sample is there, so a weight takes two cycles; without noise it takes one and no sample.

    Members:
        exponents: In(1), the weights ask for exponents; steady from the first to the last.
        weights: In(stream of weights from -127 to 127), row by row.
        samples: In(stream of samples).
        pairs: Out(`PAIRS`), of conductances or of exponents.
        busy: Out(1), a weight is on its way.
    """

    def __init__(self, config: CrossbarConfig) -> None:
        self.config = config
        super().__init__(
            {
                "exponents": In(1),
                "weights": In(stream.Signature(signed(INT8.bits))),
                "samples": In(stream.Signature(shape_of(SAMPLE))),
                "pairs": Out(PAIRS),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if self.config.noisy_programming:
            self._noisy_pairs(m, self.pairs.payload, self.pairs.valid)
        else:
            self._exact_pairs(m, self.pairs.payload, self.pairs.valid)
        return m

    def _levels(self) -> tuple[Value, Value]:
        """The target levels of ``G+`` and ``G-``."""
        weight = self.weights.payload
        return Mux(weight > 0, weight, 0), Mux(weight < 0, -weight, 0)

    def _exact_pairs(self, m: Module, pair: Value, valid: Value) -> None:
        m.d.comb += [self.weights.ready.eq(1), self.samples.ready.eq(0), self.busy.eq(valid)]
        m.d.sync += valid.eq(self.weights.valid)
        if self.config.drift:
            m.submodules.means = means = Memory(shape=unsigned(EXPONENT.bits), depth=128, init=EXPONENT_MEAN)
        for side, level in zip((pair.plus, pair.minus), self._levels(), strict=True):
            m.d.sync += side.eq(level << LEVEL_FRACTION_BITS)
            if self.config.drift:
                mean = means.read_port(domain="comb")
                m.d.comb += mean.addr.eq(level)
                with m.If(self.exponents):
                    m.d.sync += side.eq(mean.data)

    def _noisy_pairs(self, m: Module, pair: Value, valid: Value) -> None:
        deviations = [*PROGRAMMING]
        if self.config.drift:
            deviations += [sigma << EXPONENT_PLACES for sigma in EXPONENT_SIGMA]
        m.submodules.sigmas = sigmas = Memory(shape=unsigned(PROGRAMMING_BITS), depth=len(deviations), init=deviations)
        sigma = sigmas.read_port()

        # A number goes through three stages: its level is looked up, its noise is drawn, its value is rounded.
        looked_up, drawn = Signal(), Signal()
        minus, minus_looked_up, minus_drawn = Signal(), Signal(), Signal()
        level = Signal(LEVEL_BITS)
        target_looked_up, target_drawn = Signal(CONDUCTANCE.bits), Signal(CONDUCTANCE.bits)
        noise = Signal(signed(PROGRAMMING_BITS + SAMPLE.bits))

        plus_level, minus_level = self._levels()
        look_up = ~looked_up | self.samples.valid
        target = level << LEVEL_FRACTION_BITS
        highest: Value | int = CONDUCTANCE.high
        if self.config.drift:
            m.submodules.means = means = Memory(shape=unsigned(EXPONENT.bits), depth=128, init=EXPONENT_MEAN)
            mean = means.read_port(domain="comb")
            m.d.comb += mean.addr.eq(level)
            target = Mux(self.exponents, mean.data, target)
            highest = Mux(self.exponents, EXPONENT.high, CONDUCTANCE.high)
        m.d.comb += [
            level.eq(Mux(minus, minus_level, plus_level)),
            sigma.addr.eq(Cat(level, self.exponents) if self.config.drift else level),
            sigma.en.eq(look_up),
            self.samples.ready.eq(looked_up),
            self.weights.ready.eq(look_up & minus),
            self.busy.eq(minus | looked_up | drawn | valid),
        ]
        with m.If(look_up):
            m.d.sync += [looked_up.eq(self.weights.valid), minus_looked_up.eq(minus), target_looked_up.eq(target)]
            with m.If(self.weights.valid):
                m.d.sync += minus.eq(~minus)

        m.d.sync += [
            drawn.eq(looked_up & self.samples.valid),
            minus_drawn.eq(minus_looked_up),
            target_drawn.eq(target_looked_up),
            noise.eq(sigma.data * self.samples.payload),
        ]

        rounded = (noise + (1 << (NOISE_SHIFT - 1))) >> NOISE_SHIFT
        total = Signal(signed(PROGRAMMING_BITS + SAMPLE.bits - NOISE_SHIFT + 2))
        value = Signal(CONDUCTANCE.bits)
        m.d.comb += total.eq(target_drawn + rounded)
        with m.If(total < 0):
            m.d.comb += value.eq(0)
        with m.Elif(total > highest):
            m.d.comb += value.eq(highest)
        with m.Else():
            m.d.comb += value.eq(total)
        m.d.sync += valid.eq(drawn & minus_drawn)
        with m.If(drawn & minus_drawn):
            m.d.sync += pair.minus.eq(value)
        with m.Elif(drawn):
            m.d.sync += pair.plus.eq(value)
