"""One chip seed, one static variation: float layers, integer tiles and tiles in RTL, layer by layer of a network."""

import dataclasses
import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from quietbar.analog.programming import program
from quietbar.contract.crossbar import Fault
from quietbar.contract.drift import time_of
from quietbar.integer.converters import converter_for_chip
from quietbar.integer.tile_export import TileChip, export_tile_network
from quietbar.noise import Chip, ReadNoise, Variation, presets
from quietbar_cosim.tile_bench import run
from quietbar_hw.crossbar.folding import CrossbarFolding

SECONDS = 86_400.0
FULL = 255 * 127 * 16.0
"""The current of one row at its highest code and conductance: one step of the converter is one level."""
LAYERS = ("stage1.conv", "stage2.conv", "linear")


class Network(nn.Module):
    """Two convolutions and a linear layer, untrained."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(4)
        self.stage1, self.stage2 = self.stage(1, 4), self.stage(4, 6)
        self.linear = nn.Linear(6, 10)

    @staticmethod
    def stage(inputs, outputs):
        stage = nn.Module()
        stage.conv, stage.bn = nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs)
        return stage


CHIP = Chip(11, Variation(gain_mismatch=0.1, offset_mismatch=0.1))


@pytest.fixture(scope="module")
def layers():
    """The tiles of every layer by its name, on the chip."""
    images = torch.randint(0, 256, (8, 1, 8, 8), generator=torch.Generator().manual_seed(2))
    on = TileChip(CHIP, rows=12, time=time_of(SECONDS), stuck_at_zero=0.03, stuck_at_full=0.03)
    network = export_tile_network(Network().eval(), images, 1 / 255, on)
    return dict(zip(LAYERS, (*(layer.tiles for layer in network.layers), network.head), strict=True))


def float_devices(tiles, layer, chip=CHIP):
    """Conductances of the float layers' devices in sixteenths of a level, (inputs, outputs, 2), and how far off the
    integers' steps may be."""
    conductance = dataclasses.replace(presets.pcm, levels=128, scale="column", read=ReadNoise(), seconds=SECONDS)
    chip = dataclasses.replace(chip, conductance=conductance)
    found = program(tiles.weights.double().T.contiguous(), chip, layer)[2][0] / 25 * 127 * 16
    sample = torch.from_numpy(chip.static_draws(layer, "drift", found.numel())).reshape(found.shape)
    exponent = (1 + sample.abs() / 2) / 1024 * math.log(SECONDS / 20)
    bound = torch.expm1(exponent + math.log(2) * (0.25 / 64 + 0.5 / 256)) * found + 1.5
    faults = torch.from_numpy(chip.faults(layer, found.numel(), 0.03, 0.03)).reshape(found.shape)
    stuck = torch.where(faults == Fault.STUCK_AT_FULL, 127.0 * 16, 0.0)
    return torch.where(faults > 0, stuck, found), torch.where(faults > 0, 0.0, bound), int((faults > 0).sum())


def float_columns(tiles, layer, reference):
    """Gain and offset of the columns as the float layers draw them."""
    columns, variation = tiles.config.outputs, CHIP.variation
    gain = 1 + variation.gain_mismatch * torch.from_numpy(CHIP.static_draws(layer, "gain", columns))
    offset = reference * variation.offset_mismatch * torch.from_numpy(CHIP.static_draws(layer, "offset", columns))
    return gain, offset


def test_every_device_of_the_network_is_the_float_layer_s(layers):
    stuck = 0
    for layer, tiles in layers.items():
        expected, bound, count = float_devices(tiles, layer)
        stuck += count
        found = torch.stack(tiles.conductances, dim=-1)
        assert bool(((found - expected).abs() <= bound).all()), layer
        other = float_devices(tiles, layer, Chip(12, CHIP.variation))[0]
        assert (found - other).abs().max() > 160, "another chip would be far off"
    assert stuck > 5


@pytest.mark.parametrize("layer", LAYERS)
def test_what_rtl_reads_of_every_device_and_column_is_the_float_layer_s(layers, layer):
    """Row after row at its highest code: codes equal the integers', and the float layer's to a step of each."""
    tiles = layers[layer]
    config = dataclasses.replace(tiles.config, output="sums")
    converter = converter_for_chip(config, CHIP, layer, FULL, reference=FULL / 8)
    tiles = dataclasses.replace(tiles, config=config, converter=converter, scale=None)
    x = 255 * torch.eye(config.inputs, dtype=torch.int64)
    codes, _ = run(SimpleNamespace(config=config, x=x, setup=tiles.frames), CrossbarFolding(rows=config.rows))
    assert codes == tiles.outputs(x).flatten().tolist()

    devices, bound, _ = float_devices(tiles, layer)
    gain, offset = float_columns(tiles, layer, FULL / 8)
    current = 255 * (devices[..., 0] - devices[..., 1])
    # The offset is shared by the tiles, each of which rounds and clamps.
    own = (gain * current + offset / config.row_tiles) * 127 / FULL
    others = (config.row_tiles - 1) * offset / config.row_tiles * 127 / FULL
    steps = 255 * bound.sum(-1) * gain * 127 / FULL + 0.55 * config.row_tiles
    found = torch.tensor(codes).reshape(config.inputs, config.outputs)
    inside = own.abs() < 126
    assert bool(((found - (own + others)).abs() <= steps)[inside].all()) and inside.double().mean() > 0.8
    assert (found - found.roll(1, 0)).abs().max() > 20, "another row would be far off"
