"""The matrix-vector unit: all convolutions of a block, after their windows are made, are matrix times vector.

Organised in the manner of FINN's matrix-vector-threshold unit (M. Blott et al., "FINN-R", ACM TRETS 11(3), 2018):
``pe`` processing elements with ``simd`` multipliers each fold a matrix of ``outputs`` by ``inputs`` over time.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

from amaranth.hdl import Module, Mux, Shape, Signal, Value
from amaranth.lib import data, memory, stream, wiring
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

from ..arithmetic import Requantizer, shape_of
from ..counting import Loop, step_through
from ..storage import storage
from ..stream import LOAD, Queue, ResultQueue, delay
from .folding import ADDENDS, StageFolding, tree_levels
from .replay import Replay


def add_up(m: Module, terms: Sequence[Value], name: str) -> Value:
    """The sum of the terms, as many cycles later as the tree has levels."""
    level = 0
    while len(terms) > 1:
        sums = []
        for place in range(0, len(terms), ADDENDS):
            total = sum(terms[place + 1 : place + ADDENDS], terms[place])
            partial = Signal(total.shape(), name=f"{name}_sum_{level}_{place // ADDENDS}", reset_less=True)
            m.d.sync += partial.eq(total)
            sums.append(partial)
        terms, level = sums, level + 1
    return terms[0]


def sum_latency(simd: int) -> int:
    """Cycles from inputs to their weighted sum: operands, products, adder tree."""
    return 2 + len(tree_levels(simd))


def product_latency(simd: int) -> int:
    """Cycles from the last inputs of a fold to its first outputs: sum, total, choice, bias, requantiser, queue."""
    return sum_latency(simd) + 3 + Requantizer.LATENCY + Queue.LATENCY


def image_words(stage: Stage) -> int:
    """Words of a stage in a PARAMETERS frame: weights, biases, multipliers, shifts."""
    return stage.weights + 3 * stage.outputs


def within(value: Value, low: int, high: int) -> Value:
    """Whether ``value`` lies in the closed range."""
    return (value >= low) & (value <= high)


Channels = dict[str, memory.Memory]
"""The channel parameters: ``biases``, ``multipliers``, ``shifts``."""


class Section(enum.Enum):
    """Parts of a stage's parameter image, in order."""

    WEIGHTS = 0
    BIASES = 1
    MULTIPLIERS = 2
    SHIFTS = 3


