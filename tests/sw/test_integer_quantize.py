"""Integers come near the float block they stand for, use the formats well, and refuse what does not fit them."""

import math

import pytest
import torch

from quietbar.contract import BIAS, SIGMA, BlockConfig, ConfigurationError, IntegerFormat
from quietbar.denoise import DenoisingBlock
from quietbar.integer import CalibrationError, Clipping, Scales, quantize_block, run_block
from quietbar.integer.calibration import MagnitudeObserver
from quietbar.integer.quantize import hidden_activations, quantize_stage

UINT8 = IntegerFormat(8, signed=False)


def trained_block(config: BlockConfig, seed: int = 0) -> DenoisingBlock:
    """A block with weights and statistics as after training."""
    torch.manual_seed(seed)
    block = DenoisingBlock(config.channels, config.hidden, config.kernel, config.mode, config.signed)
    for norm in (block.reduce_norm, block.spatial_norm):
        norm.running_mean.normal_(0, 0.1)
        norm.running_var.uniform_(0.2, 2)
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
        torch.nn.init.normal_(norm.bias, 0.3, 0.2)
    torch.nn.init.normal_(block.mean.weight, 0, 0.2)
    if block.log_sigma is not None:
        torch.nn.init.normal_(block.log_sigma.weight, 0, 0.2)
        torch.nn.init.constant_(block.log_sigma.bias, -3.0)
    return block.eval()


def activations_for(config: BlockConfig, count: int = 8) -> torch.Tensor:
    torch.manual_seed(1)
    values = torch.randn(count, config.channels, config.height, config.width)
    return values if config.signed else values.relu()


def scales_for(config: BlockConfig, block: DenoisingBlock, values: torch.Tensor) -> Scales:
    h1, h2 = hidden_activations(block.folded(), values)
    return Scales(float(values.abs().max() / config.activation.high), float(h1.max() / 255), float(h2.max() / 255))


@pytest.mark.parametrize("kernel", ["depthwise", "dense"])
@pytest.mark.parametrize("signed", [False, True])
def test_the_integer_block_follows_the_float_block_within_two_steps(kernel, signed) -> None:
    config = BlockConfig(12, 5, 9, 7, kernel, signed=signed)
    block, values = trained_block(config), activations_for(config)
    scales = scales_for(config, block, values)
    integers = quantize_block(config, block.folded(), scales)
    steps = (values / scales.activation + 0.5).floor().clamp(config.activation.low, config.activation.high)
    found = run_block(config, integers, steps.long()) * scales.activation
    error = (found - block(steps * scales.activation).detach()) / scales.activation
    assert error.abs().mean() < 0.5
    # At the ends of the range the integers clamp and the float block does not.
    inside = (found > config.activation.low * scales.activation) & (found < config.activation.high * scales.activation)
    assert error[inside].abs().max() < 2.5


def test_log_sigma_indexes_the_table_entry_of_the_float_deviation() -> None:
    config = BlockConfig(12, 5, 9, 7, mode="sampling")
    block, values = trained_block(config), activations_for(config)
    scales = scales_for(config, block, values)
    integers = quantize_block(config, block.folded(), scales)
    steps = (values / scales.activation + 0.5).floor().clamp(0, 255).long()
    _, trace = run_block(config, integers, steps, trace=True)
    _, log_sigma = block.estimate(steps * scales.activation)
    sigma = torch.tensor(SIGMA)[trace.outputs["log_sigma"]] / 256 * scales.activation
    off_by = (sigma.log2() - log_sigma).abs()[sigma > 0.1 * scales.activation]
    assert off_by.numel() > 1000 and off_by.mean() < 1 / 16 and off_by.max() < 1 / 4


def stage_of(weight: list, bias: list, source_scale: float = 0.1, target_scale: float = 0.05):
    config = BlockConfig(len(weight[0]), len(weight), 1, 1)
    weight, bias = torch.tensor(weight), torch.tensor(bias)
    return quantize_stage(config.stage("reduce"), weight, bias, source_scale, target_scale, "layer1.0.reduce")


def real_values(integers, source_scale: float = 0.1, target_scale: float = 0.05):
    scale = integers.scale * target_scale / source_scale
    return integers.weights.double() * scale[:, None], integers.bias * scale * source_scale


def test_each_channel_uses_all_of_its_weight_range() -> None:
    integers = stage_of([[0.5, -0.25], [-8.0, 1.0]], [0.1, -0.2])
    assert integers.weights.tolist() == [[127, -64], [-127, 16]]
    weight, bias = real_values(integers)
    assert weight[:, 0].tolist() == pytest.approx([0.5, -8.0], rel=1e-4)
    assert bias.tolist() == pytest.approx([0.1, -0.2], rel=0.02)


def test_a_large_bias_widens_its_channel_s_weight_scale() -> None:
    integers = stage_of([[1e-4, -1e-4], [1.0, 1.0]], [50.0, 50.0])
    assert int(integers.bias[0]) == BIAS.high
    assert int(integers.weights[0].abs().max()) < 127 and int(integers.weights[1].abs().max()) == 127
    _, bias = real_values(integers)
    assert bias.tolist() == pytest.approx([50.0, 50.0], rel=1e-3)


