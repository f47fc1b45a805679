"""What all stages have in common: weighted sums, and their requantisation group by group."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract import Stage
from quietbar.contract.engine import EngineConfig, Section
from quietbar.contract.number import BIAS

from ..arithmetic import PlacedRequantizer, shape_of
from ..stream import delay
from .memory import SCALE, SCALE_WORDS, RowMemory, store_layout

OPERAND_LATENCY = 1 + RowMemory.LATENCY
"""Cycles from a step to its weights: the address's register, and the memory."""
PRODUCT_LATENCY = OPERAND_LATENCY + 1
"""Cycles from a step to its products."""
SCALE_LATENCY = RowMemory.LATENCY + 1 + PlacedRequantizer.LATENCY
"""Cycles from totals to what the requantisers make of them."""


def products_of(m: Module, values: Sequence[Value], weights: Sequence[Value], name: str) -> list[Value]:
    """Products of operands, a cycle later."""
    pairs = zip(values, weights, strict=True)
    return [delay(m, value * weight, 1, f"{name}_{place}") for place, (value, weight) in enumerate(pairs)]


def weights_in(row: Value, count: int) -> list[Value]:
    """The weights of a row of memory."""
    return [row.word_select(place, 8).as_signed() for place in range(count)]


def accumulated(m: Module, part: Value, stage: Stage, name: str, *, last: Value, going: Value) -> Value:
    """``part`` added up from the one behind the ``last`` one on, the present one included.

    The sum is cleared behind its last part, not left out with the first: registers have a reset, adders none.
    """
    accumulator = shape_of(stage.accumulator)
    running, total = (Signal(accumulator, name=f"{name}_{kind}") for kind in ("running", "total"))
    m.d.comb += total.eq(part + running)
    with m.If(going):
        m.d.sync += running.eq(Mux(last, 0, total))
    return total


class Scale(wiring.Component):
    """Bias and requantisation of totals, ``count`` at a time.

    Timing: totals that are there while ``finished`` is high, and stay for as many cycles as they have parts, come out
    from `SCALE_LATENCY` cycles later on, a part a cycle.

    Args:
        config: of the engine.
        section: of the parameters.
        stage: formats.
        totals: that come at a time.
        count: requantisers.
        rows: of the parameters' memory, ``count`` outputs each.

    Members:
        store: In, see `store_layout`.
        totals: In.
        finished: In(1).
        whole: In(1), with ``finished``: all totals count; otherwise the first ``count`` only.
        row: In, with ``finished``: first row of parameters.
        values: Out, ``count`` results.
        saturated: Out, for each whether it was limited.
        valid, last: Out(1), results are there, and they are the last of their totals.
    """

    def __init__(
        self, config: EngineConfig, section: Section, stage: Stage, totals: int, count: int, rows: int
    ) -> None:
        self.stage, self.count, self.parts, self.rows = stage, count, totals // count, rows
        self.config, self.section = config, section
        super().__init__(
            {
                "store": In(store_layout(config)),
                "totals": In(data.ArrayLayout(shape_of(stage.accumulator), totals)),
                "finished": In(1),
                "whole": In(1, init=1),
                "row": In(range(max(rows, 2))),
                "values": Out(data.ArrayLayout(shape_of(stage.target), count)),
                "saturated": Out(count),
                "valid": Out(1),
                "last": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        part = Signal(range(max(self.parts, 2)))
        emitting, last = Signal(), Signal()
        m.d.comb += [
            emitting.eq(self.finished | (part != 0)),
            last.eq(Mux(part == 0, ~self.whole, part == self.parts - 1) if self.parts > 1 else 1),
        ]
        with m.If(emitting):
            m.d.sync += part.eq(Mux(last, 0, part + 1))
        row = Signal.like(self.row, name="row_here")
        kept = Signal.like(self.row, name="row_kept", reset_less=True)
        m.d.comb += row.eq(Mux(part == 0, self.row, kept))
        m.d.sync += kept.eq(row + 1)

        m.submodules.memory = memory = RowMemory(self.config, self.section, self.rows, SCALE_WORDS * self.count)
        m.d.comb += [memory.store.eq(self.store), memory.address.eq(row)]

        width = self.stage.accumulator.bits * self.count
        chosen = delay(m, Value.cast(self.totals).word_select(part, width), RowMemory.LATENCY, "chosen")
        for place in range(self.count):
            parameters = memory.row[place * sum(SCALE_WORDS) :][: sum(SCALE_WORDS)]
            bias, scale = parameters[: BIAS.bits].as_signed(), parameters[BIAS.bits :]
            scale = data.View(SCALE, delay(m, scale, 1, f"scale_{place}"))
            total = chosen.word_select(place, self.stage.accumulator.bits).as_signed()
            biased = Signal(signed(self.stage.accumulator.bits), name=f"biased_{place}", reset_less=True)
            m.d.sync += biased.eq(total + bias)
            m.submodules[f"requantizer_{place}"] = requantizer = PlacedRequantizer(
                self.stage.accumulator, self.stage.target
            )
            m.d.comb += [
                requantizer.accumulator.eq(biased),
                requantizer.multiplier.eq(scale.multiplier),
                requantizer.window.eq(scale.window),
                self.values[place].eq(requantizer.value),
                self.saturated[place].eq(requantizer.saturated),
            ]
        m.d.comb += [
            self.valid.eq(delay(m, emitting, SCALE_LATENCY, "valid", reset_less=False)),
            self.last.eq(delay(m, last, SCALE_LATENCY, "last")),
        ]
        return m
