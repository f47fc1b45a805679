"""Mapping of weights to conductances, programmed layers, drift, and noise of readings."""

import copy
import dataclasses
import io
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from quietbar import analog
from quietbar.analog.arrays import multiply
from quietbar.analog.mapping import to_targets, to_weights
from quietbar.analog.programming import program
from quietbar.contract.crossbar import CrossbarConfig, Fault
from quietbar.contract.drift import time_of
from quietbar.contract.errors import ConfigurationError
from quietbar.contract.seeds import derive_seed
from quietbar.integer import crossbar
from quietbar.noise import Chip, Conductance, Drift, Faults, Programming, ReadNoise, Retention, Variation, presets

DAY = 86_400.0
Z = 4.0
"""Standard errors: a normal mean is beyond them with probability 6e-5."""


def random_matrix(rows, columns, seed=0):
    return torch.randn(rows, columns, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


mappings = st.sampled_from(["differential", "offset", "signed"])
g_mins = st.sampled_from([0.0, 0.25, 5.0])
matrices = st.builds(random_matrix, st.integers(1, 6), st.sampled_from([2, 4, 6]), st.integers(0, 1000))


def conductance_of(mapping, g_min, **fields):
    return Conductance(mapping=mapping, g_min=0.0 if mapping == "signed" else g_min, **fields)


# Mapping


@given(matrices, mappings, g_mins, st.sampled_from(["layer", "column"]), st.sampled_from([1, 2]))
def test_ideal_devices_hold_the_weights(matrix, mapping, g_min, scale, groups):
    mapped = to_targets(matrix, conductance_of(mapping, g_min, scale=scale), groups)
    largest = float(matrix.abs().max())
    assert torch.allclose(to_weights(mapped, mapped.target), matrix, rtol=0, atol=1e-14 * largest)


@given(matrices, mappings, g_mins, st.integers(3, 20), st.integers(1, 4), st.sampled_from(["layer", "column"]))
def test_levels_and_slices_hold_the_nearest_weight(matrix, mapping, g_min, levels, slices, scale):
    conductance = conductance_of(mapping, g_min, levels=levels, slices=slices, scale=scale)
    mapped = to_targets(matrix, conductance)
    full = matrix.abs().max() if scale == "layer" else matrix.abs().amax(dim=0)
    codes = levels**slices - 1
    steps = codes // 2 if mapping == "offset" else codes
    expected = (matrix / full * steps).round() / steps * full
    assert torch.allclose(to_weights(mapped, mapped.target), expected, rtol=0, atol=1e-12)
    digits = (mapped.target.abs() - conductance.g_min) / (conductance.g_max - conductance.g_min) * (levels - 1)
    assert torch.allclose(digits, digits.round(), atol=1e-9), "every device is at a level"
    assert float(mapped.target.abs().max()) <= conductance.g_max + 1e-9


@given(matrices, mappings, st.integers(1, 8))
def test_many_levels_come_to_the_weights_themselves(matrix, mapping, slices):
    conductance = conductance_of(mapping, 0.0, levels=64, slices=slices)
    mapped = to_targets(matrix, conductance)
    error = (to_weights(mapped, mapped.target) - matrix).abs().max()
    steps = (64**slices - 1) // (2 if mapping == "offset" else 1)
    assert float(error) <= float(matrix.abs().max()) * (0.5 / steps + 1e-14)


def test_a_differential_pair_has_its_weight_on_one_side_and_slices_the_low_digit_first():
    matrix = torch.tensor([[1.0, -0.5], [0.0, 13 / 15]], dtype=torch.float64)
    mapped = to_targets(matrix, Conductance(g_max=3.0, levels=4, slices=2))
    # 15, -7.5 (to even: -8), 0 and 13 in base 4.
    assert mapped.target[0].tolist() == [[[3, 0], [0, 0]], [[0, 0], [1, 0]]]
    assert mapped.target[1].tolist() == [[[3, 0], [0, 2]], [[0, 0], [3, 0]]]


def test_weights_that_are_all_zero_are_held():
    for mapping in ("differential", "offset", "signed"):
        mapped = to_targets(torch.zeros(3, 2, dtype=torch.float64), Conductance(mapping=mapping, scale="column"))
        assert (to_weights(mapped, mapped.target) == 0).all()


# The same devices in the integer engine


def test_the_devices_are_those_of_the_integer_crossbar():
    """Equal but for the rounding of conductances to sixteenths of a level, and of the samples' scale."""
    config, layer = CrossbarConfig(rows=24, columns=8), "layer1.conv"
    weights = torch.randint(-127, 128, (24, 8), generator=torch.Generator().manual_seed(1))
    weights[0, 0] = 127
    plus, minus = crossbar.program(config, weights, derive_seed(5, layer, "programming"))
    conductance = dataclasses.replace(presets.pcm, levels=128, read=ReadNoise())
    _, _, found = program(weights.double().T.contiguous(), Chip(5, conductance=conductance), layer)
    levels = found[0] / 25 * 127 * 16
    assert (levels[..., 0] - plus).abs().max() < 0.6 and (levels[..., 1] - minus).abs().max() < 0.6
    assert (levels[..., 0] - plus.roll(1, 0)).abs().max() > 16, "another order would be far off"


def test_the_stuck_devices_are_those_of_the_integer_crossbar():
    config, conductance = CrossbarConfig(rows=24, columns=8, faults=True), Conductance(faults=Faults(0.1, 0.05))
    weights = torch.randint(-127, 128, (24, 8), generator=torch.Generator().manual_seed(1))
    tile = crossbar.draw_faults(config, Chip(5), "layer", 0.1, 0.05)
    ideal = program(weights.double().T, Chip(5, conductance=Conductance()), "layer")[2][0]
    found = program(weights.double().T, Chip(5, conductance=conductance), "layer")[2][0]
    expected = torch.where(tile == Fault.STUCK_AT_FULL, 25.0, torch.where(tile == Fault.STUCK_AT_ZERO, 0.0, ideal))
    assert torch.equal(found, expected) and bool((tile > 0).any())


def test_drifted_devices_are_those_of_the_integer_crossbar():
    """Equal but for the integer tile's steps of exponent (1/1024), of time and of conductance."""
    config, layer, seconds = CrossbarConfig(rows=24, columns=8, drift=True), "layer1.conv", 86_400.0
    weights = torch.randint(-127, 128, (24, 8), generator=torch.Generator().manual_seed(1))
    weights[0, 0] = 127
    pair = crossbar.program(config, weights, derive_seed(5, layer, "programming"))
    exponents = crossbar.draw_exponents(config, weights, derive_seed(5, layer, "drift"))
    tile = torch.stack(crossbar.drift(config, pair, exponents, time_of(seconds)), dim=-1)
    conductance = dataclasses.replace(presets.pcm, levels=128, read=ReadNoise(), seconds=seconds)
    found = program(weights.double().T, Chip(5, conductance=conductance), layer)[2][0] / 25 * 127 * 16
    sample = torch.from_numpy(Chip(5).static_draws(layer, "drift", found.numel())).reshape(found.shape)
    # Half a step of mean, of the product and of the deviation in the exponent; half a step of time and of the loss.
    exponent = (1 + sample.abs() / 2) / 1024 * math.log(seconds / 20)
    bound = torch.expm1(exponent + math.log(2) * (0.25 / 64 + 0.5 / 256))
    assert bool(((found - tile).abs() <= bound * found + 1.5).all())
    assert (found - tile.roll(1, 0)).abs().max() > 160, "other devices would be far off"


def test_the_columns_gains_are_those_of_the_integer_crossbar():
    variation = Variation(gain_mismatch=0.1, offset_mismatch=0.2, nu=0.01, seconds=86_400.0)
    model = analog.convert(nn.Sequential(nn.Linear(24, 8)), Chip(5, variation))
    tile = crossbar.converter_for_chip(CrossbarConfig(24, 8), Chip(5, variation), "0", 127.0, 1000.0)
    gain = torch.tensor(tile.gain) * 2.0 ** -torch.tensor(tile.shift)
    assert torch.allclose(gain.float(), model[0].gain[0], rtol=1e-4)
    assert torch.allclose(torch.tensor(tile.offset) * gain.float(), 1000 * model[0].offset[0], atol=1.0)


# Programmed layers

LAYERS = {
    "conv": (lambda: nn.Conv2d(6, 8, 3, padding=1), (6, 9, 9)),
    "grouped": (lambda: nn.Conv2d(6, 8, 3, groups=2, stride=2), (6, 9, 9)),
    "depthwise": (lambda: nn.Conv2d(6, 6, 3, groups=6, padding=1, bias=False), (6, 9, 9)),
    "dilated": (lambda: nn.Conv2d(6, 8, 3, dilation=2, padding=2, padding_mode="circular"), (6, 9, 9)),
    "linear": (lambda: nn.Linear(10, 6), (10,)),
    "tokens": (lambda: nn.Linear(10, 6, bias=False), (5, 10)),
}


def one_layer(kind, dtype=torch.float64):
    torch.manual_seed(0)
    build, shape = LAYERS[kind]
    return nn.Sequential(build().to(dtype)), torch.randn(4, *shape, dtype=dtype)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("mapping", ["differential", "offset", "signed"])
def test_ideal_devices_reproduce_the_digital_layer(kind, mapping):
    model, x = one_layer(kind)
    for conductance in (Conductance(mapping=mapping), Conductance(mapping=mapping, levels=256, slices=5)):
        noisy = analog.convert(model, Chip(7, conductance=conductance))
        assert torch.allclose(noisy(x), model(x), rtol=0, atol=1e-9)
        assert (noisy.state_dict().keys(), type(noisy[0].weight)) == (model.state_dict().keys(), nn.Parameter)


def test_a_whole_network_on_ideal_devices_is_the_digital_network():
    from quietbar.models import create

    torch.manual_seed(0)
    model, x = create("digits").eval(), torch.randn(3, 1, 8, 8)
    for mapping in ("differential", "offset", "signed"):
        noisy = analog.convert(model, Chip(7, conductance=Conductance(mapping=mapping)))
        assert torch.allclose(noisy(x), model(x), atol=1e-5)


def test_conductance_faults_and_levels_change_the_layer_as_the_pure_functions_say():
    model, x = one_layer("grouped")
    conductance = dataclasses.replace(presets.pcm, faults=Faults(0.05, 0.05), levels=16, read=ReadNoise())
    noisy = analog.convert(model, Chip(7, conductance=conductance))
    array, _, _ = program(model[0].weight, Chip(7, conductance=conductance), "0", groups=2)
    expected = functional.conv2d(x, array.weight, model[0].bias, stride=2, groups=2)
    assert torch.equal(noisy(x), expected) and not torch.allclose(expected, model(x), atol=0.1)


def test_a_chip_is_the_same_whatever_the_type_and_the_threads():
    model, x = one_layer("conv")
    conductance = dataclasses.replace(presets.pcm, seconds=DAY, read=ReadNoise())
    exact = analog.convert(model, Chip(7, conductance=conductance))(x)
    single = analog.convert(model.float(), Chip(7, conductance=conductance))
    assert torch.allclose(single(x.float()).double(), exact, atol=1e-5)
    one = single(x.float())
    torch.set_num_threads(2)
    try:
        two = analog.convert(model, Chip(7, conductance=conductance))(x.float())
    finally:
        torch.set_num_threads(1)
    assert torch.allclose(one, two, atol=1e-6)


def test_an_image_meets_the_same_readings_in_whatever_batch_it_comes():
    for mapping in ("differential", "offset"):
        for kind in LAYERS:
            model, x = one_layer(kind)
            conductance = dataclasses.replace(presets.pcm, mapping=mapping)
            noisy = analog.convert(model, Chip(7, conductance=conductance))
            whole = noisy(x)
            analog.restart(noisy)
            parts = torch.cat([noisy(x[:1]), noisy(x[1:])])
            assert torch.allclose(whole, parts, atol=1e-12)
            if kind != "tokens":
                analog.restart(noisy)
                assert torch.allclose(noisy[0](x[0]), whole[0], atol=1e-12), "an image without a batch"
            assert not torch.allclose(noisy(x), whole, atol=1e-3), "later images meet other readings"


def test_layers_follow_their_weights():
    model, x = one_layer("linear")
    noisy = analog.convert(model, Chip(7, conductance=dataclasses.replace(presets.pcm, read=ReadNoise())))
    first = noisy(x)
    array = noisy[0].held()
    assert noisy[0].held() is array, "unchanged weights are not programmed again"
    with torch.no_grad():
        noisy[0].weight.mul_(2)
    assert torch.allclose(noisy(x) - noisy[0].bias, 2 * (first - noisy[0].bias), atol=1e-12)
    noisy.load_state_dict(model.state_dict())
    assert torch.equal(noisy(x), first), "the devices' draws belong to the chip"
    noisy[0].weight = nn.Parameter(model[0].weight.detach().clone())
    assert torch.equal(noisy(x), first)
    noisy.float()
    assert noisy(x.float()).dtype == torch.float32


def test_copies_and_saved_models_are_the_same_chip():
    model, x = one_layer("conv")
    noisy = analog.convert(model, Chip(7, conductance=presets.pcm))
    noisy(x)
    copied, file = copy.deepcopy(noisy), io.BytesIO()
    torch.save(noisy, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    with torch.no_grad():
        changed = copy.deepcopy(noisy)
        changed[0].weight.mul_(2)
    expected = noisy(x)
    assert torch.equal(copied(x), expected) and torch.equal(loaded(x), expected)
    assert not torch.allclose(changed(x), expected, atol=0.1), "a copy does not go by its origin's array"


def test_inference_mode_leaves_an_array_that_training_can_use():
    model, x = one_layer("conv")
    noisy = analog.convert(model, Chip(7, conductance=presets.pcm))
    with torch.inference_mode():
        noisy(x)
    noisy(x).sum().backward()
    assert noisy[0].weight.grad is not None


def test_quiet_and_scaled_layers():
    model, x = one_layer("conv")
    noisy = analog.convert(model, Chip(7, conductance=presets.pcm))
    with analog.quiet(noisy):
        assert torch.equal(noisy(x), model(x))

    def deviation(factor):
        analog.scale_noise(noisy, factor)
        analog.restart(noisy)
        return noisy(x) - model(x)

    assert (deviation(0.0) == 0).all()
    assert torch.allclose(deviation(0.5), 0.5 * deviation(1.0), atol=1e-12)
    assert torch.allclose(deviation(2.0), 2 * deviation(1.0), atol=1e-12)


def test_back_to_digital():
    model, x = one_layer("conv")
    noisy = analog.convert(model, Chip(7, conductance=presets.pcm))
    noisy(x)
    plain = analog.to_digital(noisy)
    assert type(plain[0]) is nn.Conv2d and torch.equal(plain(x), model(x))
    assert vars(plain[0]).keys() == vars(model[0]).keys()


# Program and drift


def test_programming_begins_a_life_and_drift_leads_on():
    model, x = one_layer("conv")
    conductance = dataclasses.replace(presets.pcm, read=ReadNoise(), compensation="none")
    noisy = analog.convert(model, Chip(7, Variation(nu=0.05), conductance))
    analog.program(noisy)
    fresh = noisy(x)
    analog.drift(noisy, DAY)
    old = noisy(x)
    assert noisy[0].chip.conductance.seconds == noisy[0].chip.variation.seconds == DAY
    assert old.abs().mean() < 0.7 * fresh.abs().mean()
    analog.drift(noisy, 20)
    assert torch.equal(noisy(x), fresh), "a time is a state, whatever came before it"
    analog.drift(noisy, DAY)
    analog.program(noisy)
    assert torch.equal(noisy(x), fresh)
    analog.program(noisy, 8)
    assert noisy[0].chip == Chip(8, Variation(nu=0.05), conductance)
    analog.program(noisy, Chip(9, conductance=presets.rram_wan))
    assert noisy[0].chip == Chip(9, conductance=presets.rram_wan)


@pytest.mark.parametrize("compensation", ["global", "column"])
def test_compensation_restores_the_mean_magnitude(compensation):
    weight = random_matrix(64, 100)
    conductance = dataclasses.replace(presets.pcm, read=ReadNoise(), compensation=compensation)
    first, _, _ = program(weight, Chip(7, conductance=conductance), "a")
    later, _, _ = program(weight, Chip(7, conductance=dataclasses.replace(conductance, seconds=1e7)), "a")
    none = dataclasses.replace(conductance, seconds=1e7, compensation="none")
    bare, _, _ = program(weight, Chip(7, conductance=none), "a")
    axes = (0, 1) if compensation == "global" else 1
    assert torch.allclose(later.weight.abs().mean(axes), first.weight.abs().mean(axes), rtol=1e-12)
    assert float(bare.weight.abs().mean()) < 0.6 * float(first.weight.abs().mean())
    factors = later.weight.abs().sum(1) / bare.weight.abs().sum(1)
    assert torch.allclose(later.weight, bare.weight * factors[:, None], rtol=1e-12)
    assert (float(factors.std()) < 1e-12) == (compensation == "global")


def test_uniform_drift_is_compensated_exactly():
    weight = random_matrix(8, 10)
    conductance = Conductance(drift=Drift.constant(0.05), compensation="global", seconds=1e6)
    array, _, _ = program(weight, Chip(7, conductance=conductance), "a")
    assert torch.allclose(array.weight, weight, rtol=1e-12)
    bare = dataclasses.replace(conductance, compensation="none")
    array, _, _ = program(weight, Chip(7, conductance=bare), "a")
    assert torch.allclose(array.weight, weight * (1e6 / 20) ** -0.05, rtol=1e-12)


def test_weights_that_are_not_finite_are_refused():
    model, x = one_layer("linear")
    noisy = analog.convert(model, Chip(7, conductance=presets.pcm))
    with torch.no_grad():
        noisy[0].weight[0, 0] = math.nan
    with pytest.raises(ConfigurationError, match=r"0.weight = 'not finite': must be finite to be programmed"):
        noisy(x)


# Noise of readings


def reading_deviation_of(weight, chip, groups=1):
    """Variance of each weight by its devices' readings, from the published formula, device by device."""
    conductance = chip.conductance
    _, mapped, now = program(weight, chip, "0", groups)
    g = mapped.target / 25
    q = np.minimum(0.0088 / np.maximum(g.numpy(), 1e-30) ** 0.65, 0.2)
    sd = now.numpy() * q * math.sqrt(math.log((conductance.seconds + 250e-9) / 500e-9))
    return sd[0], now


@pytest.mark.parametrize("kind", ["conv", "grouped", "linear"])
def test_readings_have_the_variance_of_their_devices(kind):
    """Against single devices, each with a normal reading of its own, product by product."""
    model, x = one_layer(kind)
    x, chip = x[:1].repeat(4000, *[1] * (x.dim() - 1)), Chip(7, conductance=presets.pcm)
    noisy, layer = analog.convert(model, chip), model[0]
    results = noisy(x).detach()
    held, _, _ = program(layer.weight, chip, "0", getattr(layer, "groups", 1))
    mean = multiply(layer, x[:1], held.weight, layer.bias).detach()
    sd, _ = reading_deviation_of(layer.weight, chip, getattr(layer, "groups", 1))
    unit = float(layer.weight.detach().abs().max()) / 25
    variance = torch.from_numpy((sd**2).sum(-1).T * unit**2).reshape(layer.weight.shape)
    expected = multiply(layer, x[:1] ** 2, variance, None).detach()
    count = len(x)
    z = (results.mean(0, keepdim=True) - mean) / (expected / count).sqrt()
    assert float(z.abs().max()) < 5, "means: the largest of some hundred"
    ratios = results.var(0, keepdim=True) / expected
    assert float((ratios - 1).abs().max()) < 5 * math.sqrt(2 / count)
    assert abs(float(ratios.mean()) - 1) < Z * math.sqrt(2 / count / ratios.numel())


def test_a_reference_column_is_read_once_for_all_columns():
    """Only the reference fluctuates where every other device is erased."""
    weight = -torch.ones(6, 10, dtype=torch.float64)
    model = nn.Sequential(nn.Linear(10, 6, bias=False, dtype=torch.float64))
    model[0].weight.data.copy_(weight)
    conductance = Conductance(mapping="offset", read=ReadNoise(coefficient=0.01))
    noisy = analog.convert(model, Chip(7, conductance=conductance))
    x = torch.randn(1, 10, dtype=torch.float64).repeat(20_000, 1)
    deviations = (noisy(x) - model(x)).detach()
    assert float((deviations - deviations[:, :1]).abs().max()) < 1e-12
    sd = 12.5 * 0.01 * math.sqrt(math.log((20 + 250e-9) / 500e-9)) * 2 / 25
    expected = sd**2 * float(x[0].square().sum())
    assert abs(float(deviations[:, 0].var()) / expected - 1) < Z * math.sqrt(2 / len(x))


def test_readings_and_temporal_noise_add_their_variances():
    model, x = one_layer("linear")
    x = x[:1].repeat(20_000, 1)
    conductance = Conductance(read=ReadNoise(additive=1.0))
    noisy = analog.convert(model, Chip(7, Variation(sigma=0.5, gain_mismatch=0.2), conductance))
    analog.set_calibration(noisy, {"0": analog.Calibration(std=1.0, range=4.0)})
    unit = float(model[0].weight.detach().abs().max()) / 25
    gain = 1 + 0.2 * torch.from_numpy(Chip(7).static_draws("0", "gain", 6))
    expected = 0.25 + gain.square() * 2 * unit**2 * float(x[0].square().sum())
    ratio = noisy(x).detach().var(0) / expected
    assert float((ratio - 1).abs().max()) < 4.5 * math.sqrt(2 / len(x))


@pytest.mark.parametrize("mapping", ["differential", "offset"])
def test_each_slice_of_an_input_is_a_reading_of_its_own(mapping):
    model, x = one_layer("linear")
    x = x[:1].abs().repeat(20_000, 1)
    conductance = Conductance(mapping=mapping, read=ReadNoise(additive=1.0))
    dac = analog.Converter(bits=4)
    whole = analog.Interface(dac=dac)
    cut, tiled = dataclasses.replace(whole, slice_bits=2), dataclasses.replace(whole, tile_rows=3)
    sliced = analog.convert(model, Chip(7, conductance=conductance), interface=cut)
    analog.calibrate(sliced, x[:1])
    codes = (x[0] / x.max() * 15).round()
    unit = float(model[0].weight.detach().abs().max()) / 25 * (1 if mapping == "differential" else 2)
    step = float(x.max()) / 15

    def variance_of(squares):
        return 2 * unit**2 * step**2 * float(squares.sum())

    slices = (codes % 4) ** 2 + (4 * (codes // 4)) ** 2
    for interface, squares in ((cut, slices), (whole, codes**2), (tiled, codes**2)):
        analog.set_interface(sliced, interface)
        analog.calibrate(sliced, x[:1])
        ratio = float(sliced(x).detach().var(0).mean()) / variance_of(squares)
        assert abs(ratio - 1) < 1.5 * Z * math.sqrt(2 / len(x)), "columns share half of the offset mapping's noise"
    assert abs(variance_of(slices) / variance_of(codes**2) - 1) > 0.2


def test_noise_of_activations_grows_with_time():
    model, x = one_layer("linear")
    x = x[:1].repeat(20_000, 1)
    noisy = analog.convert(model, Chip(7, Variation(sigma=0.1, noise_growth=0.5)))
    analog.set_calibration(noisy, {"0": analog.Calibration(std=1.0, range=4.0)})
    for seconds in (20.0, DAY):
        analog.drift(noisy, seconds)
        expected = 0.1**2 * (1 + 0.5 * math.log(seconds / 20))
        ratio = float(noisy(x).detach().var(0).mean()) / expected
        assert abs(ratio - 1) < Z * math.sqrt(2 / len(x) / 6)


CONSTANT = dataclasses.replace(presets.rram_milo, read=ReadNoise(additive=0.5))


@pytest.mark.parametrize(
    "chip",
    [
        Chip(7, Variation(sigma=0.1, gain_mismatch=0.1, offset_mismatch=0.1)),
        Chip(7, Variation(sigma=0.1, nu=0.05)),
        Chip(7, Variation(sigma=0.1, noise_growth=0.5)),
        Chip(7, Variation(noise_growth=0.5)),
        *(Chip(7, conductance=presets.conductance_by_name(name)) for name in presets.CONDUCTANCES),
        Chip(7, conductance=CONSTANT),
        Chip(7, conductance=dataclasses.replace(CONSTANT, read=dataclasses.replace(CONSTANT.read, redraw="time"))),
        Chip(7, conductance=dataclasses.replace(CONSTANT, read=ReadNoise(coefficient=0.1, redraw="reading"))),
        Chip(7, conductance=dataclasses.replace(CONSTANT, read=ReadNoise(coefficient=0.1, limit=0))),
        Chip(7, conductance=dataclasses.replace(CONSTANT, retention=Retention((20.0,), ((0.5,),)))),
        Chip(7, conductance=dataclasses.replace(CONSTANT, retention=Retention((20.0, 1e9), ((0.5,), (0.9,))))),
        Chip(7, conductance=dataclasses.replace(CONSTANT, retention=Retention(shift=-0.1))),
        Chip(7, conductance=dataclasses.replace(CONSTANT, drift=Drift.constant(0.05))),
    ],
    ids=lambda chip: "",
)
def test_what_ages_gives_other_results_later_and_what_does_not_is_told(chip):
    """The results of one image on the same chip at two times, drift refused or not."""
    model, x = one_layer("linear")
    results = []
    for seconds in (20.0, 19 * 3600.0):
        parts = {"variation": dataclasses.replace(chip.variation, seconds=seconds)}
        if chip.conductance is not None:
            if chip.conductance.retention.times == (20.0,):
                seconds = 20.0  # nothing is known later
            parts["conductance"] = dataclasses.replace(chip.conductance, seconds=seconds)
        noisy = analog.convert(model, dataclasses.replace(chip, **parts))
        analog.set_calibration(noisy, {"0": analog.Calibration(std=1.0, range=4.0)})
        results.append(noisy(x[:1]).detach())
    assert chip.ages != torch.equal(*results)
    if not chip.ages:
        with pytest.raises(ConfigurationError, match=r"drift\.seconds = 20: must be of layers that age"):
            analog.drift(analog.convert(model, chip), 20)
    else:
        analog.drift(analog.convert(model, chip), 20)


# Training


def test_gradients_go_to_the_digital_weight_straight_through():
    model, x = one_layer("conv")
    conductance = dataclasses.replace(presets.pcm, levels=16)
    noisy = analog.convert(model, Chip(7, conductance=conductance))
    noisy(x).square().sum().backward()
    analog.restart(noisy)
    result = noisy(x).detach()
    array = noisy[0].held()
    weight = array.weight.clone().requires_grad_()
    clean = functional.conv2d(x, weight, model[0].bias, padding=1)
    (clean + (result - clean.detach())).square().sum().backward()
    assert torch.allclose(noisy[0].weight.grad, weight.grad)


def test_training_on_noisy_devices_lowers_the_loss():
    from quietbar.models import create

    torch.manual_seed(0)
    noisy = analog.convert(create("digits"), Chip(0, conductance=presets.pcm), fold_batch_norm=False).train()
    x, labels = torch.randn(24, 1, 8, 8), torch.arange(24) % 10
    optimizer, losses = torch.optim.Adam(noisy.parameters(), lr=1e-2), []
    for step in range(40):
        analog.program(noisy, step)
        optimizer.zero_grad()
        loss = functional.cross_entropy(noisy(x), labels)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-3:]) < 0.5 * sum(losses[:3])


# Configuration by layer, and its file


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 8), nn.ReLU(), nn.Linear(8, 3))


