"""A whole convolution layer of ResNet-20, on real images: tiles with partial sums and a denoiser in Verilog."""

import os
from pathlib import Path

import pytest
import torch
from torch import nn

from quietbar import data, models
from quietbar.contract import BlockConfig, CrossbarConfig
from quietbar.integer import random_parameters
from quietbar.integer.crossbar import converter_for_chip, design_scale, draw_faults
from quietbar.integer.tiles import Tiles
from quietbar.noise import Chip, Variation
from quietbar_cosim.crossbars import mixed_signal_design, mixed_signal_vectors
from quietbar_cosim.replay import verify
from quietbar_cosim.stalls import random_stalls
from quietbar_cosim.vectors import Job, Scenario
from quietbar_hw.crossbar.folding import CrossbarFolding
from quietbar_hw.denoiser import Folding

FOLDER = Path(os.environ.get("QUIETBAR_DATA", "missing"))
THERE = all((FOLDER / name).is_dir() for name in ("cifar-10-batches-py", "cifar10_resnets"))
CONFIG = CrossbarConfig(72, 16, row_tiles=2, faults=True, drift=True, output="unsigned")
BLOCK = BlockConfig(channels=16, hidden=4, height=32, width=32)
DAY = 386


@pytest.mark.skipif(not THERE, reason="needs CIFAR-10 and the published ResNet-20 in QUIETBAR_DATA")
def test_a_layer_of_resnet20_runs_through_tiles_and_denoiser():
    network = models.load_pretrained("resnet20").eval()
    block = network.layer1[0]
    inputs, _ = next(iter(data.load("cifar10").batches("test", 2)))
    with torch.inference_mode():
        before = torch.relu(network.bn1(network.conv1(inputs)))
    weight, norm = block.conv1.weight.detach().double(), block.bn1
    factor = norm.weight.detach().double() / (norm.running_var.double() + norm.eps).sqrt()
    bias = norm.bias.detach().double() - norm.running_mean.double() * factor
    matrix = (weight.flatten(1) * factor[:, None]).t()
    levels = (matrix / matrix.abs().max() * 127).round().long()

    step = float(before.max()) / 255
    codes = (before / step).round()
    patches = nn.functional.unfold(codes, 3, padding=1).transpose(1, 2).long()
    currents = patches.double() @ (16.0 * levels.double())
    chip = Chip(7, Variation(sigma=0.1, gain_mismatch=0.05, offset_mismatch=0.05))
    full_scale = float(currents.abs().max())
    converter = converter_for_chip(CONFIG, chip, "layer1.0.conv1", full_scale, float(currents.std()))
    real = float(matrix.abs().max()) * step / (127 * 16)
    output_step = float((currents * real + bias).max()) / 255
    scale = design_scale(CONFIG, full_scale / 127 * real / output_step, bias / output_step)
    faults = draw_faults(CONFIG, chip, "layer1.0.conv1", 0.01, 0.001)
    tiles = Tiles(CONFIG, levels, converter, 1, 2, scale, drift_seed=3, time=DAY, faults=faults)
    assert tiles.outputs(patches).unique().numel() > 50

    folding = CrossbarFolding(9, 2, 72, 1)
    x = patches.reshape(2, 32, 32, CONFIG.inputs)
    vectors = mixed_signal_vectors(tiles, random_parameters(BLOCK, 5), x, folding)
    design = mixed_signal_design(CONFIG, BLOCK, folding, Folding.choose(BLOCK, 2))
    stalled = Scenario("random stalls", random_stalls(0.2, 1), random_stalls(0.2, 2))
    chosen = [Job("resnet20 layer1.0.conv1", vectors, scenario) for scenario in (Scenario(), stalled)]
    for result in verify("resnet20 layer", design, chosen, tier="bulk"):
        print(f"{result.name}: {result.outputs} outputs, {result.bits} bits, {result.differing} differ")
        assert result.outputs == 2 * 16 * 32 * 32
