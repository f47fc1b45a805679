"""The vectorised block equals the contract, one output at a time, and refuses what the contract does not cover."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from quietbar.contract import SIGMA, BlockConfig, ConfigurationError, requantize, round_shift
from quietbar.contract.gaussian import samples, scaled_noise
from quietbar.contract.requantize import clamp
from quietbar.contract.seeds import SEED_HIGH
from quietbar.contract.sources import KINDS, Kind, source_samples
from quietbar.contract.stream import FrameKind
from quietbar.integer import BlockParameters, block, parameter_frame, random_parameters, run_block
from quietbar.integer.convolution import AccumulatorError, accumulate


def scalar_block(
    config: BlockConfig, parameters: BlockParameters, frames: list, seed: int, start_frame: int,
    source: Kind = "box-muller",
) -> list:  # fmt: skip
    """The contract's formulas on Python integers: frames, rows, columns and channels of nested lists, channel last."""

    def stage(name: str, output: int, inputs: list[int]) -> int:
        integers, target = parameters.stages[name], config.stage(name).target
        sums = zip(integers.weights[output].tolist(), inputs, strict=True)
        accumulator = sum(weight * value for weight, value in sums) + int(integers.bias[output])
        assert config.stage(name).accumulator.low <= accumulator <= config.stage(name).accumulator.high
        operands = int(integers.multiplier[output]), int(integers.shift[output])
        return requantize(accumulator, *operands, target.low, target.high)

    def window(h1: list, row: int, column: int, channels: list[int]) -> list[int]:
        places = [(row + y, column + x) for y in (-1, 0, 1) for x in (-1, 0, 1)]
        inside = [0 <= y < config.height and 0 <= x < config.width for y, x in places]
        return [h1[y][x][c] if ok else 0 for (y, x), ok in zip(places, inside, strict=True) for c in channels]

    elements = config.pixels * config.channels
    draws = iter(source_samples(source, seed, len(frames) * elements, start_frame * elements))
    hidden, found = range(config.hidden), []
    for frame in frames:
        h1 = [[[stage("reduce", c, pixel) for c in hidden] for pixel in row] for row in frame]
        found.append([])
        for row in range(config.height):
            found[-1].append([])
            for column in range(config.width):
                dense = list(hidden)
                h2 = [
                    stage("spatial", c, window(h1, row, column, dense if config.kernel == "dense" else [c]))
                    for c in hidden
                ]
                pixel = []
                for c in range(config.channels):
                    noise = stage("mean", c, h2)
                    if config.mode == "sampling":
                        noise += scaled_noise(SIGMA[stage("log_sigma", c, h2)], next(draws), config.fraction_bits)
                    value = (frame[row][column][c] << config.fraction_bits) - noise
                    pixel.append(
                        clamp(round_shift(value, config.fraction_bits), config.activation.low, config.activation.high)
                    )
                found[-1][-1].append(pixel)
    return found


def channel_last(frames: Tensor) -> list:
    return frames.permute(0, 2, 3, 1).tolist()