class MatrixVectorUnit(wiring.Component):
    """``output[o] = requantize(bias[o] + sum(weight[o, i] * input[i]), multiplier[o], shift[o])``, vector by vector.

    Each cycle takes ``simd`` inputs and feeds them to ``pe`` outputs. A vector is folded ``inputs / simd`` times over
    its inputs, and that ``outputs / pe`` times over its outputs. Where the input is shared by all outputs, `Replay`
    repeats it for each fold of the outputs. In a depthwise stage each output reads ``inputs`` elements of its own: a
    transfer brings ``simd`` elements for each of ``pe`` outputs, those of the same place next to each other.

    Finished accumulators are requantised as slowly as they come, by `StageFolding.requantizers` requantisers, which is
    also the number of outputs in a transfer.

    Timing: `cycles` = ``(inputs / simd) * (outputs / pe)`` a vector, exactly, as long as vectors come in time and
    results leave; no bubble between vectors. The first results of a vector come out `latency` cycles after the last
    input of its first fold went in; a replayed vector is first taken in whole, and its first fold is read after that.

    Loading: ``load`` takes the stage's part of the PARAMETERS frame: weights, biases, multipliers, shifts. Load only
    while no vector is under way. ``refused`` pulses for a word outside its format.

    Args:
        stage: shape and formats.
        simd: inputs a cycle; divides ``stage.inputs``.
        pe: outputs a cycle; divides ``stage.outputs``.

    Members:
        load: In, see :data:`quietbar_hw.stream.LOAD`.
        refused: Out(1).
        i: In(stream of ``simd`` inputs, or ``simd * pe`` in a depthwise stage).
        o: Out(stream of ``requantizers`` outputs).
    """

    def __init__(self, stage: Stage, simd: int, pe: int) -> None:
        folding = StageFolding(simd, pe)
        folding.check(stage)
        self.stage, self.simd, self.pe = stage, simd, pe
        self.input_folds, self.output_folds = folding.input_folds(stage), folding.output_folds(stage)
        self.cycles, self.requantizers = folding.cycles(stage), folding.requantizers(stage)
        self.replayed = folding.replayed(stage)
        elements = simd if stage.shared_input else simd * pe
        super().__init__(
            {
                "load": In(LOAD),
                "refused": Out(1),
                "i": In(stream.Signature(data.ArrayLayout(shape_of(stage.source), elements))),
                "o": Out(stream.Signature(data.ArrayLayout(shape_of(stage.target), self.requantizers))),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from the last inputs of a fold to the first of its outputs."""
        return product_latency(self.simd)

    @property
    def _burst(self) -> int:
        """Transfers of outputs for each fold of the outputs."""
        return self.pe // self.requantizers

    def elaborate(self, platform: object) -> Module:
        m = Module()
        operands = self.i
        if self.replayed:
            m.submodules.replay = replay = Replay(self.i.payload.shape(), self.input_folds, self.output_folds)
            wiring.connect(m, wiring.flipped(self.i), replay.i)
            operands = replay.o

        depth = ResultQueue.credit(self.latency - Queue.LATENCY, self._burst, self.input_folds)
        m.submodules.results = results = ResultQueue(self.o.payload.shape(), depth, self._burst)
        wiring.connect(m, results.o, wiring.flipped(self.o))

        fold, address = Loop("fold", self.input_folds), Loop("address", self.cycles)
        last = fold.at_end
        going = operands.valid & operands.ready
        m.d.comb += [operands.ready.eq(~last | results.room), results.launch.eq(going & last)]
        step_through(m, going, fold)
        step_through(m, going, address)

        values = delay(m, operands.payload, 1, "operands")
        weights, channels = self._parameters(m)
        age = sum_latency(self.simd)
        total = self._totals(
            m,
            [self._weighted_sum(m, pe, values, ram, address.counter) for pe, ram in enumerate(weights)],
            first=delay(m, fold.at_start, age, "first"),
            going=delay(m, going, age, "going", reset_less=False),
            last=delay(m, going & last, age, "last", reset_less=False),
        )
        self._emit(m, total, delay(m, going & last, age + 1, "finished", reset_less=False), channels, results)
        return m

    def _weighted_sum(self, m: Module, pe: int, values: Value, weights: memory.Memory, address: Value) -> Value:
        """One processing element's sum over the ``simd`` operands of a cycle."""
        port = weights.read_port()
        m.d.comb += port.addr.eq(address)
        products = []
        for lane in range(self.simd):
            value = values[lane if self.stage.shared_input else lane * self.pe + pe]
            products.append(delay(m, value * port.data[lane], 1, f"product_{pe}_{lane}"))
        return add_up(m, products, f"pe_{pe}")

    def _totals(self, m: Module, sums: Sequence[Value], first: Value, going: Value, last: Value) -> Value:
        """The sums added up over the folds of the inputs; they stay while the next fold of the outputs is summed."""
        accumulator = shape_of(self.stage.accumulator)
        totals = Signal(data.ArrayLayout(accumulator, self.pe), reset_less=True)
        for pe, part in enumerate(sums):
            total = Signal(accumulator, name=f"total_{pe}")
            if self.input_folds == 1:
                m.d.comb += total.eq(part)
            else:
                running = Signal(accumulator, name=f"running_{pe}", reset_less=True)
                m.d.comb += total.eq(part + Mux(first, 0, running))
                with m.If(going):
                    m.d.sync += running.eq(total)
            with m.If(last):
                m.d.sync += totals[pe].eq(total)
        return totals

    def _emit(self, m: Module, totals: Value, finished: Value, channels: Channels, results: ResultQueue) -> None:
        """Bias and requantise the totals, as many at a time as there are requantisers."""
        part, channel = Loop("part", self._burst), Loop("channel", self.stage.outputs // self.requantizers)
        emitting = finished | ~part.at_start
        step_through(m, emitting, part)
        step_through(m, emitting, channel)

        group = data.ArrayLayout(shape_of(self.stage.accumulator), self.requantizers)
        chosen, biased = Signal(group, reset_less=True), Signal(group, reset_less=True)
        width = Value.cast(chosen).shape().width
        m.d.sync += Value.cast(chosen).eq(Value.cast(totals).word_select(part.counter, width))
        ports = {}
        for name, ram in channels.items():
            ports[name] = ram.read_port()
            m.d.comb += ports[name].addr.eq(channel.counter)
        multipliers, shifts = (delay(m, ports[name].data, 1, name) for name in ("multipliers", "shifts"))
        for place in range(self.requantizers):
            m.submodules[f"requantizer_{place}"] = requantizer = Requantizer(self.stage.accumulator, self.stage.target)
            m.d.sync += biased[place].eq(chosen[place] + ports["biases"].data[place])
            m.d.comb += [
                requantizer.accumulator.eq(biased[place]),
                requantizer.multiplier.eq(multipliers[place]),
                requantizer.shift.eq(shifts[place]),
                results.arrivals.payload[place].eq(requantizer.value),
            ]
        arriving = delay(m, emitting, 2 + Requantizer.LATENCY, "arriving", reset_less=False)
        m.d.comb += results.arrivals.valid.eq(arriving)

    def _parameters(self, m: Module) -> tuple[list[memory.Memory], Channels]:
        """The memories of weights, by processing element, and of channel parameters, and how they are filled."""
        word, writing = Signal(self.load.payload.word.shape(), reset_less=True), Signal()
        m.d.sync += [word.eq(self.load.payload.word), writing.eq(self.load.valid)]

        section = Signal(Section)
        lane, fold, pe = Loop("lane", self.simd), Loop("load_fold", self.input_folds), Loop("pe", self.pe)
        base = Loop("base", self.output_folds, self.input_folds)
        rows = self.stage.outputs // self.requantizers
        place, row = Loop("place", self.requantizers), Loop("row", rows)
        in_weights = section == Section.WEIGHTS
        weights_end = step_through(m, writing & in_weights, lane, fold, pe, base)
        section_end = weights_end | step_through(m, writing & ~in_weights, place, row)
        with m.If(section_end):
            m.d.sync += section.eq(Value.cast(section) + 1)
        with m.If(self.load.valid & self.load.payload.first):
            m.d.sync += section.eq(Section.WEIGHTS)
            m.d.sync += [loop.counter.eq(0) for loop in (lane, fold, pe, base, place, row) if loop.count > 1]

        weights = []
        for number in range(self.pe):
            layout = data.ArrayLayout(shape_of(WEIGHT), self.simd)
            m.submodules[f"weights_{number}"] = ram = storage(layout, self.cycles)
            port = ram.write_port(granularity=1)
            m.d.comb += [
                port.addr.eq(base.counter + fold.counter),
                Value.cast(port.data).eq(word[: WEIGHT.bits].replicate(self.simd)),
                port.en.eq(Mux(writing & in_weights & (pe.counter == number), 1 << lane.counter, 0)),
            ]
            weights.append(ram)

        channels = {}
        for name, kind, shape, in_range in (
            ("biases", Section.BIASES, shape_of(BIAS), within(word.as_signed(), BIAS.low, BIAS.high)),
            ("multipliers", Section.MULTIPLIERS, Shape(MULTIPLIER_BITS), within(word, MULTIPLIER_LOW, MULTIPLIER_HIGH)),
            ("shifts", Section.SHIFTS, Shape(SHIFT_BITS), within(word, SHIFT_LOW, SHIFT_HIGH)),
        ):
            layout = data.ArrayLayout(shape, self.requantizers)
            m.submodules[name] = ram = storage(layout, rows)
            port = ram.write_port(granularity=1)
            m.d.comb += [
                port.addr.eq(row.counter),
                Value.cast(port.data).eq(word[: shape.width].replicate(self.requantizers)),
                port.en.eq(Mux(writing & (section == kind), 1 << place.counter, 0)),
            ]
            with m.If(writing & (section == kind) & ~in_range):
                m.d.comb += self.refused.eq(1)
            channels[name] = ram
        with m.If(writing & in_weights & ~within(word.as_signed(), -WEIGHT_LIMIT, WEIGHT_LIMIT)):
            m.d.comb += self.refused.eq(1)
        return weights, channels
