"""The matrix-vector unit: all convolutions of a block, after their windows are made, are matrix times vector.

Organised in the manner of FINN's matrix-vector-threshold unit (M. Blott et al., "FINN-R", ACM TRETS 11(3), 2018):
``pe`` processing elements with ``simd`` multipliers each fold a matrix of ``outputs`` by ``inputs`` over time.
"""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Module, Mux, Shape, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract import Stage

from ..arithmetic import Requantizer, shape_of
from ..counting import Loop, step_through
from ..stream import LOAD, Queue, ResultQueue, delay
from .folding import ADDENDS, StageFolding, tree_levels
from .parameter_memory import ParameterMemory
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
        self.stage, self.folding, self.simd, self.pe = stage, folding, simd, pe
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

        m.submodules.parameters = parameters = ParameterMemory(self.stage, self.folding)
        wiring.connect(m, wiring.flipped(self.load), parameters.load)
        m.d.comb += [self.refused.eq(parameters.refused), parameters.address.eq(address.counter)]

        values = delay(m, operands.payload, 1, "operands")
        sums = [self._weighted_sum(m, pe, values, getattr(parameters, f"weights_{pe}")) for pe in range(self.pe)]
        age = sum_latency(self.simd)
        totals = self._totals(
            m,
            sums,
            going=delay(m, going, age, "going", reset_less=False),
            last=delay(m, going & last, age, "last", reset_less=False),
        )
        finished = delay(m, going & last, age + 1, "finished", reset_less=False)
        self._emit(m, totals, finished, parameters, results)
        return m

    def _weighted_sum(self, m: Module, pe: int, values: Value, weights: Value) -> Value:
        """One processing element's sum over the ``simd`` operands of a cycle."""
        products = []
        for lane in range(self.simd):
            value = values[lane if self.stage.shared_input else lane * self.pe + pe]
            products.append(delay(m, value * weights[lane], 1, f"product_{pe}_{lane}"))
        return add_up(m, products, f"pe_{pe}")

    def _totals(self, m: Module, sums: Sequence[Value], going: Value, last: Value) -> Value:
        """The sums added up over the folds of the inputs; they stay while the next fold of the outputs is summed.

        A sum is cleared behind its last part, not left out with the first: registers have a reset, adders none.
        """
        accumulator = shape_of(self.stage.accumulator)
        totals = Signal(data.ArrayLayout(accumulator, self.pe), reset_less=True)
        for pe, part in enumerate(sums):
            total = Signal(accumulator, name=f"total_{pe}")
            if self.input_folds == 1:
                m.d.comb += total.eq(part)
            else:
                running = Signal(accumulator, name=f"running_{pe}")
                m.d.comb += total.eq(part + running)
                with m.If(going):
                    m.d.sync += running.eq(Mux(last, 0, total))
            with m.If(last):
                m.d.sync += totals[pe].eq(total)
        return totals

    def _emit(
        self, m: Module, totals: Value, finished: Value, parameters: ParameterMemory, results: ResultQueue
    ) -> None:
        """Bias and requantise the totals, as many at a time as there are requantisers."""
        part, row = Loop("part", self._burst), Loop("row", self.stage.outputs // self.requantizers)
        emitting = finished | ~part.at_start
        step_through(m, emitting, part)
        step_through(m, emitting, row)

        group = data.ArrayLayout(shape_of(self.stage.accumulator), self.requantizers)
        chosen, biased = Signal(group, reset_less=True), Signal(group, reset_less=True)
        width = Shape.cast(group).width
        m.d.comb += parameters.row.eq(row.counter)
        m.d.sync += Value.cast(chosen).eq(Value.cast(totals).word_select(part.counter, width))
        multipliers = delay(m, parameters.multipliers, 1, "multipliers")
        shifts = delay(m, parameters.shifts, 1, "shifts")
        for place in range(self.requantizers):
            m.submodules[f"requantizer_{place}"] = requantizer = Requantizer(self.stage.accumulator, self.stage.target)
            m.d.sync += biased[place].eq(chosen[place] + parameters.biases[place])
            m.d.comb += [
                requantizer.accumulator.eq(biased[place]),
                requantizer.multiplier.eq(multipliers[place]),
                requantizer.shift.eq(shifts[place]),
                results.arrivals.payload[place].eq(requantizer.value),
            ]
        arriving = delay(m, emitting, 2 + Requantizer.LATENCY, "arriving", reset_less=False)
        m.d.comb += results.arrivals.valid.eq(arriving)
