"""Tiles with all that they can have, in Verilog against the integer reference; and the faults that must be caught."""

from dataclasses import replace

import pytest
import torch
from amaranth.hdl import Fragment

from quietbar.contract import CrossbarConfig
from quietbar.contract.crossbar import READ_SIGMA
from quietbar.contract.drift import TIME
from quietbar.contract.number import BIAS, WEIGHT_LIMIT
from quietbar.contract.requantize import MULTIPLIER_HIGH, MULTIPLIER_LOW
from quietbar.integer.crossbar import Converter, Scale
from quietbar_cosim.build import design_of
from quietbar_cosim.crossbars import TileSubject, crossbar_vectors
from quietbar_cosim.mismatch import MismatchError
from quietbar_cosim.parts import Parts
from quietbar_cosim.planting import planted
from quietbar_cosim.replay import load, verify
from quietbar_cosim.stalls import random_stalls
from quietbar_cosim.tile_bench import Case
from quietbar_cosim.vectors import Job, Scenario, jobs, scenarios
from quietbar_hw.arithmetic import requantize
from quietbar_hw.crossbar import column_sum
from quietbar_hw.crossbar.converter import Converter as ConverterHardware
from quietbar_hw.crossbar.devices import Devices
from quietbar_hw.crossbar.folding import CrossbarFolding
from quietbar_hw.crossbar.partial_sums import PartialSums
from quietbar_hw.crossbar.top import AxiCrossbar

SEED = 20

SERIAL = (
    CrossbarConfig(12, 4, dac_bits=1, slices=8, row_tiles=3, faults=True, drift=True, output="unsigned"),
    CrossbarFolding(6, 4, 6, 4),
)
SMALL = (
    CrossbarConfig(3, 2, dac_bits=2, slices=4, row_tiles=2, faults=True, drift=True),
    CrossbarFolding(3, 1, 3, 2),
)

FAULTS = {
    "rounding": (requantize, "round_off", "+ 1) >> 1", ") >> 1"),
    "sign": (column_sum, "difference", "pair.plus - pair.minus", "pair.plus + pair.minus"),
    "map": (Devices, "elaborate", "delay(m, faults[side], latency - 1,", "delay(m, faults[side], latency,"),
    "decay": (Devices, "_drifted", "eq(loss[:LOSS_FRACTION_BITS])", "eq(loss[:LOSS_FRACTION_BITS] + 1)"),
    "serial": (PartialSums, "elaborate", "stride=config.dac_bits", "stride=1"),
    "sample": (
        ConverterHardware,
        "elaborate",
        "ready.eq(self.currents.valid & advance)",
        "ready.eq(self.currents.valid)",
    ),
    "dropped": (PartialSums, "elaborate", "Mux(tile.at_start & part.at_start, 0,", "Mux(tile.at_start, 0,"),
}
"""What is planted where: rounding constant dropped, sign of G- lost, fault map shifted by one device, drift table read
one entry too far, slices of inputs one place apart, samples skipped under stall, sums of earlier slices lost."""


class Faulty(AxiCrossbar):
    """Tiles with a fault in them."""

    def __init__(self, fault):
        self.fault = FAULTS[fault]
        super().__init__(*SMALL)

    def elaborate(self, platform):
        with planted(*self.fault):
            return Fragment.get(super().elaborate(platform), platform)


@pytest.fixture(scope="module")
def design():
    """Bit-serial tiles, small tiles and their faulty twins, side by side in one simulator."""
    parts = {"serial": AxiCrossbar(*SERIAL), "sound": AxiCrossbar(*SMALL)}
    return design_of(Parts({**parts, **{f"{fault}_fault": Faulty(fault) for fault in FAULTS}}), "crossbar_tiles")


def test_tiles_equal_the_reference_however_their_ends_stall(design):
    config, folding = SERIAL
    case = Case(config, seed=SEED, vectors=24)
    made = crossbar_vectors(case.tiles, case.x, folding, frame_vectors=8, prefix="serial_")
    assert case.tiles.outputs(case.x).unique().numel() > 30, "outputs must be many"
    results = verify("crossbar tiles", design, jobs("serial", made, scenarios(SEED, made.output_frame_beats)))
    assert [result.outputs for result in results] == [24 * config.outputs] * 5


def test_extremes_of_every_operand(design):
    """Weights, inputs, times, faults, offsets, gains, shifts, biases and read sigma at the ends of their ranges."""
    config, folding = SERIAL
    weights = (WEIGHT_LIMIT * torch.tensor([1, -1, 0, 1])).repeat(config.inputs, 1)
    x = torch.stack([torch.full((config.inputs,), code) for code in (255, 0, 1, 128)])
    ends, gains = (BIAS.low, BIAS.high, 0, BIAS.high), (MULTIPLIER_LOW, MULTIPLIER_HIGH) * 2
    chosen = []
    for time, fault, shifts, sigma in (
        (TIME.low, 0, (1, 47, 30, 30), READ_SIGMA.high),
        (TIME.high, 1, (33, 24, 30, 28), 0),
        (TIME.high, 2, (28, 26, 24, 22), READ_SIGMA.high),
    ):
        tiles = replace(
            Case(config).tiles,
            weights=weights,
            time=time,
            faults=torch.full((config.inputs, config.outputs, 2), fault),
            converter=Converter(ends * 3, gains * 3, shifts * 3, sigma),
            scale=Scale((BIAS.low, BIAS.high, 0, 1000), gains[::-1], (1, 47, 20, 24)),
        )
        chosen.append(
            Job(f"time {time}, fault {fault}", crossbar_vectors(tiles, x, folding, prefix="serial_"), Scenario())
        )
    verify("crossbar tiles extremes", design, chosen)


@pytest.mark.parametrize("part", ["sound", *FAULTS])
def test_planted_faults_are_caught_named_and_replay(design, tmp_path, part):
    config, folding = SMALL
    case = Case(config, seed=SEED, vectors=24)
    prefix = "sound_" if part == "sound" else f"{part}_fault_"
    stalled = Scenario("random stalls", random_stalls(0.4, SEED), random_stalls(0.6, SEED + 1))
    vectors = crossbar_vectors(case.tiles, case.x, folding, prefix=prefix)
    job = Job(part, vectors, stalled, TileSubject(case.tiles, case.x))
    if part == "sound":
        verify("planted", design, [job], folder=tmp_path)
        return
    with pytest.raises(MismatchError, match=r"vector \d+, column \d: expected -?\d+, got -?\d+") as caught:
        verify("planted", design, [job], folder=tmp_path)
    print(f"{part}: {caught.value.comparison.differing} of {caught.value.comparison.outputs} outputs differ")
    assert "slice 3, tile 1: current" in str(caught.value)
    (folder,) = (tmp_path / "replay").iterdir()
    again = load(folder)
    assert again.compare(again.run()).first[0] == caught.value.comparison.first[0]