def random_frames(config: BlockConfig, count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    low, high = config.activation.low, config.activation.high
    shape = (count, config.channels, config.height, config.width)
    frames = torch.randint(low, high + 1, shape, generator=generator)
    extreme = torch.randint(0, 8, shape, generator=generator)
    return frames.masked_fill(extreme == 0, low).masked_fill(extreme == 1, high)


CONFIGS = st.builds(
    BlockConfig,
    channels=st.integers(1, 5),
    hidden=st.integers(1, 3),
    height=st.integers(1, 4),
    width=st.integers(1, 4),
    kernel=st.sampled_from(["depthwise", "dense"]),
    mode=st.sampled_from(["mean", "sampling"]),
    signed=st.booleans(),
    fraction_bits=st.integers(1, 7),
)
SEEDS = st.integers(0, SEED_HIGH)


@settings(deadline=None, max_examples=120)
@given(CONFIGS, SEEDS, SEEDS, st.integers(0, 2), st.sampled_from([0, 1, 1000]))
def test_equals_the_contract(config, parameter_seed, seed, count, start_frame) -> None:
    parameters = random_parameters(config, parameter_seed)
    frames = random_frames(config, count, parameter_seed % 2**32)
    expected = scalar_block(config, parameters, channel_last(frames), seed, start_frame)
    assert channel_last(run_block(config, parameters, frames, seed, start_frame)) == expected
    plain, _ = run_block(config, parameters, frames, seed, start_frame, trace=True)
    assert channel_last(plain) == expected


@pytest.mark.parametrize("mode", ["mean", "sampling"])
@pytest.mark.parametrize("kernel", ["depthwise", "dense"])
@pytest.mark.parametrize(("channels", "hidden"), [(16, 4), (200, 50), (33, 9)])
def test_fast_and_plain_paths_agree_on_large_blocks(mode, kernel, channels, hidden) -> None:
    config = BlockConfig(channels, hidden, 8, 7, kernel, mode, signed=channels == 33)
    frames = random_frames(config, 20, 5)
    fast = run_block(config, random_parameters(config, 8), frames, seed=3)
    plain, trace = run_block(config, random_parameters(config, 8), frames, seed=3, trace=True)
    assert torch.equal(fast, plain)
    assert fast.unique().numel() > 200, "the case must exercise the range"
    for name, outputs in trace.outputs.items():
        assert outputs.unique().numel() > 40, f"{name} must not all saturate"


@pytest.mark.parametrize("kernel", ["depthwise", "dense"])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_operands_reach_the_accumulator_bound_and_stay_exact(kernel, sign) -> None:
    config = BlockConfig(4096, 300, 1, 1, kernel)
    random = random_parameters(config, 1)
    stages = {}
    for stage in config.stages:
        integers = random.stages[stage.name]
        stages[stage.name] = dataclasses.replace(
            integers,
            weights=torch.full_like(integers.weights, 127 * sign),
            bias=torch.full_like(integers.bias, sign * (2**23 - 1)),
            shift=torch.full_like(integers.shift, 33),
        )
    parameters = BlockParameters(config, stages)
    frames = torch.full((1, 4096, 1, 1), 255)
    fast = run_block(config, parameters, frames)
    plain, trace = run_block(config, parameters, frames, trace=True)
    assert torch.equal(fast, plain)
    bound = config.stage("reduce").accumulator_magnitude
    assert int(trace.accumulators["reduce"].abs().max()) in (bound, bound - 1)


def test_a_trace_holds_every_intermediate_integer() -> None:
    config = BlockConfig(3, 2, 2, 2, mode="sampling")
    parameters = random_parameters(config, 4)
    frames = random_frames(config, 2, 1)
    found, trace = run_block(config, parameters, frames, seed=9, start_frame=5, trace=True)
    assert list(trace.outputs) == list(trace.accumulators) == ["reduce", "spatial", "mean", "log_sigma"]
    drawn = torch.tensor(samples(9, 24, 5 * 12)).reshape(2, 2, 2, 3).permute(0, 3, 1, 2)
    assert torch.equal(trace.samples, drawn)
    sigma = torch.tensor(SIGMA)[trace.outputs["log_sigma"]]
    noise = trace.outputs["mean"] + torch.tensor(
        [scaled_noise(s, e, 4) for s, e in zip(sigma.flatten().tolist(), drawn.flatten().tolist(), strict=True)]
    ).reshape(sigma.shape)
    assert torch.equal(trace.noise, noise)
    assert torch.equal(((frames << 4) - noise + 8 >> 4).clamp(0, 255), found)


@pytest.mark.parametrize("mode", ["mean", "sampling"])
def test_a_batch_may_be_cut_at_will(mode, monkeypatch) -> None:
    config = BlockConfig(5, 2, 3, 3, mode=mode)
    parameters, frames = random_parameters(config, 2), random_frames(config, 7, 2)
    whole = run_block(config, parameters, frames, seed=1, start_frame=10)
    pieces = [run_block(config, parameters, frames[i : i + 3], seed=1, start_frame=10 + i) for i in (0, 3, 6)]
    assert torch.equal(torch.cat(pieces), whole)
    monkeypatch.setattr(block, "CHUNK_ELEMENTS", 2 * 45)
    assert torch.equal(run_block(config, parameters, frames, seed=1, start_frame=10), whole)


@pytest.mark.parametrize(
    ("signed", "dtype"),
    [(False, torch.uint8), (True, torch.int8), (True, torch.int16), (False, torch.int32), (False, torch.int64)],
)
def test_type_and_layout_of_the_activations_are_kept(signed, dtype) -> None:
    config = BlockConfig(3, 2, 4, 5, signed=signed)
    parameters, frames = random_parameters(config, 2), random_frames(config, 3, 2).to(dtype)
    for layout in (torch.contiguous_format, torch.channels_last):
        found = run_block(config, parameters, frames.contiguous(memory_format=layout))
        assert (found.dtype, found.shape) == (dtype, frames.shape)
        assert channel_last(found) == scalar_block(config, parameters, channel_last(frames), 0, 0)


CONFIG = BlockConfig(3, 2, 4, 5)
DRAWN = dataclasses.replace(CONFIG, mode="sampling")
PARAMETERS = random_parameters(CONFIG, 0)
FRAMES = torch.zeros(2, 3, 4, 5, dtype=torch.uint8)


def with_stage(name: str, **fields: Tensor) -> BlockParameters:
    stages = dict(PARAMETERS.stages)
    stages[name] = dataclasses.replace(stages[name], **fields)
    return BlockParameters(CONFIG, stages, name="layer1.0")


def changed(field: str, name: str, index: int, value: int) -> BlockParameters:
    tensor = getattr(PARAMETERS.stages[name], field).clone()
    tensor.view(-1)[index] = value
    return with_stage(name, **{field: tensor})


@pytest.mark.parametrize(
    ("field", "call"),
    [
        ("block.activations", lambda: run_block(CONFIG, PARAMETERS, FRAMES.float())),
        ("block.activations", lambda: run_block(CONFIG, PARAMETERS, [1, 2])),
        ("block.activations.shape", lambda: run_block(CONFIG, PARAMETERS, FRAMES[0])),
        ("block.activations.shape", lambda: run_block(CONFIG, PARAMETERS, FRAMES.mT)),
        ("block.activations.shape", lambda: run_block(CONFIG, PARAMETERS, FRAMES[:, :2])),
        ("block.activations.dtype", lambda: run_block(CONFIG, PARAMETERS, FRAMES.to(torch.int8))),
        ("block.activations, element 0, 0, 0, 0", lambda: run_block(CONFIG, PARAMETERS, FRAMES.int() + 256)),
        ("block.activations, element 0, 0, 0, 0", lambda: run_block(CONFIG, PARAMETERS, FRAMES.int() - 1)),
        ("block.config", lambda: run_block(dataclasses.replace(CONFIG, fraction_bits=5), PARAMETERS, FRAMES)),
        ("seed", lambda: run_block(DRAWN, random_parameters(DRAWN, 0), FRAMES, seed=-1)),
        ("start_frame", lambda: run_block(CONFIG, PARAMETERS, FRAMES, start_frame=-1)),
        ("layer1.0.stages", lambda: BlockParameters(DRAWN, PARAMETERS.stages, "layer1.0")),
        ("layer1.0.reduce.weights", lambda: with_stage("reduce", weights=torch.zeros(3, 2, dtype=torch.int8))),
        ("layer1.0.reduce.weights, output, input 0, 1", lambda: changed("weights", "reduce", 1, -128)),
        ("layer1.0.spatial.bias", lambda: with_stage("spatial", bias=torch.zeros(2, dtype=torch.int64))),
        ("layer1.0.spatial.bias, channel 1", lambda: changed("bias", "spatial", 1, 2**23)),
        ("layer1.0.mean.multiplier, channel 2", lambda: changed("multiplier", "mean", 2, 2**16)),
        ("layer1.0.mean.shift, channel 0", lambda: changed("shift", "mean", 0, 0)),
    ],
)  # fmt: skip
def test_what_is_outside_the_contract_is_refused_by_name(field, call) -> None:
    with pytest.raises(ConfigurationError) as error:
        call()
    assert error.value.field == field


def test_the_parameter_frame_lists_each_stage_in_the_order_of_the_contract() -> None:
    config = BlockConfig(2, 1, 1, 1)
    parameters = random_parameters(config, 6)
    words = parameter_frame(config, parameters)
    reduce, mean = parameters.stages["reduce"], parameters.stages["mean"]
    assert words[:5] == [
        FrameKind.PARAMETERS,
        *(int(value) & 0xFFFFFFFF for value in (*reduce.weights[0], reduce.bias[0], reduce.multiplier[0])),
    ]
    assert words[-8:] == [
        int(value) & 0xFFFFFFFF for value in (*mean.weights[:, 0], *mean.bias, *mean.multiplier, *mean.shift)
    ]
    assert len(words) == 1 + config.parameters + 2 * sum(stage.outputs for stage in config.stages)
    with pytest.raises(ConfigurationError, match="must be BlockConfig"):
        parameter_frame(BlockConfig(2, 1, 1, 2), parameters)


def test_a_dense_window_is_ordered_row_column_channel() -> None:
    config = BlockConfig(1, 3, 3, 3, kernel="dense")
    integers = random_parameters(config, 0).stages["spatial"]
    for position in range(27):
        weights = torch.zeros_like(integers.weights)
        weights[0, position] = 1
        row, column, channel = position // 9, position // 3 % 3, position % 3
        h1 = torch.zeros(1, 3, 3, 3, dtype=torch.int64)
        h1[0, channel, row, column] = 100
        stage = dataclasses.replace(integers, weights=weights, bias=torch.zeros_like(integers.bias))
        assert int(accumulate(config.stage("spatial"), stage, h1)[0, 0, 1, 1]) == 100


SAMPLING = BlockConfig(3, 2, 3, 3, mode="sampling", signed=True)


def test_samples_come_from_the_source_that_is_named() -> None:
    parameters, frames = random_parameters(SAMPLING, 5), random_frames(SAMPLING, 2, 5)
    found = {kind: run_block(SAMPLING, parameters, frames, 1, 3, source=kind) for kind in KINDS}
    for kind in KINDS:
        assert channel_last(found[kind]) == scalar_block(SAMPLING, parameters, channel_last(frames), 1, 3, kind)
        plain, _ = run_block(SAMPLING, parameters, frames, 1, 3, trace=True, source=kind)
        assert torch.equal(plain, found[kind])
    assert not torch.equal(*found.values())
    with pytest.raises(ConfigurationError, match="source = 'dice': must be one of 'box-muller', 'inverse-cdf'"):
        run_block(SAMPLING, parameters, frames, source="dice")


def differs_from_the_contract(config: BlockConfig = SAMPLING) -> bool:
    parameters, frames = random_parameters(config, 5), random_frames(config, 2, 5)
    expected = scalar_block(config, parameters, channel_last(frames), 1, 2)
    found = run_block(config, parameters, frames, 1, 2)
    plain, _ = run_block(config, parameters, frames, 1, 2, trace=True)
    return channel_last(found) != expected and channel_last(plain) != expected


def test_nothing_differs_without_a_fault() -> None:
    assert not differs_from_the_contract()


def test_a_sigma_table_shifted_by_one_is_caught(monkeypatch) -> None:
    monkeypatch.setattr(block, "SIGMA", (*SIGMA[1:], SIGMA[-1]))
    assert differs_from_the_contract()


def test_a_random_source_one_sample_late_is_caught(monkeypatch) -> None:
    correct = block.source_array
    monkeypatch.setattr(block, "source_array", lambda kind, seed, count, start: correct(kind, seed, count, start + 1))
    assert differs_from_the_contract()


def test_a_flipped_weight_sign_is_caught(monkeypatch) -> None:
    correct, fault = block.accumulate, block.run_stage

    def flipped(integers):
        weights = integers.weights.clone()
        weights[0, 0] = -weights[0, 0]
        return dataclasses.replace(integers, weights=weights)

    monkeypatch.setattr(block, "accumulate", lambda stage, integers, source: correct(stage, flipped(integers), source))
    monkeypatch.setattr(block, "run_stage", lambda stage, integers, source: fault(stage, flipped(integers), source))
    assert differs_from_the_contract()


def test_a_dropped_rounding_constant_is_caught(monkeypatch) -> None:
    correct = block.run_stage

    def floored(stage, integers, source):
        integers.__dict__["scaled_bias"] = integers.bias * integers.scale
        return correct(stage, integers, source)

    monkeypatch.setattr(block, "run_stage", floored)
    monkeypatch.setattr(block, "round_shift", lambda values, shift: values >> shift)
    assert differs_from_the_contract()


def test_an_accumulator_outside_its_format_is_reported() -> None:
    stage = CONFIG.stage("reduce")
    beyond = torch.full((1, 3, 4, 5), 1 << 40)
    with pytest.raises(AccumulatorError, match="stage reduce left"):
        accumulate(stage, PARAMETERS.stages["reduce"], beyond)
