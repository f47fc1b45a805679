"""Converters, tiles and bit slices of analog layers, and the ranges that calibration finds."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from quietbar import analog
from quietbar.analog import Converter, Grid, Interface
from quietbar.analog.arrays import channel_ranges, slice_input
from quietbar.analog.distribution import Moments
from quietbar.contract.errors import ConfigurationError
from quietbar.noise import Chip, Variation

EIGHT = Interface(dac=Converter(8), adc=Converter(8))


def generator(seed):
    return torch.Generator().manual_seed(seed)


def converted(layer, inputs, interface, variation=Variation(), seed=7):  # noqa: B008 - it is frozen
    model = analog.convert(nn.Sequential(layer), Chip(seed, variation), interface=interface)
    analog.calibrate(model, inputs)
    return model


def on_grid(values, step, low, high):
    """The grid's definition in NumPy."""
    return np.clip(np.floor(values / step + 0.5), low, high) * step


# Configuration


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Converter(1), "converter.bits = 1: must be an integer from 2 to 16"),
        (lambda: Converter(17), "converter.bits = 17: must be an integer from 2 to 16"),
        (lambda: Converter(8.0), "converter.bits = 8.0: must be an integer from 2 to 16"),
        (lambda: Converter(True), "converter.bits = True: must be an integer from 2 to 16"),
        (lambda: Converter(8, "minmax"), "converter.range = 'minmax': must be one of 'max', 'percentile', 'std'"),
        (
            lambda: Converter(8, percentile=0),
            "converter.percentile = 0: must be a finite number above 0 and at most 100",
        ),
        (lambda: Converter(8, percentile=101), "percentile = 101: must be a finite number above 0 and at most 100"),
        (lambda: Converter(8, percentile="99"), "percentile = '99': must be a finite number above 0 and at most 100"),
        (lambda: Converter(8, deviations=0), "converter.deviations = 0: must be a finite number above 0"),
        (lambda: Converter(8, deviations=math.inf), "converter.deviations = inf: must be a finite number above 0"),
        (lambda: Converter(8, margin=-1), "converter.margin = -1: must be a finite number above 0"),
        (lambda: Converter(8, margin=math.nan), "converter.margin = nan: must be a finite number above 0"),
        (lambda: Interface(dac=8), "interface.dac = 8: must be a quietbar.analog.Converter"),
        (lambda: Interface(adc=None), "interface.adc = None: must be a quietbar.analog.Converter"),
        (
            lambda: Interface(dac_sign="both"),
            "interface.dac_sign = 'both': must be one of 'auto', 'signed', 'unsigned'",
        ),
        (lambda: Interface(slice_bits=1), "interface.slice_bits = 1: must be None without dac.bits"),
        (lambda: Interface(Converter(4), slice_bits=4), "interface.slice_bits = 4: must be an integer from 1 to 3"),
        (lambda: Interface(Converter(4), slice_bits=0), "interface.slice_bits = 0: must be an integer from 1 to 3"),
        (lambda: Interface(tile_rows=0), "interface.tile_rows = 0: must be an integer from 1 to 1048576"),
        (lambda: Interface(tile_columns=1.5), "interface.tile_columns = 1.5: must be an integer from 1 to 1048576"),
        (lambda: Interface(adc_gain=-0.1), "interface.adc_gain = -0.1: must be a finite number of at least 0"),
        (lambda: Interface(adc_offset=math.nan), "interface.adc_offset = nan: must be a finite number of at least 0"),
        (lambda: Interface(adc_gain=0.1), "interface.adc_gain = 0.1: must be 0 without adc.bits: set adc.bits"),
        (lambda: Interface(adc_offset=1), "interface.adc_offset = 1: must be 0 without adc.bits: set adc.bits"),
        (lambda: Interface.from_dict({"dca": {}}), r"interface.dca = {}: must be absent (did you mean 'dac'?)"),
        (lambda: Interface.from_dict({"dac": {"bits": "8"}}), "interface.dac.bits = '8': must be an integer"),
    ],
)
def test_a_field_outside_its_range_is_refused_by_name(make, message):
    with pytest.raises(ConfigurationError) as raised:
        make()
    assert message in str(raised.value)


