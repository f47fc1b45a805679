"""A chip is the same in whatever batches, on any number of threads, with or without compiled kernels, in any type."""

import contextlib
import dataclasses
import importlib

import pytest
import torch
from torch import nn

from quietbar import analog, native
from quietbar.analog import Converter, Interface, Wires
from quietbar.noise import Chip, Variation, presets

layers = importlib.import_module("quietbar.analog.layers")  # a function has the module's name

ALL = Interface(
    Converter(8),
    Converter(8, margin=1.5),
    tile_rows=40,
    tile_columns=16,
    adc_gain=0.01,
    adc_offset=0.5,
    wires=Wires(2.0, 2.0),
)
VARIATION = Variation(sigma=0.1, gain_mismatch=0.05, offset_mismatch=0.05)


@contextlib.contextmanager
def threads(count):
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def exact():
    """A layer and inputs whose products have no rounding: whatever differs, is not the order of a sum."""
    generator = torch.Generator().manual_seed(1)
    layer = nn.Conv2d(8, 6, 3, padding=1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.randint(-8, 9, layer.weight.shape, generator=generator) / 8)
    inputs = torch.randint(0, 256, (11, 8, 9, 7), generator=generator) / 16.0
    inputs[0, 0, 0, 0] = 255 / 16  # the DAC's step is 1/16
    variation = dataclasses.replace(VARIATION, gain_mismatch=0.0, offset_mismatch=0.0)
    return layer, inputs, Chip(5, variation), Interface(Converter(8), Converter(8, margin=1.5), adc_offset=0.5)


def everything(dtype=torch.float32):
    """A network with every kind of variation."""
    generator = torch.Generator().manual_seed(1)
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 6, 3), nn.Flatten(), nn.LazyLinear(5)
    )
    inputs = torch.randn(11, 8, 9, 7, generator=generator, dtype=torch.float64).float()
    network(inputs[:1])
    return network.to(dtype), inputs.to(dtype), Chip(5, VARIATION, presets.pcm), ALL


def converted(network, inputs, chip, interface):
    model = analog.convert(
        network if isinstance(network, nn.Sequential) else nn.Sequential(network), chip, interface=interface
    )
    analog.calibrate(model, inputs)
    return model


@torch.no_grad()
def results(model, inputs, size=None, count=1):
    analog.restart(model)
    with threads(count):
        return torch.cat([model(part) for part in inputs.split(size or len(inputs))])


@pytest.mark.parametrize("size", [1, 3, 11])
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("code", ["compiled", "PyTorch"])
def test_the_results_are_the_same_to_the_bit(monkeypatch, size, count, code):
    layer, inputs, chip, interface = exact()
    model = converted(layer, inputs, chip, interface)
    expected = results(model, inputs)
    monkeypatch.setenv("QUIETBAR_NATIVE", "1" if code == "compiled" else "0")
    assert torch.equal(results(model, inputs, size, count), expected)


@pytest.mark.parametrize("part", [1, 1500, 1 << 19])
def test_parts_that_a_batch_is_computed_in_do_not_show(monkeypatch, part):
    layer, inputs, chip, interface = exact()
    model = converted(layer, inputs, chip, interface)
    with torch.enable_grad():
        expected = model(inputs).detach()  # at once, for the gradient
    monkeypatch.setattr(layers, "PART", part)
    assert torch.equal(results(model, inputs), expected)
    assert model[0].image == len(inputs)


def test_with_every_variation_the_kernels_make_no_difference(monkeypatch):
    arguments = everything()
    found = {}
    for code in ("1", "0"):
        monkeypatch.setenv("QUIETBAR_NATIVE", code)
        found[code] = results(converted(*arguments), arguments[1])
    assert torch.equal(found["1"], found["0"])


@pytest.mark.parametrize(("size", "count"), [(1, 1), (4, 1), (11, 2), (3, 2)])
def test_with_every_variation_batches_and_threads_make_the_difference_of_a_sums_rounding(size, count):
    arguments = everything()
    model = converted(*arguments)
    expected = results(model, arguments[1])
    # A code of an ADC may fall to the other side of an edge.
    assert float(((results(model, arguments[1], size, count) - expected).abs() > 1e-4).float().mean()) < 0.05


def test_devices_hold_the_same_in_either_type_and_on_any_number_of_threads():
    held = {}
    for dtype in (torch.float32, torch.float64):
        for count in (1, 2):
            with threads(count):
                model = converted(*everything(dtype))
                held[dtype, count] = [layer.held().weight for layer in analog.layers(model).values()]
    for dtype in (torch.float32, torch.float64):
        for one, two in zip(held[dtype, 1], held[dtype, 2], strict=True):
            assert torch.equal(one, two)
    for one, two in zip(held[torch.float32, 1], held[torch.float64, 1], strict=True):
        assert torch.equal(one, two.float())


def test_the_type_of_the_loop_makes_the_difference_of_its_rounding():
    found = {}
    for dtype in (torch.float32, torch.float64):
        network, inputs, chip, interface = everything(dtype)
        interface = dataclasses.replace(interface, dac=Converter(), adc=Converter(), adc_gain=0.0, adc_offset=0.0)
        found[dtype] = results(converted(network, inputs, chip, interface), inputs)
    assert torch.allclose(found[torch.float32].double(), found[torch.float64], rtol=1e-4, atol=1e-4)


def test_noise_that_counts_from_the_batchs_first_image_is_caught(monkeypatch):
    """The planted fault: the number of the image left out."""
    sound = layers.Noise
    monkeypatch.setattr(layers, "Noise", lambda sigma, seed, _, variance=None: sound(sigma, seed, 0, variance))
    with pytest.raises(AssertionError):
        test_the_results_are_the_same_to_the_bit(monkeypatch, 3, 1, "compiled")


@pytest.mark.skipif(native.kernels() is None, reason=f"no compiled kernels: {native.status()}")
def test_kernels_that_round_another_way_are_caught(monkeypatch):
    sound = importlib.import_module("quietbar.analog.readout")
    levels = sound._levels
    wrong = lambda grid: (lambda found: (found.__setitem__(1, found[1] * (1 + 2**-20)), found)[1])(levels(grid))  # noqa: E731
    monkeypatch.setattr(sound, "_levels", wrong)
    with pytest.raises(AssertionError):
        test_with_every_variation_the_kernels_make_no_difference(monkeypatch)
