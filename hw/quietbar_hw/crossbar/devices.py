"""The devices of tiles: what they were programmed to, how fast they drift, which are stuck, and what follows of it.

loss = round_shift(exponent * time, 7)         G(time) = round_shift(G * DECAY[loss mod 256], 15 + loss // 256)
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from quietbar.contract import CrossbarConfig
from quietbar.contract.crossbar import CONDUCTANCE, FAULT_BITS, STUCK_AT_FULL_CONDUCTANCE, Fault
from quietbar.contract.drift import (
    DECAY,
    DECAY_BITS,
    DECAY_FRACTION_BITS,
    EXPONENT,
    LOSS_BITS,
    LOSS_FRACTION_BITS,
    LOSS_SHIFT,
    TIME,
)

from ..counting import Loop, step_through
from ..storage import storage
from ..stream import delay
from .placing import PAIRS

FAULTS = data.StructLayout({"plus": FAULT_BITS, "minus": FAULT_BITS})
"""The faults of a weight's two devices."""

EXPONENTS = data.StructLayout({"plus": EXPONENT.bits, "minus": EXPONENT.bits})
"""Their exponents of drift."""

SIDES = ("plus", "minus")


class Devices(wiring.Component):
    """Keeps what belongs to each device, and computes the conductances of a time step from it, one pair a cycle.

    Timing: after ``refresh``, as soon as the programmer is not ``busy``, the pairs of all weights leave in order.

    Members:
        restart: In(1), what comes next is of the first weight.
        exponents: In(1), the pairs that come are exponents.
        programmed: In(`PAIRS`), from the programmer.
        faults: In(stream of `FAULTS`, always ready), by weight.
        programming: In(1), the programmer is busy.
        time: In, the time step.
        refresh: In(1), pulse: compute all pairs anew.
        pairs: Out(`PAIRS`), conductances as they are now.
        busy: Out(1), pairs are being computed.
    """

    def __init__(self, config: CrossbarConfig) -> None:
        self.config = config
        super().__init__(
            {
                "restart": In(1),
                "exponents": In(1),
                "programmed": In(PAIRS),
                "faults": In(stream.Signature(FAULTS, always_ready=True)),
                "programming": In(1),
                "time": In(TIME.bits),
                "refresh": In(1),
                "pairs": Out(PAIRS),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        place = Loop("place", self.config.weights)
        pending, walking, ends = Signal(), Signal(), Signal()
        stored = self.programmed.valid | self.faults.valid
        m.d.comb += ends.eq(step_through(m, stored | walking, place))
        with m.If(self.restart | (walking & ends)):
            m.d.sync += place.counter.eq(0)
        with m.If(self.refresh):
            m.d.sync += pending.eq(1)
        with m.If(pending & ~self.programming):
            m.d.sync += [pending.eq(0), walking.eq(1), place.counter.eq(0)]
        with m.If(walking & ends):
            m.d.sync += walking.eq(0)

        def memory(name: str, layout: data.Layout, value: Value, enable: Value) -> data.View:
            """A memory by weights; what ``place`` has, one cycle later."""
            m.submodules[name] = kept = storage(layout, self.config.weights)
            write, read = kept.write_port(), kept.read_port()
            m.d.comb += [
                write.addr.eq(place.counter),
                Value.cast(write.data).eq(value),
                write.en.eq(enable),
                read.addr.eq(place.counter),
            ]
            return read.data

        programmed = self.programmed
        conductances = programmed.valid & ~self.exponents
        pair: data.View = memory("conductances", programmed.p.shape(), Value.cast(programmed.payload), conductances)
        found, latency = {side: pair[side] for side in SIDES}, 1
        if self.config.drift:
            drawn = Cat(Value.cast(programmed.payload[side])[: EXPONENT.bits] for side in SIDES)
            exponents = memory("exponents", EXPONENTS, drawn, programmed.valid & self.exponents)
            found = {side: self._drifted(m, side, pair[side], exponents[side]) for side in SIDES}
            latency += self._DRIFT_LATENCY
        if self.config.faults:
            faults = memory("faults", FAULTS, Value.cast(self.faults.payload), self.faults.valid)
            for side in SIDES:
                fault = delay(m, faults[side], latency - 1, f"fault_{side}")
                full = Mux(fault == Fault.STUCK_AT_FULL, STUCK_AT_FULL_CONDUCTANCE, found[side])
                found[side] = Mux(fault == Fault.STUCK_AT_ZERO, 0, full)

        valid = delay(m, walking, latency, "walked", reset_less=False)
        m.d.sync += [self.pairs.valid.eq(valid), *(self.pairs.payload[side].eq(found[side]) for side in SIDES)]
        under_way = Signal(latency + 1)
        m.d.sync += under_way.eq((under_way << 1) | walking)
        m.d.comb += self.busy.eq(self.refresh | pending | walking | under_way.any())
        return m

    _DRIFT_LATENCY = 3

    def _drifted(self, m: Module, side: str, conductance: Value, exponent: Value) -> Value:
        """A conductance at this time, `_DRIFT_LATENCY` cycles later."""
        m.submodules[f"decay_{side}"] = table = Memory(shape=unsigned(DECAY_BITS), depth=len(DECAY), init=DECAY)
        decay = table.read_port()
        loss = Signal(LOSS_BITS, name=f"loss_{side}", reset_less=True)
        product = Signal(CONDUCTANCE.bits + DECAY_BITS, name=f"product_{side}", reset_less=True)
        m.d.sync += [
            loss.eq((exponent * self.time + (1 << (LOSS_SHIFT - 1))) >> LOSS_SHIFT),
            product.eq(delay(m, conductance, 2, f"programmed_{side}") * decay.data),
        ]
        m.d.comb += decay.addr.eq(loss[:LOSS_FRACTION_BITS])
        octaves = delay(m, loss[LOSS_FRACTION_BITS:], 2, f"octaves_{side}")
        return (((product >> (DECAY_FRACTION_BITS - 1)) >> octaves) + 1) >> 1