@given(
    st.builds(
        Interface,
        dac=st.builds(Converter, st.integers(4, 16), st.sampled_from(["max", "percentile", "std"])),
        adc=st.builds(Converter, st.integers(2, 16), percentile=st.floats(0.1, 100), margin=st.floats(0.1, 10)),
        dac_sign=st.sampled_from(["auto", "signed", "unsigned"]),
        slice_bits=st.one_of(st.none(), st.integers(1, 3)),
        tile_rows=st.one_of(st.none(), st.integers(1, 1 << 20)),
        adc_gain=st.floats(0, 1),
    )
)
def test_json_gives_back_the_same_interface(interface):
    assert Interface.from_dict(json.loads(json.dumps(interface.to_dict()))) == interface


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda m: analog.convert(m, Chip(7), interface=8),
            "convert.interface = 8: must be a quietbar.analog.Interface",
        ),
        (
            lambda m: analog.convert(m, Chip(7), interface=Interface(tile_rows=8)),
            "interface.tile_rows = 8: must be at least 9 for 0, whose kernel has as many places",
        ),
        (
            lambda m: analog.set_interface(analog.convert(m, Chip(7)), Interface(), "conv"),
            "set_interface.include = 'conv': must be a pattern that fits",
        ),
        (
            lambda m: analog.convert(m, Chip(7), interface=EIGHT)(torch.zeros(1, 4, 5, 5)),
            "0.calibration.inputs = None: must be measured: call quietbar.analog.calibrate(model, batches)",
        ),
        (
            lambda m: converted(m[0], torch.zeros(1, 4, 5, 5), EIGHT)(torch.zeros(1, 4, 5, 5)),
            "0.calibration.inputs.high = 0.0: must be above 0 for some input",
        ),
    ],
)
def test_bad_use_is_refused_by_name(call, message):
    with pytest.raises(ConfigurationError) as raised:
        call(nn.Sequential(nn.Conv2d(4, 2, 3)))
    assert message in str(raised.value)


def test_an_interface_of_other_tiles_wants_calibration_again():
    x = torch.randn(3, 8, 5, 5, generator=generator(1))
    model = converted(nn.Conv2d(8, 3, 3), x, EIGHT)
    analog.set_interface(model, Interface(Converter(8), Converter(8), tile_rows=36))
    with pytest.raises(ConfigurationError, match=r"0.calibration.conversions = 1: must be 2: measure them with"):
        model(x)
    analog.calibrate(model, x)
    model(x)


# Ranges


@settings(max_examples=50)
@given(st.integers(0, 1000), st.floats(0.5, 100), st.integers(1, 5))
def test_a_percentile_is_within_a_bin_of_the_exact_one(seed, percent, parts):
    values = torch.randn(997, generator=generator(seed)) * 10 ** torch.randn(1, generator=generator(seed))
    moments = Moments()
    for part in values.chunk(parts):
        moments.add(part)
    exact = float(values.abs().sort().values[math.ceil(997 * percent / 100) - 1])
    found = moments.distribution.percentile(percent)
    assert exact <= found <= exact * (1 + 2**-7)


def test_the_distribution_does_not_depend_on_the_batches():
    values = torch.randn(1000, generator=generator(3), dtype=torch.float64).relu()
    whole, parts = Moments(), Moments()
    whole.add(values)
    for part in values.split([1, 499, 500]):
        parts.add(part)
    assert whole.distribution.bins == parts.distribution.bins
    assert whole.distribution.std == pytest.approx(float(values.std(correction=0)), rel=1e-12)
    assert whole.distribution.mean == pytest.approx(parts.distribution.mean, rel=1e-12)
    assert (whole.low, whole.high) == (float(values.min()), float(values.max()))


