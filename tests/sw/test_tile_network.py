"""Networks on tiles in integers: what fits together, which class wins, what is refused by name."""

from dataclasses import replace

import pytest
import torch

from quietbar.contract import BlockConfig, ConfigurationError, CrossbarConfig
from quietbar.contract.tile_network import LayerConfig, TileNetworkConfig, to_part
from quietbar.integer.crossbar import design_converter, design_scale
from quietbar.integer.tile_export import TileChip
from quietbar.integer.tile_network import Layer, TileNetwork
from quietbar.integer.tiles import Tiles
from quietbar.noise import Chip, Variation

TILE = CrossbarConfig(9, 2, noisy_programming=False, output="unsigned")
HEAD = CrossbarConfig(2, 3, noisy_programming=False)
LAYER = LayerConfig(4, 4, 1, TILE, stride=2)


def tiles(config, weights):
    scale = None if config.output == "sums" else design_scale(config, 1.0)
    return Tiles(config, torch.tensor(weights), design_converter(config, 16.0 * 127), 0, 0, scale)


def small_network(head_weights):
    kernel = [[0, 0]] * 4 + [[1, 0]] + [[0, 0]] * 4
    return TileNetwork((Layer(LAYER, tiles(TILE, kernel)),), tiles(HEAD, head_weights))


def test_the_first_of_the_highest_scores_wins():
    images = torch.full((2, 1, 4, 4), 8)
    network = small_network([[1, 1, 0], [0, 0, 0]])
    assert network.scores(images).tolist() == [[8, 8, 0]] * 2
    assert network.classes(images).tolist() == [0, 0]
    assert small_network([[0, 1, 1], [0, 0, 0]]).classes(images).tolist() == [1, 1]


def test_means_round_half_upward_and_stride_keeps_even_rows_and_columns():
    images = torch.zeros(1, 1, 4, 4, dtype=torch.int64)
    images[0, 0, ::2, ::2] = torch.tensor([[1, 1], [2, 2]])
    images[0, 0, 1, 1] = 100
    assert small_network([[1, 0, 0], [0, 0, 0]]).scores(images)[0, 0] == 2


def test_frames_carry_the_number_of_their_part():
    frames = small_network([[0, 0, 0], [0, 0, 0]]).frames
    assert {frame[0] >> 16 for frame in frames} == {0, 2}
    assert to_part([3, 4], 5) == [3 | 5 << 16, 4]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: replace(LAYER, stride=3), "layer.stride = 3: must be one of 1, 2"),
        (lambda: replace(LAYER, channels=2), "layer.crossbar.inputs = 9: must be 18"),
        (lambda: replace(LAYER, height=0), "layer.height = 0"),
        (lambda: replace(LAYER, crossbar=replace(TILE, output="signed")), "layer.crossbar.output = 'signed'"),
        (lambda: replace(LAYER, crossbar=replace(TILE, dac_bits=4)), "layer.crossbar.source"),
        (lambda: replace(LAYER, block=BlockConfig(channels=2, hidden=1, height=4, width=4)), "layer.block"),
        (lambda: TileNetworkConfig((), HEAD), "network.layers"),
        (lambda: TileNetworkConfig((LAYER, LAYER), HEAD), r"network.layers\[1\]"),
        (lambda: TileNetworkConfig((replace(LAYER, height=6),), HEAD), "pixels = 6: must be a power of two"),
        (lambda: TileNetworkConfig((LAYER,), replace(HEAD, rows=3)), "network.head.inputs = 3: must be 2"),
        (lambda: TileNetworkConfig((LAYER,), replace(HEAD, output="unsigned")), "network.head.output"),
        (lambda: TileChip(Chip(1, Variation(sigma=0.0)), rows=0), "tile_chip.rows = 0"),
        (lambda: TileChip(Chip(1, Variation(sigma=0.0)), time=1024), "tile_chip.time = 1024"),
        (lambda: TileChip(Chip(1, Variation(sigma=0.0)), stuck_at_zero=1.5), "tile_chip.stuck_at_zero = 1.5"),
        (lambda: small_network([[0, 0, 0]] * 2).classes(torch.full((1, 1, 4, 4), 256)), "network.images"),
        (lambda: small_network([[0, 0, 0]] * 2).classes(torch.zeros(1, 2, 4, 4, dtype=torch.int64)), "network.images"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(make, message):
    with pytest.raises(ConfigurationError, match=message):
        make()
