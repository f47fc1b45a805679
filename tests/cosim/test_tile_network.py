"""A whole network of tiles and a denoiser in Verilog: images in, classes out, equal to the integer reference's."""

from dataclasses import replace

import pytest
import torch
from amaranth.hdl import Fragment
from torch import nn

from quietbar import data
from quietbar.contract import BlockConfig
from quietbar.experiment.tiles import STEP, codes_of
from quietbar.integer import Bundle, Scales
from quietbar.integer.converters import design_scale
from quietbar.integer.parameters import random_parameters
from quietbar.integer.tap import IntegerTap
from quietbar.integer.tile_export import TileChip, export_tile_network
from quietbar.noise import Chip, Variation
from quietbar_cosim.build import design_of
from quietbar_cosim.mismatch import MismatchError
from quietbar_cosim.parts import Parts
from quietbar_cosim.planting import planted
from quietbar_cosim.regression import BenchFailure
from quietbar_cosim.replay import verify
from quietbar_cosim.tile_networks import tile_network_vectors
from quietbar_cosim.vectors import Job, Scenario, jobs, scenarios
from quietbar_hw.crossbar.image_stages import ChannelMeans, HighestScore, Windows
from quietbar_hw.crossbar.network import NetworkFolding, TileNetwork

SEED = 3
IMAGES = 40

FAULTS = {
    "mean": (ChannelMeans, "elaborate", "pixel.at_start, half,", "pixel.at_start, 0,"),
    "stride": (Windows, "elaborate", "~x.counter[0] &", "x.counter[0] &"),
    "class": (HighestScore, "elaborate", "self.i.p.code > highest", "self.i.p.code >= highest"),
}
"""What is planted where: rounding of means lost, windows of odd columns kept, the last of several highest scores."""


class SmallNetwork(nn.Module):
    """Two convolutions and a linear layer on 8x8 images, untrained: classes are many, and arbitrary."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(SEED)
        self.stage1, self.stage2 = self.stage(1, 4), self.stage(4, 6)
        self.linear = nn.Linear(6, 10)

    @staticmethod
    def stage(inputs, outputs):
        stage = nn.Module()
        stage.conv = nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False)
        stage.bn = nn.BatchNorm2d(outputs)
        return stage


@pytest.fixture(scope="module")
def images():
    digits = data.load("digits")
    return codes_of(digits.test.images, digits.normalization.largest)


def balanced(network, images, spread):
    """The network whose scores of each class have no mean and a deviation of ``spread`` over images."""
    plain = replace(network.head, config=replace(network.head.config, output="sums"), scale=None)
    activations = images
    for layer in network.layers:
        activations = layer(activations)
    sums = plain.outputs(activations.double().mean((2, 3)).round().long()).double()
    ratio = spread / sums.std(0).clamp_min(0.1)
    return replace(
        network, head=replace(network.head, scale=design_scale(network.head.config, ratio, -sums.mean(0) * ratio))
    )


@pytest.fixture(scope="module")
def network(images):
    config = BlockConfig(channels=4, hidden=2, height=4, width=4)
    tap = IntegerTap("stage1", random_parameters(config, SEED), Scales(0.01, 0.01, 0.01))
    variation = Variation(sigma=0.05, gain_mismatch=0.1, offset_mismatch=0.1)
    on = TileChip(Chip(SEED, variation), rows=12, time=386, stuck_at_zero=0.02, stuck_at_full=0.02)
    made = export_tile_network(SmallNetwork().eval(), images[:20], STEP, on, Bundle({"stage1": tap}))
    return balanced(made, images, 30.0)


class Faulty(TileNetwork):
    """A network with a fault in it."""

    def __init__(self, fault, config):
        self.fault = FAULTS[fault]
        super().__init__(config, NetworkFolding.choose(config))

    def elaborate(self, platform):
        with planted(*self.fault):
            return Fragment.get(super().elaborate(platform), platform)


@pytest.fixture(scope="module")
def design(network):
    """The network and its faulty twins, side by side in one simulator."""
    sound = TileNetwork(network.config, NetworkFolding.choose(network.config))
    faulty = {f"{fault}_fault": Faulty(fault, network.config) for fault in FAULTS}
    return design_of(Parts({"sound": sound, **faulty}), "tile_networks")


def test_classes_of_whole_images_equal_the_reference_however_the_ends_stall(network, images, design):
    vectors = tile_network_vectors(network, images[:IMAGES], prefix="sound_")
    assert vectors.expected_elements.max() > 0 and len(set(vectors.expected_elements.tolist())) > 3
    results = verify("tile network", design, jobs("tile network", vectors, scenarios(SEED, 4)))
    assert [result.outputs for result in results] == [IMAGES] * 5


def test_denoisers_can_idle_in_the_same_hardware(network, images, design):
    idle = network.without_denoising()
    assert not torch.equal(idle.scores(images), network.scores(images))
    vectors = tile_network_vectors(idle, images[:IMAGES], prefix="sound_")
    verify("tile network idle", design, [Job("idle denoisers", vectors, Scenario())])


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_caught(network, images, design, tmp_path, fault):
    # Scores of few values tie often.
    blunt = balanced(network, images, 1.0) if fault == "class" else network
    vectors = tile_network_vectors(blunt, images, prefix=f"{fault}_fault_")
    if fault == "stride":
        # The window that ends an image is among those lost, so the denoiser refuses the frame and nothing comes.
        with pytest.raises(BenchFailure, match=r"stride_fault_m_axis_tvalid.*: 0 of 360 beats came"):
            verify("planted", design, [Job(fault, vectors, Scenario())], folder=tmp_path)
        return
    with pytest.raises(MismatchError, match=r"image \d+: expected \d, got \d") as caught:
        verify("planted", design, [Job(fault, vectors, Scenario())], folder=tmp_path)
    print(f"{fault}: {caught.value.comparison.differing} of {caught.value.comparison.outputs} classes differ")
