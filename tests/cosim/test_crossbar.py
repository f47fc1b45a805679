"""The tile, and tile and denoising block as one mixed-signal layer, in Verilog against the integer references."""

import pytest
import torch
from amaranth.hdl import Fragment

from quietbar import data
from quietbar.contract import BlockConfig, ConfigurationError, CrossbarConfig
from quietbar.contract.crossbar import READ_SIGMA
from quietbar.contract.number import BIAS, WEIGHT_LIMIT
from quietbar.contract.requantize import MULTIPLIER_HIGH, MULTIPLIER_LOW
from quietbar.integer import random_parameters
from quietbar.integer.crossbar import Converter, converter_for_chip, design_converter
from quietbar.integer.tiles import Tiles
from quietbar.noise import Chip, presets
from quietbar_cosim.build import design_of
from quietbar_cosim.crossbars import TileSubject, crossbar_vectors, mixed_signal_design, mixed_signal_vectors
from quietbar_cosim.mismatch import MismatchError
from quietbar_cosim.parts import Parts
from quietbar_cosim.planting import planted
from quietbar_cosim.replay import load, verify
from quietbar_cosim.stalls import random_stalls
from quietbar_cosim.vectors import Job, Scenario, jobs, scenarios
from quietbar_hw.arithmetic import requantize
from quietbar_hw.crossbar import column_sum
from quietbar_hw.crossbar.converter import Converter as ConverterHardware
from quietbar_hw.crossbar.folding import CrossbarFolding
from quietbar_hw.crossbar.mixed import MixedSignalLayer, check_fit
from quietbar_hw.crossbar.top import AxiCrossbar
from quietbar_hw.denoiser import Folding

SEED = 20

TILE, TILE_FOLDING = CrossbarConfig(36, 8), CrossbarFolding(4, 4, 4, 8)
NARROW, NARROW_FOLDING = (
    CrossbarConfig(10, 3, dac_bits=4, adc_bits=5, noisy_programming=False),
    CrossbarFolding(5, 1, 1, 3),
)
PATCH, PATCH_FOLDING = CrossbarConfig(9, 8), CrossbarFolding(3, 2, 3, 8)
BLOCK = BlockConfig(channels=8, hidden=2, height=8, width=8, mode="sampling", signed=True)


FAULTS = {
    "sign": (column_sum, "difference", "pair.plus - pair.minus", "pair.plus + pair.minus"),
    "rounding": (requantize, "round_off", "+ 1) >> 1", ") >> 1"),
    "sample": (
        ConverterHardware,
        "elaborate",
        "ready.eq(self.currents.valid & advance)",
        "ready.eq(self.currents.valid)",
    ),
}
"""What is planted where: sign of G- lost, the converter's rounding constant dropped, samples skipped under stall."""

FAULTY, FAULTY_FOLDING = CrossbarConfig(6, 4), CrossbarFolding(2, 2, 2, 2)


class Faulty(AxiCrossbar):
    """A tile with a fault in it."""

    def __init__(self, fault):
        self.fault = FAULTS[fault]
        super().__init__(FAULTY, FAULTY_FOLDING)

    def elaborate(self, platform):
        with planted(*self.fault):
            return Fragment.get(super().elaborate(platform), platform)


@pytest.fixture(scope="module")
def design():
    """Two tiles, a mixed-signal layer, a small tile and its faulty twins, side by side in one simulator."""
    parts = {
        "tile": AxiCrossbar(TILE, TILE_FOLDING),
        "narrow": AxiCrossbar(NARROW, NARROW_FOLDING),
        "layer": MixedSignalLayer(PATCH, BLOCK, PATCH_FOLDING, Folding.choose(BLOCK, lanes=PATCH_FOLDING.output_lanes)),
        "sound": AxiCrossbar(FAULTY, FAULTY_FOLDING),
        **{fault: Faulty(fault) for fault in FAULTS},
    }
    return design_of(Parts(parts), "crossbars")


