# amaranth: UnusedElaboratable=no
"""The matrix-vector unit equals the contract for any folding, and takes exactly the cycles that it says."""

import random
from dataclasses import dataclass

import pytest

from quietbar.contract import BIAS, INT8, UINT8, WEIGHT_LIMIT, ConfigurationError, IntegerFormat, Stage, requantize
from quietbar.contract.requantize import MULTIPLIER_HIGH, MULTIPLIER_LOW
from quietbar.contract.stream import to_words
from quietbar_hw.conv import MatrixVectorUnit
from quietbar_hw.conv.folding import StageFolding
from quietbar_hw.simulation import run_streams

REDUCE = Stage("reduce", 4, 12, INT8, UINT8)
DEPTHWISE = Stage("spatial", 6, 9, UINT8, UINT8, shared_input=False)
HEAD = Stage("mean", 8, 4, UINT8, IntegerFormat(12, signed=True))
SINGLE = Stage("single", 1, 1, UINT8, UINT8)
EVERY = [
    (stage, simd, pe)
    for stage, foldings in (
        (REDUCE, [(1, 1), (3, 2), (4, 4), (12, 1), (12, 4), (2, 4)]),
        (DEPTHWISE, [(1, 1), (3, 2), (9, 1), (9, 3), (9, 6), (1, 6)]),
        (HEAD, [(1, 8), (4, 1), (4, 4), (2, 2), (4, 8)]),
        (SINGLE, [(1, 1)]),
    )
    for simd, pe in foldings
]


@dataclass
class Layer:
    """A stage with parameters."""

    stage: Stage
    weights: list
    biases: list
    multipliers: list
    shifts: list

    @classmethod
    def random(cls, stage, source, extreme=False):
        """Ordinary parameters, or those that drive the accumulators to their bounds."""
        outputs, inputs = range(stage.outputs), range(stage.inputs)
        if extreme:
            signs = [source.choice((-1, 1)) for _ in outputs]
            return cls(
                stage,
                [[sign * WEIGHT_LIMIT for _ in inputs] for sign in signs],
                [BIAS.high if sign > 0 else BIAS.low for sign in signs],
                [MULTIPLIER_HIGH for _ in outputs],
                [stage.accumulator.bits + 16 - stage.target.bits for _ in outputs],
            )
        # The deviation of the sums is near 2**14 per root of the inputs; this brings them to a good part of the target.
        middle = 30 + (stage.inputs.bit_length() - 1) // 2 - stage.target.bits
        return cls(
            stage,
            [[source.randint(-WEIGHT_LIMIT, WEIGHT_LIMIT) for _ in inputs] for _ in outputs],
            [source.randint(-20000, 20000) for _ in outputs],
            [source.randint(MULTIPLIER_LOW, MULTIPLIER_HIGH) for _ in outputs],
            [middle + source.randint(0, 2) for _ in outputs],
        )

    @property
    def words(self):
        values = [weight for row in self.weights for weight in row]
        return to_words([*values, *self.biases, *self.multipliers, *self.shifts])

    def vectors(self, source, count, extreme=False):
        """Inputs by vector and output (shared ones once)."""
        low, high = self.stage.source.low, self.stage.source.high
        choose = (lambda: source.choice((low, high))) if extreme else (lambda: source.randint(low, high))
        rows = 1 if self.stage.shared_input else self.stage.outputs
        return [[[choose() for _ in range(self.stage.inputs)] for _ in range(rows)] for _ in range(count)]

    def outputs(self, vector):
        for output in range(self.stage.outputs):
            row = vector[0 if self.stage.shared_input else output]
            total = self.biases[output] + sum(a * b for a, b in zip(self.weights[output], row, strict=True))
            target = self.stage.target
            yield requantize(total, self.multipliers[output], self.shifts[output], target.low, target.high)

    def transfers(self, vector, simd, pe):
        """A vector as the unit takes it in."""
        if self.stage.shared_input:
            pe = self.stage.outputs
        for first in range(0, self.stage.outputs, pe):
            rows = vector if self.stage.shared_input else vector[first : first + pe]
            for start in range(0, self.stage.inputs, simd):
                yield [row[place] for place in range(start, start + simd) for row in rows]


def run_unit(layer, simd, pe, vectors, broken=(), **options):
    """The unit's outputs, and its cycles after loading; ``broken`` words are loaded before the layer's own."""
    unit = MatrixVectorUnit(layer.stage, simd, pe)
    load = [{"word": word, "first": not place} for words in (broken, layer.words) for place, word in enumerate(words)]
    inputs = [transfer for vector in vectors for transfer in layer.transfers(vector, simd, pe)]
    outputs = len(vectors) * layer.stage.outputs // StageFolding(simd, pe).requantizers(layer.stage)
    found = run_streams(unit, {"load": load, "i": inputs}, {"o": outputs}, load=["load"], **options)
    return [value for transfer in found["o"] for value in transfer], found["cycles"][0] - len(load)


@pytest.mark.parametrize(("stage", "simd", "pe"), EVERY, ids=lambda value: getattr(value, "name", value))
def test_equals_the_contract(stage, simd, pe):
    source = random.Random(f"{stage.name} {simd} {pe}")
    for extreme, stall in ((False, 0.0), (False, 0.4), (True, 0.0)):
        layer = Layer.random(stage, source, extreme)
        vectors = layer.vectors(source, 8, extreme)
        expected = [value for vector in vectors for value in layer.outputs(vector)]
        assert run_unit(layer, simd, pe, vectors, stall=stall, seed=4)[0] == expected
        if stage is not SINGLE and not extreme:
            assert len(set(expected)) > 4, "an expectation that hardly varies proves little"


@pytest.mark.parametrize(("stage", "simd", "pe"), EVERY, ids=lambda value: getattr(value, "name", value))
def test_takes_the_cycles_of_its_folding(stage, simd, pe):
    layer = Layer.random(stage, random.Random(1))
    few, many = (run_unit(layer, simd, pe, layer.vectors(random.Random(2), count))[1] for count in (6, 16))
    assert many - few == 10 * StageFolding(simd, pe).cycles(stage)


def test_catches_a_flipped_weight():
    source = random.Random(3)
    layer = Layer.random(HEAD, source)
    vectors = layer.vectors(source, 4)
    expected = [value for vector in vectors for value in layer.outputs(vector)]
    layer.weights[1][2] = -layer.weights[1][2]
    assert run_unit(layer, 4, 4, vectors)[0] != expected


def test_loading_anew_replaces_what_a_broken_image_left():
    source = random.Random(5)
    layer, other = Layer.random(HEAD, source), Layer.random(HEAD, source)
    vectors = layer.vectors(source, 4)
    expected = [value for vector in vectors for value in layer.outputs(vector)]
    for cut in (1, 7, len(layer.words) - 1):
        assert run_unit(layer, 2, 4, vectors, other.words[:cut])[0] == expected


@pytest.mark.parametrize(
    ("stage", "simd", "pe", "message"),
    [
        (REDUCE, 5, 1, "reduce.simd = 5: must be a divisor of 12 inputs"),
        (REDUCE, 4, 3, "reduce.pe = 3: must be a divisor of 4 outputs"),
        (REDUCE, 0, 1, "folding.simd = 0: must be an integer from 1"),
    ],
)
def test_refuses_an_uneven_folding(stage, simd, pe, message):
    with pytest.raises(ConfigurationError, match=message):
        MatrixVectorUnit(stage, simd, pe)