def test_the_last_pattern_that_fits_a_layer_wins_part_by_part():
    layers = {"*": presets.rram_milo, "[24]": [presets.pcm, Variation(nu=0.1)], "4": Conductance()}
    noisy = analog.convert(network(), Chip(7, Variation(gain_mismatch=0.1)), layers=layers)
    assert noisy[0].chip == Chip(7, Variation(gain_mismatch=0.1), presets.rram_milo)
    assert noisy[2].chip == Chip(7, Variation(nu=0.1), presets.pcm)
    assert noisy[4].chip == Chip(7, Variation(nu=0.1), Conductance())
    analog.program(noisy, 8)
    assert noisy[4].chip == Chip(8, Variation(nu=0.1), Conductance()), "each layer keeps its own"
    analog.set_chip(noisy, Chip(9), layers={"0": presets.pcm})
    assert noisy[0].chip == Chip(9, conductance=presets.pcm) and noisy[2].chip == Chip(9)
    analog.set_conductance(noisy, presets.rram_wan, include="4")
    assert noisy[4].chip == Chip(9, conductance=presets.rram_wan) and noisy[2].chip == Chip(9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda m: analog.convert(m, Chip(7), layers={"conv*": presets.pcm}),
            "convert.layers = 'conv*': must be a pattern",
        ),
        (
            lambda m: analog.convert(m, Chip(7), layers={"0": "pcm"}),
            "convert.layers['0'] = 'pcm': must be a Variation, a",
        ),
        (lambda m: analog.convert(m, Chip(7), layers={"0": []}), "convert.layers['0'] = []: must be a Variation, a"),
        (lambda m: analog.convert(m, Chip(7), layers=presets.pcm), "must be a mapping of patterns to parts"),
        (
            lambda m: analog.convert(m, Chip(7), exclude="0", layers={"0": presets.pcm}),
            "convert.layers = '0': must be a pattern that fits one of the layers 2, 4",
        ),
        (
            lambda m: analog.drift(analog.convert(m, Chip(7)), 3),
            "variation.seconds = 3.0: must be a finite number of at",
        ),
        (
            lambda m: analog.drift(analog.convert(m, Chip(7, conductance=presets.rram_wan)), 3e5),
            "0.conductance.seconds = 300000.0: must be at most 172800",
        ),
        (
            lambda m: analog.drift(analog.convert(m, Chip(7)), "1 day"),
            "drift.seconds = '1 day': must be a finite number",
        ),
        (lambda m: analog.drift(analog.convert(m, Chip(7)), 30, include="x"), "drift.include = 'x': must be a pattern"),
        (
            lambda m: analog.drift(analog.convert(m, Chip(7, Variation(sigma=0.1, gain_mismatch=0.1))), 30),
            "drift.seconds = 30: must be of layers that age: give their chip variation.nu or noise_growth, or a",
        ),
        (
            lambda m: analog.drift(analog.convert(m, Chip(7), layers={"0": presets.pcm}), 30, include=["2", "4"]),
            "drift.seconds = 30: must be of layers that age",
        ),
        (lambda m: analog.program(analog.convert(m, Chip(7)), -1), "chip.seed = -1: must be an integer"),
        (lambda m: analog.program(m), "must be a model from quietbar.analog.convert"),
        (
            lambda m: analog.set_conductance(analog.convert(m, Chip(7)), "pcm"),
            "chip.conductance = 'pcm': must be None or",
        ),
        (
            lambda m: analog.set_configuration(analog.convert(m, Chip(7)), {"9": {}}),
            "configuration.9 = '9': must be a layer of the model: 0, 2, 4",
        ),
        (
            lambda m: analog.set_configuration(analog.convert(m, Chip(7)), {"0": {"chip": {"seed": 1}}}),
            "must be complete: layer 2 is missing",
        ),
        (
            lambda m: analog.load_configuration(analog.convert(m, Chip(7)), "/nowhere.json"),
            "load_configuration.path = '/nowhere.json': must be a readable JSON file",
        ),
    ],
)
def test_bad_arguments_are_refused_by_name(call, message):
    with pytest.raises(ConfigurationError) as raised:
        call(network())
    assert message in str(raised.value)