def random_tile(config, seed):
    source = torch.Generator().manual_seed(seed)
    weights = torch.randint(-WEIGHT_LIMIT, WEIGHT_LIMIT + 1, (config.rows, config.columns), generator=source)
    weights.view(-1)[:3] = torch.tensor([WEIGHT_LIMIT, -WEIGHT_LIMIT, 0])
    full_scale = config.source.high * 127 * 16 * config.rows**0.5
    converter = design_converter(
        config,
        full_scale,
        gain=1 + 0.1 * torch.randn(config.columns, generator=source),
        offset=0.05 * full_scale * torch.randn(config.columns, generator=source),
        read_noise=0.03 * full_scale,
    )
    return Tiles(config, weights, converter, programming_seed=seed, reading_seed=seed + 1)


def random_codes(config, vectors, seed):
    source = torch.Generator().manual_seed(seed)
    codes = torch.randint(config.source.low, config.source.high + 1, (vectors, config.rows), generator=source)
    codes[0], codes[1] = config.source.low, config.source.high
    return codes


@pytest.mark.parametrize(
    ("prefix", "config", "folding"), [("tile_", TILE, TILE_FOLDING), ("narrow_", NARROW, NARROW_FOLDING)]
)
def test_a_tile_equals_the_reference_however_its_ends_stall(design, prefix, config, folding):
    frame_vectors, vectors = 8, 48
    tile, x = random_tile(config, SEED), random_codes(config, vectors, SEED)
    made = crossbar_vectors(tile, x, folding, frame_vectors, prefix)
    assert tile.outputs(x).unique().numel() > config.target.high, "codes must be many"
    results = verify("crossbar", design, jobs(f"{prefix}codes", made, scenarios(SEED, made.output_frame_beats)))
    assert [result.outputs for result in results] == [vectors * config.columns] * 5


def test_extremes_of_every_operand(design):
    """Every weight, input, offset, gain, shift and read sigma at an end of its range."""
    signs = torch.tensor([1, -1, 1, -1, 1, -1, 0, 0])
    weights = (WEIGHT_LIMIT * signs).repeat(TILE.rows, 1)
    x = torch.stack([torch.full((TILE.rows,), code) for code in (255, 0, 255, 255, 0, 255)])
    offsets = (BIAS.low, BIAS.high, BIAS.high, BIAS.low, 0, 0, BIAS.low, BIAS.high)
    gains = (MULTIPLIER_LOW, MULTIPLIER_HIGH) * 4
    chosen = []
    for shifts in ((1,) * 8, (47,) * 8, (33, 35, 35, 34, 35, 35, 32, 32)):
        for sigma in (0, READ_SIGMA.high):
            tile = Tiles(TILE, weights, Converter(offsets, gains, shifts, sigma), SEED, SEED + 2)
            name = f"shifts {shifts[0]}, sigma {sigma}"
            chosen.append(Job(name, crossbar_vectors(tile, x, TILE_FOLDING, prefix="tile_"), Scenario()))
    verify("crossbar extremes", design, chosen)


def patches(images):
    """Images (N, 8, 8) as the nine inputs of each pixel's 3x3 convolution, zero-padded: (N, 8, 8, 9)."""
    return torch.nn.functional.pad(images, (1, 1, 1, 1)).unfold(1, 3, 1).unfold(2, 3, 1).flatten(3)


def digits_codes(split, count):
    """Handwritten digits as DAC codes (count, 8, 8)."""
    images = getattr(data.load("digits"), split).images[:count].reshape(-1, 8, 8).float()
    return (images / images.max() * PATCH.source.high).round().long()


def convolution_tile():
    """A 3x3 convolution of digits on a noisy chip: its filters are the principal components of their patches."""
    train = patches(digits_codes("train", 200))
    vectors = train.reshape(-1, 9).double()
    centered = vectors - vectors.mean(0)
    components = torch.linalg.eigh(centered.T @ centered).eigenvectors.flip(1)[:, : PATCH.columns]
    weights = (components / components.abs().max() * WEIGHT_LIMIT).round().long()
    currents = (vectors @ weights.double()) * 16
    chip = Chip(SEED, presets.process_and_aging)
    converter = converter_for_chip(PATCH, chip, "convolution", currents.abs().amax(0), float(currents.std()))
    return Tiles(PATCH, weights, converter, programming_seed=SEED, reading_seed=SEED + 1)