@pytest.mark.parametrize(
    ("converter", "limit"),
    [
        (Converter(8), lambda x: np.abs(x).max()),
        (Converter(8, margin=1.5), lambda x: 1.5 * np.abs(x).max()),
        (Converter(8, "std", deviations=2.5), lambda x: abs(x.mean()) + 2.5 * x.std()),
        (Converter(8, "percentile", percentile=95), lambda x: np.quantile(np.abs(x), 0.95, method="inverted_cdf")),
    ],
    ids=["max", "margin", "std", "percentile"],
)
def test_ranges_follow_their_rule(converter, limit):
    moments = Moments()
    values = torch.randn(5000, generator=generator(5)) + 0.5
    moments.add(values)
    assert moments.distribution.limit(converter) == pytest.approx(limit(values.double().numpy()), rel=2**-7)


# Conversion


@pytest.mark.parametrize("make", [lambda: nn.Conv2d(4, 6, 3, padding=1, groups=2), lambda: nn.Linear(5, 6)])
@pytest.mark.parametrize("sign", ["positive", "both"])
def test_a_layer_quantizes_its_input_and_its_result(make, sign):
    torch.manual_seed(0)
    layer = make().double()
    x = torch.randn(7, 4, 5, 5, generator=generator(1), dtype=torch.float64)
    x = x.relu() if sign == "positive" else x
    interface = Interface(Converter(6), Converter(7))
    found = converted(layer, x, interface)(x).detach().numpy()

    largest, high = float(x.abs().max()), 63 if sign == "positive" else 31
    given = on_grid(x.numpy(), largest / high, 0 if sign == "positive" else -high, high)
    y = layer(torch.from_numpy(given)).detach().numpy()
    step = float(layer(x).detach().abs().max()) / 63
    expected = on_grid(y, step, -63, 63)
    # A result on the edge of two codes may fall either way in the last place of the product.
    assert np.mean(np.abs(found - expected) > 1e-9) < 1e-3
    assert np.all(np.abs(found - expected) < 1.001 * step)


def test_an_ideal_interface_is_no_interface():
    x = torch.randn(3, 4, 5, 5, generator=generator(1))
    layer = nn.Conv2d(4, 6, 3)
    ideal = Interface(tile_rows=9, tile_columns=1)
    assert torch.equal(converted(layer, x, ideal)(x), layer(x))


def test_rounding_error_is_uniform():
    """Its mean is 0 and its variance step^2 / 12 (B. Widrow and I. Kollar, Quantization Noise, 2008)."""
    x = torch.randn(1 << 20, generator=generator(1), dtype=torch.float64)
    grid = Grid.signed(8, 8.0)
    error = (analog.quantize(x, grid) - x).numpy() / grid.step
    assert abs(error.mean()) < 4 / math.sqrt(12 * error.size)
    # The fourth central moment of a uniform number is 1 / 80.
    assert abs(error.var() - 1 / 12) < 4 * math.sqrt((1 / 80 - 1 / 144) / error.size)


def test_column_errors_of_the_adc_have_the_asked_deviation_and_stay():
    count = 4000
    layer = nn.Linear(1, count, bias=False).double()
    nn.init.ones_(layer.weight)
    x = torch.linspace(-1, 1, 5, dtype=torch.float64)[:, None]
    interface = Interface(adc=Converter(16, margin=4), adc_gain=0.05, adc_offset=3.0)
    model = converted(layer, x, interface)
    found = model(x).detach().numpy()
    assert np.array_equal(found, model(x).detach().numpy())
    step = 4.0 / 32767
    gain, offset = (found[4] - found[0]) / 2, found[2] / step
    for values, mean, deviation in ((gain, 1, 0.05), (offset, 0, 3.0)):
        assert abs(values.mean() - mean) < 4 * deviation / math.sqrt(count)
        assert abs(values.std() / deviation - 1) < 4 / math.sqrt(2 * count) + 1 / 12 / 9
    other = converted(layer, x, interface, seed=8)(x).detach().numpy()
    assert not np.allclose(found, other)


# Tiles