def test_weights_come_without_configuration_and_configuration_only_when_asked_for(tmp_path):
    eight_bits = analog.Converter(bits=8)
    interface = analog.Interface(dac=eight_bits, adc=eight_bits, tile_rows=9)
    chip = Chip(7, Variation(sigma=0.3), presets.pcm)
    then = analog.convert(network(), chip, interface=interface, layers={"4": presets.rram_milo})
    x = torch.randn(5, 1, 8, 8)
    analog.calibrate(then, x)
    with torch.no_grad():
        then[0].weight.mul_(1.5)
    torch.save(then.state_dict(), tmp_path / "weights.pt")
    analog.save_configuration(then, tmp_path / "chip.json")

    now = analog.convert(network(), Chip(8, conductance=Conductance(levels=4)))
    now.load_state_dict(torch.load(tmp_path / "weights.pt"))
    assert now[0].chip == Chip(8, conductance=Conductance(levels=4)) and now[0].calibration is None
    analog.load_configuration(now, tmp_path / "chip.json")
    assert now[0].chip == then[0].chip and now[4].chip.conductance == presets.rram_milo
    assert now[2].calibration == then[2].calibration and now[2].interface == interface
    assert torch.equal(now(x), then(x))


@settings(max_examples=20)
@given(st.sampled_from(["pcm", "rram_milo", "rram_wan", "rram_cmo", "generic"]), st.integers(0, 2**64 - 1))
def test_programming_is_a_pure_function(name, seed):
    weight = random_matrix(5, 7)
    chip = Chip(seed, conductance=presets.conductance_by_name(name))
    one, two = program(weight, chip, "a")[0], program(weight.clone(), chip, "a")[0]
    assert torch.equal(one.weight, two.weight)
    assert not torch.equal(one.weight, program(weight, dataclasses.replace(chip, seed=seed ^ 1), "a")[0].weight)


def test_programming_noise_alone_has_its_variance_in_weights():
    weight = torch.full((1000, 200), 0.5, dtype=torch.float64)
    weight[0, 0] = 1.0
    chip = Chip(3, conductance=Conductance(g_min=10.0, programming=Programming((0.3,))))
    array, _, _ = program(weight, chip, "a")
    deviations = array.weight - weight
    expected = 2 * (0.3 / 15) ** 2
    assert abs(float(deviations.var()) / expected - 1) < Z * math.sqrt(2 / weight.numel())
    assert abs(float(deviations.mean())) < Z * math.sqrt(expected / weight.numel())