def test_a_mixed_signal_layer_equals_tile_then_block_on_digits(design):
    tile, parameters = convolution_tile(), random_parameters(BLOCK, SEED)
    x = patches(digits_codes("validation", 4))
    made = mixed_signal_vectors(tile, parameters, x, PATCH_FOLDING, block_seed=SEED + 2, prefix="layer_")
    codes = tile.outputs(x).permute(0, 3, 1, 2)
    outputs = torch.from_numpy(made.expected_elements).reshape(4, 8, 8, 8).permute(0, 3, 1, 2)
    assert codes.unique().numel() > 128, "codes must be many"
    assert (codes != outputs).float().mean() > 0.5, "the block must do something"
    results = verify("mixed-signal layer", design, jobs("digits", made, scenarios(SEED, made.output_frame_beats)))
    assert [result.outputs for result in results] == [4 * 64 * 8] * 5


@pytest.mark.parametrize(
    ("field", "crossbar", "block", "folding", "lanes"),
    [
        ("block.channels", CrossbarConfig(9, 4), BLOCK, CrossbarFolding(), 1),
        ("crossbar.adc_bits", CrossbarConfig(9, 8, adc_bits=6), BLOCK, CrossbarFolding(), 1),
        ("block.signed", PATCH, BlockConfig(8, 2, 8, 8, signed=False), CrossbarFolding(), 1),
        ("folding.lanes", PATCH, BLOCK, CrossbarFolding(output_lanes=2), 4),
    ],
)
def test_a_tile_and_a_block_that_do_not_fit_are_refused(field, crossbar, block, folding, lanes):
    with pytest.raises(ConfigurationError) as error:
        check_fit(crossbar, block, folding, Folding.choose(block, lanes))
    assert error.value.field == field


@pytest.mark.parametrize("part", ["sound", *FAULTS])
def test_planted_faults_are_caught_named_and_replay(design, tmp_path, part):
    stalled = Scenario("random stalls", random_stalls(0.4, SEED), random_stalls(0.6, SEED + 1))
    tile, x = random_tile(FAULTY, SEED), random_codes(FAULTY, 24, SEED)
    job = Job(part, crossbar_vectors(tile, x, FAULTY_FOLDING, prefix=f"{part}_"), stalled, TileSubject(tile, x))
    if part == "sound":
        verify("planted", design, [job], folder=tmp_path)
        return
    with pytest.raises(MismatchError, match=r"vector \d+, column \d: expected -?\d+, got -?\d+") as caught:
        verify("planted", design, [job], folder=tmp_path)
    first = caught.value.comparison.first[0]
    assert "times read sigma" in str(caught.value)
    if part == "rounding":
        assert all(mismatch.expected - mismatch.got == 1 for mismatch in caught.value.comparison.first)
    (folder,) = (tmp_path / "replay").iterdir()
    case = load(folder)
    assert case.compare(case.run()).first[0] == first


def test_a_sample_skipped_under_stall_hides_where_nothing_stalls(design, tmp_path):
    tile, x = random_tile(FAULTY, SEED), random_codes(FAULTY, 24, SEED)
    job = Job("sample", crossbar_vectors(tile, x, FAULTY_FOLDING, prefix="sample_"))
    (result,) = verify("planted", design, [job], folder=tmp_path)
    assert result.equal


@pytest.mark.slow
def test_every_digit_through_the_mixed_signal_layer_in_bulk():
    """All images of all splits in the fast tier, stalled at both ends and not."""
    tile, parameters = convolution_tile(), random_parameters(BLOCK, SEED)
    codes = torch.cat([digits_codes(split, None) for split in data.SPLITS])
    made = mixed_signal_vectors(tile, parameters, patches(codes), PATCH_FOLDING, block_seed=SEED + 2)
    folding = Folding.choose(BLOCK, lanes=PATCH_FOLDING.output_lanes)
    layer = mixed_signal_design(PATCH, BLOCK, PATCH_FOLDING, folding)
    chosen = [scenario for scenario in scenarios(SEED, made.output_frame_beats) if scenario.reset_after is None]
    results = verify("mixed-signal layer, all digits", layer, jobs("digits", made, chosen), tier="bulk")
    assert all(result.equal and result.outputs == 1797 * 64 * 8 for result in results)
    for result in results:
        print(f"{result.name}: {result.outputs} outputs, {result.differing} differing, {result.cycles} cycles")
