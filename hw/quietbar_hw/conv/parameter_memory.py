"""The parameters of a stage: written word by word, read as the stage's folding wants them."""

from __future__ import annotations

import enum

from amaranth.hdl import Module, Mux, Shape, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract import BIAS, WEIGHT_LIMIT, Stage
from quietbar.contract.number import WEIGHT
from quietbar.contract.requantize import (
    MULTIPLIER_BITS,
    MULTIPLIER_HIGH,
    MULTIPLIER_LOW,
    SHIFT_BITS,
    SHIFT_HIGH,
    SHIFT_LOW,
)

from ..arithmetic import shape_of
from ..counting import Loop, step_through
from ..storage import storage
from ..stream import LOAD
from .folding import StageFolding


class Section(enum.Enum):
    """Parts of a stage's parameter image, in order."""

    WEIGHTS = 0
    BIASES = 1
    MULTIPLIERS = 2
    SHIFTS = 3


def image_words(stage: Stage) -> int:
    """Words of a stage in a PARAMETERS frame: weights, biases, multipliers, shifts."""
    return stage.weights + 3 * stage.outputs


def _within(value: Value, low: int, high: int) -> Value:
    return (value >= low) & (value <= high)


RANGES = {
    Section.WEIGHTS: (-WEIGHT_LIMIT, WEIGHT_LIMIT),
    Section.BIASES: (BIAS.low, BIAS.high),
    Section.MULTIPLIERS: (MULTIPLIER_LOW, MULTIPLIER_HIGH),
    Section.SHIFTS: (SHIFT_LOW, SHIFT_HIGH),
}
"""What a word may be, by the section that it is in."""


class ParameterMemory(wiring.Component):
    """Weights in a memory for each processing element; biases, multipliers and shifts for each group of requantisers.

    Timing: parameters are there one cycle after their address. A word can be written every cycle and is in place two
    cycles later; ``refused`` pulses one cycle after a word that is not in its range. The first word of an image starts
    afresh, whatever came before.

    Members:
        load: In, see :data:`quietbar_hw.stream.LOAD`: weights (output by output), biases, multipliers, shifts.
        refused: Out(1).
        address: In, fold of the outputs times ``input_folds`` plus fold of the inputs.
        weights_0, weights_1, ...: Out(``simd`` weights), by processing element.
        row: In, group of outputs.
        biases, multipliers, shifts: Out(one for each requantiser).
    """

    def __init__(self, stage: Stage, folding: StageFolding) -> None:
        self.stage, self.folding = stage, folding
        self.requantizers = folding.requantizers(stage)
        self.rows = stage.outputs // self.requantizers
        self.weights = data.ArrayLayout(shape_of(WEIGHT), folding.simd)
        self.channels = {
            Section.BIASES: data.ArrayLayout(shape_of(BIAS), self.requantizers),
            Section.MULTIPLIERS: data.ArrayLayout(MULTIPLIER_BITS, self.requantizers),
            Section.SHIFTS: data.ArrayLayout(SHIFT_BITS, self.requantizers),
        }
        super().__init__(
            {
                "load": In(LOAD),
                "refused": Out(1),
                "address": In(range(max(folding.cycles(stage), 2))),
                **{f"weights_{number}": Out(self.weights) for number in range(folding.pe)},
                "row": In(range(max(self.rows, 2))),
                **{section.name.lower(): Out(layout) for section, layout in self.channels.items()},
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        stage, simd, pe = self.stage, self.folding.simd, self.folding.pe
        input_folds, output_folds = self.folding.input_folds(stage), self.folding.output_folds(stage)
        word, writing = Signal(len(self.load.payload.word), reset_less=True), Signal()
        m.d.sync += [word.eq(self.load.payload.word), writing.eq(self.load.valid)]

        # Where the word goes: the loops of the image, the innermost first.
        section = Signal(Section)
        in_weights = section == Section.WEIGHTS
        lane, fold, element = Loop("lane", simd), Loop("fold", input_folds), Loop("element", pe)
        base = Loop("base", output_folds, input_folds)
        place, row = Loop("place", self.requantizers), Loop("row", self.rows)
        weights_end = step_through(m, writing & in_weights, lane, fold, element, base)
        section_end = weights_end | step_through(m, writing & ~in_weights, place, row)
        with m.If(section_end):
            m.d.sync += section.eq(Value.cast(section) + 1)
        with m.If(self.load.valid & self.load.payload.first):
            m.d.sync += section.eq(Section.WEIGHTS)
            m.d.sync += [loop.counter.eq(0) for loop in (lane, fold, element, base, place, row) if loop.count > 1]

        with m.Switch(section):
            for part, (low, high) in RANGES.items():
                with m.Case(part):
                    m.d.comb += self.refused.eq(writing & ~_within(word.as_signed(), low, high))

        for number in range(pe):
            self._memory(
                m,
                f"weights_{number}",
                rows=input_folds * output_folds,
                write=(writing & in_weights & (element.counter == number), base.counter + fold.counter, lane.counter),
                word=word,
                read_address=self.address,
            )
        for part in self.channels:
            self._memory(
                m,
                part.name.lower(),
                rows=self.rows,
                write=(writing & (section == part), row.counter, place.counter),
                word=word,
                read_address=self.row,
            )
        return m

    def _memory(
        self, m: Module, name: str, rows: int, write: tuple[Value, Value, Value], word: Value, read_address: Value
    ) -> None:
        """The memory behind the member ``name``; ``write`` says when, in which row and at which place of it."""
        output = getattr(self, name)
        layout = output.shape()
        m.submodules[name] = ram = storage(layout, rows)
        reading, writing = ram.read_port(), ram.write_port(granularity=1)
        enabled, row, place = write
        bits = Shape.cast(layout.elem_shape).width
        m.d.comb += [
            reading.addr.eq(read_address),
            output.eq(reading.data),
            writing.addr.eq(row),
            Value.cast(writing.data).eq(word[:bits].replicate(layout.length)),
            writing.en.eq(Mux(enabled, 1 << place, 0)),
        ]
