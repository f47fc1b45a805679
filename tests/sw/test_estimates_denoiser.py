"""Costs of the denoising engine beside the arrays, against calculations by hand and against what was synthesized."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

from quietbar.contract import BlockConfig
from quietbar.contract.engine import EngineConfig
from quietbar.contract.errors import ConfigurationError
from quietbar.estimates import estimate
from quietbar.estimates.denoiser import (
    ENGINE_ASSUMPTIONS,
    ENGINE_CONSTANTS,
    REQUANTIZER_MHZ,
    REQUANTIZER_MW,
    REQUANTIZER_UM2,
    TILE_AREA,
    TILE_ENERGY,
    EngineHardware,
    block_energy,
    denoiser_estimate,
    engine_area,
    memory_bits,
)

BASELINE = Path(__file__).parents[2] / "hw/synth/baseline.json"
ROUND = EngineHardware(
    clock_mhz=250.0, mac_energy=1.0, requantize_energy=10.0, add_energy=2.0, memory_energy=0.5, multiplier_area=100.0,
    adder_area=50.0, requantizer_area=1000.0, memory_area=2.0,
)  # fmt: skip
ENGINE = EngineConfig(
    lanes=4, group=2, channels=8, hidden=4, height=6, width=6, blocks=2, matrix_rows=16, window_rows=16, hidden_rows=8,
    channel_rows=8, noise=False,
)  # fmt: skip
ARRAYS = estimate(nn.Conv2d(8, 8, 3, padding=1), (8, 5, 5))


def test_the_energy_of_a_block_by_hand():
    # 5 x 5 pixels, 6 channels in 2 beats of 4, 3 hidden in 2 groups of 2: the padding is computed as well.
    macs, energy = block_energy(ENGINE, BlockConfig(6, 3, 5, 5), ROUND)
    assert macs == 25 * (8 * 4 + 9 * 4 + 4 * 8)
    assert energy["MAC"] == macs
    assert energy["requantize"] == 25 * (10 * (4 + 4 + 8) + 2 * 8)
    assert energy["memory"] == 0.5 * (8 * macs + 25 * (64 * 16 + 32 * 4 + 16 * 8))
    dense, _ = block_energy(ENGINE, BlockConfig(6, 3, 5, 5, "dense"), ROUND)
    assert dense == 25 * (8 * 4 + 9 * 4 * 4 + 4 * 8)


def test_the_area_of_an_engine_by_hand():
    area = engine_area(ENGINE, ROUND)
    multipliers = 4 * 2 + 9 * 2 + 4 * 2
    assert area["multipliers"] == multipliers * 150 == ENGINE.multipliers * 150
    assert area["requantizers"] == (2 + 4) * 1000, "one each of reduce and spatial, one a lane of the mean head"
    rows = {"descriptors": 2 * 4, "matrices": 2 * 16 * 2, "window": 16 * 5, "hidden": 2 * 8 * 4, "channel": 8 * 8}
    assert memory_bits(ENGINE) == 32 * sum(rows.values()) + 2 * 6 * 4 * 8 + 14 * 8 * 8
    assert area["memories"] == 2.0 * memory_bits(ENGINE)


def test_shares_are_parts_of_the_whole_and_follow_the_clock():
    blocks = {"a": BlockConfig(8, 4, 5, 5), "b": BlockConfig(8, 4, 5, 5)}
    found = denoiser_estimate(ARRAYS, ENGINE, blocks, [300, 300], ROUND)
    assert found.latency == 600 / 0.25
    assert found.energy == 2 * sum(block_energy(ENGINE, blocks["a"], ROUND)[1].values())
    shares, of_tiles = found.shares(), found.shares(tiles=True)
    assert shares["latency"] == found.latency / (found.latency + ARRAYS.latency)
    assert of_tiles["energy"] == pytest.approx(found.energy / (found.energy + ARRAYS.energy / TILE_ENERGY))
    assert of_tiles["area"] == pytest.approx(found.area / (found.area + ARRAYS.area / TILE_AREA))
    faster = denoiser_estimate(ARRAYS, ENGINE, blocks, [300, 300], replace(ROUND, clock_mhz=500.0))
    assert faster.latency == found.latency / 2
    assert faster.energy == found.energy
    assert found.interval == 2 * 25 * max(2, 2 * 2, 2 * 2, 2 * 2) / 0.25


def test_the_constants_of_synthesis_are_those_of_the_committed_results():
    cells = json.loads(BASELINE.read_text())["results"]["requantizer"]["cells"]
    if cells.get("library") != "osu018_stdcells" or "power_mw" not in cells:
        pytest.skip("the committed synthesis is of another library, or without power")
    assert pytest.approx(cells["area_um2"], rel=0.05) == REQUANTIZER_UM2
    assert pytest.approx(cells["power_mw"]["total"], rel=0.05) == REQUANTIZER_MW
    assert cells["power_mw"]["at_mhz"] == REQUANTIZER_MHZ
    # What it is made of, a product of 32 bits and two sums, takes 3.1 + 2 x 0.1 pJ after Horowitz.
    assert ENGINE_CONSTANTS["requantize_energy"].value == pytest.approx(3.3, rel=0.3)


def test_isaacs_proportions_are_those_of_its_table():
    assert pytest.approx(TILE_ENERGY, abs=0.01) == 0.82
    assert pytest.approx(TILE_AREA, abs=0.01) == 0.33


def test_the_table_says_what_it_rests_on():
    text = denoiser_estimate(ARRAYS, ENGINE, {"a": BlockConfig(8, 4, 5, 5)}, [300]).table()
    for line in (*ENGINE_ASSUMPTIONS, *(each.derivation for each in ENGINE_CONSTANTS.values())):
        assert line in text
    assert "one engine keeps up" in text


def test_what_cannot_be_estimated_is_refused_by_name():
    with pytest.raises(ConfigurationError, match=r"estimate.blocks = 0"):
        denoiser_estimate(ARRAYS, ENGINE, {}, [])
    sampling = replace(ENGINE, noise=True)
    with pytest.raises(ConfigurationError, match=r"estimate.block.mode = 'sampling'"):
        denoiser_estimate(ARRAYS, sampling, {"a": BlockConfig(8, 4, 5, 5, mode="sampling")}, [1])
    with pytest.raises(ConfigurationError, match=r"a.width = 7"):
        denoiser_estimate(ARRAYS, ENGINE, {"a": BlockConfig(8, 4, 5, 7)}, [1])
    with pytest.raises(ConfigurationError, match=r"engine_hardware.clock_mhz = 0"):
        EngineHardware(clock_mhz=0)
    with pytest.raises(ConfigurationError, match=r"engine_hardware.mac_energy = -1"):
        EngineHardware(mac_energy=-1)