@given(st.integers(1, 200), st.integers(1, 12), st.integers(1, 500))
def test_arrays_share_the_channels_evenly(channels, places, tile_rows):
    weight = torch.zeros(2, channels, places)
    if tile_rows < places:
        with pytest.raises(ConfigurationError, match=r"interface.tile_rows"):
            channel_ranges(weight, Interface(tile_rows=tile_rows))
        return
    ranges = channel_ranges(weight, Interface(tile_rows=tile_rows))
    assert [channel for start, end in ranges for channel in range(start, end)] == list(range(channels))
    sizes = [end - start for start, end in ranges]
    assert max(sizes) * places <= tile_rows and max(sizes) - min(sizes) <= 1
    assert len(ranges) == math.ceil(channels / (tile_rows // places)), "no more arrays than needed"


LAYERS = {
    "convolution": lambda: nn.Conv2d(10, 6, 3, padding=1),
    "grouped, strided, reflected": lambda: nn.Conv2d(12, 8, 3, 2, padding=1, groups=2, padding_mode="reflect"),
    "linear, without bias": lambda: nn.Linear(30, 5, bias=False),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("slice_bits", [None, 2])
def test_every_array_and_slice_has_a_conversion_of_its_own(name, slice_bits):
    """The sum over arrays and slices, written out."""
    torch.manual_seed(0)
    layer = LAYERS[name]().double()
    groups = getattr(layer, "groups", 1)
    shape = (5, layer.weight.shape[1] * groups, 6, 6) if isinstance(layer, nn.Conv2d) else (5, 30)
    x = torch.randn(shape, generator=generator(1), dtype=torch.float64)
    interface = Interface(Converter(6), Converter(5), tile_rows=36, slice_bits=slice_bits)
    model = converted(layer, x, interface)
    arrays = model[0].arrays
    assert len(arrays) == (math.ceil(layer.weight.shape[1] / 4) if isinstance(layer, nn.Conv2d) else 1)

    step = float(x.abs().max()) / 31
    codes = np.rint(on_grid(x.numpy(), step, -31, 31) / step).astype(int)
    width, count = (slice_bits, 3) if slice_bits else (5, 1)
    total = 0
    for start, end in arrays:
        kept = torch.zeros_like(layer.weight)
        kept[:, start:end] = layer.weight.detach()[:, start:end]
        for number in range(count):
            part = np.sign(codes) * (np.abs(codes) >> number * width & (1 << width) - 1)
            product = _product(layer, torch.from_numpy(part * step), kept).numpy()
            # What is cut is calibrated on the inputs' grid, what is not, on the inputs as they are.
            seen = product if slice_bits or len(arrays) > 1 else _product(layer, x, kept).numpy()
            total = total + on_grid(product, np.abs(seen).max() / 15, -15, 15) * (1 << number * width)
    bias = 0 if layer.bias is None else layer.bias.detach().numpy()[:, None, None]
    difference = np.abs(model(x).detach().numpy() - (total + bias))
    assert np.mean(difference > 1e-9) < 2e-3


def _product(layer, x, weight):
    if isinstance(layer, nn.Linear):
        return functional.linear(x, weight).detach()
    return layer._conv_forward(x, weight, None).detach()


def test_tiles_without_steps_and_noise_change_nothing_but_rounding():
    x = torch.randn(5, 16, 6, 6, generator=generator(1), dtype=torch.float64)
    layer = nn.Conv2d(16, 6, 3).double()
    fine = Interface(Converter(16), Converter(16, margin=1.2), tile_rows=50, slice_bits=5)
    found, ideal = converted(layer, x, fine)(x), layer(x)
    difference = (found - ideal).detach().abs()
    assert float(difference.max()) < 2e-3 * float(ideal.detach().abs().max())


def test_noise_of_arrays_is_independent_and_adds_up():
    x = torch.randn(400, 16, generator=generator(1), dtype=torch.float64)
    layer = nn.Linear(16, 50).double()
    interface = Interface(tile_rows=4)
    model = converted(layer, x, interface, Variation(sigma=0.1))
    noise = (model(x) - layer(x)).detach().numpy()
    expected = math.sqrt(sum((0.1 * part.std) ** 2 for part in model[0].calibration.conversions))
    assert len(model[0].calibration.conversions) == 4
    assert abs(noise.mean()) < 4 * expected / math.sqrt(noise.size)
    assert abs(noise.var() / expected**2 - 1) < 4 * math.sqrt(2 / noise.size)
    single = converted(layer, x, Interface(), Variation(sigma=0.1))
    assert not np.allclose(noise, (single(x) - layer(x)).detach().numpy())


def test_arrays_have_gains_and_offsets_of_their_own():
    x = torch.randn(50, 16, generator=generator(1), dtype=torch.float64)
    layer = nn.Linear(16, 5).double()
    variation = Variation(gain_mismatch=0.1, offset_mismatch=0.2)
    model = converted(layer, x, Interface(tile_rows=8), variation)
    chip, expected = Chip(7, variation), layer.bias.detach().numpy()
    gain = 1 + 0.1 * chip.static_draws("0", "gain", 10).reshape(2, 5)
    offset = 0.2 * chip.static_draws("0", "offset", 10).reshape(2, 5)
    weight = layer.weight.detach().numpy()
    for array in range(2):
        y = x.numpy()[:, 8 * array : 8 * array + 8] @ weight[:, 8 * array : 8 * array + 8].T
        expected = expected + gain[array] * y + offset[array] * y.std()
    assert np.allclose(model(x).detach().numpy(), expected, atol=1e-5)


def test_an_image_meets_the_same_conversion_in_whatever_batch_it_comes():
    x = torch.randn(11, 16, 6, 6, generator=generator(1), dtype=torch.float64)
    interface = Interface(Converter(4), Converter(4), tile_rows=50, slice_bits=1, adc_offset=1.0)
    model = converted(nn.Conv2d(16, 6, 3).double(), x, interface, Variation(sigma=0.2))
    whole = model(x)
    analog.restart(model)
    parts = torch.cat([model(part) for part in x.split([1, 4, 6])])
    assert float((whole != parts).double().mean()) < 1e-3
    assert torch.equal(model[0](x[0]), model[0](x[:1])[0]) is False, "another image by then"


# Slices and gradients


@given(st.integers(2, 12), st.integers(1, 11), st.booleans(), st.integers(0, 100))
def test_slices_add_up_to_the_value_on_the_grid(bits, slice_bits, is_signed, seed):
    grid = (Grid.signed if is_signed else Grid.unsigned)(bits, 2.0)
    x = torch.randn(50, generator=generator(seed), dtype=torch.float64)
    slices = slice_input(x, grid, slice_bits)
    total = sum(part * 2 ** (number * slice_bits) for number, part in enumerate(slices))
    assert torch.allclose(total, analog.quantize(x, grid), rtol=1e-14, atol=0)
    for part in slices:
        codes = part / grid.step
        assert torch.allclose(codes, codes.round(), atol=1e-9) and float(codes.abs().max()) < 2**slice_bits - 0.5
        assert bool((part * x >= 0).all())


@pytest.mark.parametrize("slice_bits", [None, 2])
def test_gradients_are_the_digital_ones_where_nothing_is_clipped(slice_bits):
    x = torch.randn(6, 8, generator=generator(1), dtype=torch.float64)
    layer = nn.Linear(8, 3).double()
    interface = Interface(Converter(12, margin=1.1), Converter(12, margin=1.5), tile_rows=4, slice_bits=slice_bits)
    model = converted(layer, x, interface)
    factor = torch.randn(6, 3, generator=generator(2), dtype=torch.float64)
    gradients = []
    for each in (layer, model):
        given = x.clone().requires_grad_()
        each.zero_grad()
        (each(given) * factor).sum().backward()
        gradients.append((given.grad, next(iter(each.parameters())).grad))
    for one, two in zip(*gradients, strict=True):
        assert torch.allclose(one, two, rtol=2e-2, atol=2e-2)


def test_training_through_converters_lowers_the_loss():
    torch.manual_seed(0)
    x, labels = torch.randn(64, 1, 8, 8), torch.arange(64) % 10
    model = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 36, 10))
    roomy = Interface(Converter(8), Converter(8, margin=6))
    model = analog.convert(model, Chip(7, Variation(sigma=0.1)), interface=roomy)
    analog.calibrate(model, x)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-3:]) < 0.3 * sum(losses[:3])