def test_a_channel_of_zeros_or_nearly_so_stays_valid() -> None:
    integers = stage_of([[0.0, 0.0], [1e-30, 1e-30]], [0.0, 1e-30])
    assert integers.weights.tolist() == [[0, 0], [0, 0]] and integers.bias.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("weight", "bias", "field"),
    [
        ([[1.0, math.nan]], [0.0], "layer1.0.reduce, channel 0"),
        ([[1.0, 1.0], [1.0, 1.0]], [0.0, math.inf], "layer1.0.reduce, channel 1"),
        ([[1.0], [1e9]], [0.0, 0.0], "layer1.0.reduce, channel 1.ratio"),
        ([[1.0]], [0.0, 0.0], "layer1.0.reduce"),
    ],
)
def test_what_does_not_fit_is_refused_by_tap_stage_and_channel(weight, bias, field) -> None:
    with pytest.raises(ConfigurationError) as error:
        stage_of(weight, bias)
    assert error.value.field == field


def test_a_block_without_one_of_its_stages_is_refused() -> None:
    config = BlockConfig(4, 2, 3, 3, mode="sampling")
    block = trained_block(BlockConfig(4, 2, 3, 3))
    with pytest.raises(ConfigurationError, match=r"layer1[.]log_sigma"):
        quantize_block(config, block.folded(), Scales(1.0, 1.0, 1.0), "layer1")


def observed(*batches: torch.Tensor) -> MagnitudeObserver:
    observer = MagnitudeObserver("layer1.activation")
    for batch in batches:
        observer.add(batch)
    return observer


def test_the_histogram_does_not_depend_on_the_order_of_batches() -> None:
    torch.manual_seed(0)
    small, large = torch.rand(1000), torch.rand(1000) * 37
    first, second = observed(small, large), observed(torch.cat([small, large]))
    assert float(first.counts.sum()) == float(second.counts.sum()) == 2000
    for method in ("mse", "percentile", "maximum"):
        scales = [each.scale(UINT8, Clipping(method, 99.0)) for each in (first, second)]
        assert scales[0] == pytest.approx(scales[1], rel=0.02)


def test_maximum_clips_nothing_and_percentile_the_share_asked_for() -> None:
    values = torch.linspace(0, 10, 100_001)
    assert observed(values).scale(UINT8, Clipping("maximum")) * 255 == pytest.approx(10, rel=1e-3)
    assert observed(values).scale(UINT8, Clipping("percentile", 90.0)) * 255 == pytest.approx(9, rel=1e-3)


@pytest.mark.parametrize("target", [UINT8, IntegerFormat(8, signed=True)])
def test_mse_clipping_beats_every_other_clip(target) -> None:
    torch.manual_seed(0)
    values = torch.distributions.Laplace(0.0, 1.0).sample((200_000,))
    values = values if target.signed else values.abs()

    def error(scale: float) -> float:
        steps = (values / scale + 0.5).floor().clamp(target.low, target.high)
        return float(((steps * scale - values) ** 2).mean())

    best = observed(values).scale(target, Clipping("mse"))
    assert error(best) < 0.95 * error(observed(values).scale(target, Clipping("maximum")))
    assert all(error(best) <= 1.02 * error(best * factor) for factor in (0.5, 0.7, 0.9, 1.1, 1.4, 2.0))


def test_exact_zeros_do_not_pull_the_clip_down() -> None:
    torch.manual_seed(0)
    values = torch.rand(10_000)
    with_zeros = torch.cat([values, torch.zeros(1_000_000)])
    assert observed(with_zeros).scale(UINT8, Clipping()) == pytest.approx(observed(values).scale(UINT8, Clipping()))


def test_scales_are_float32_numbers() -> None:
    scale = observed(torch.rand(100)).scale(UINT8, Clipping())
    assert float(torch.tensor(scale, dtype=torch.float32)) == scale


def test_calibration_data_that_say_nothing_are_refused() -> None:
    with pytest.raises(CalibrationError, match=r"layer1[.]activation: all activations"):
        observed(torch.zeros(10), torch.zeros(0)).scale(UINT8, Clipping())
    with pytest.raises(CalibrationError, match=r"layer1[.]activation: .* nan"):
        observed(torch.tensor([1.0, math.nan]))


@pytest.mark.parametrize(
    ("field", "make"),
    [
        ("clipping.method", lambda: Clipping("median")),
        ("clipping.percentile", lambda: Clipping("percentile", 0.0)),
        ("clipping.percentile", lambda: Clipping("percentile", 100.1)),
        ("scales.activation", lambda: Scales(0.0, 1.0, 1.0)),
        ("scales.spatial", lambda: Scales(1.0, 1.0, math.inf)),
    ],
)
def test_settings_out_of_range_are_refused_by_name(field, make) -> None:
    with pytest.raises(ConfigurationError) as error:
        make()
    assert error.value.field == field
