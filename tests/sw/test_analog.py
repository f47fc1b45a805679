"""Analog layers, conversion, calibration, and what can be changed on a converted model."""

import copy
import io
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from torch.nn import functional

from quietbar import analog
from quietbar.contract.errors import ConfigurationError, QuietbarError
from quietbar.models import create
from quietbar.noise import Chip, Variation, presets
from quietbar.sharpness import SharpnessAware
from quietbar.training import fit

ALL = Variation(sigma=0.3, gain_mismatch=0.1, offset_mismatch=0.2, seconds=86_400, nu=0.01)


def settled(model, shape, seed=0):
    """``model`` in evaluation mode, with batch-norm statistics and affine parameters that are not the initial ones."""
    generator = torch.Generator().manual_seed(seed)
    model.train()
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(16, *shape, generator=generator))
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.copy_(torch.rand(module.num_features, generator=generator) + 0.5)
                module.bias.copy_(torch.randn(module.num_features, generator=generator))
    return model.eval()


@pytest.fixture(scope="module")
def digits():
    torch.manual_seed(0)
    return settled(create("digits"), (1, 8, 8))


@pytest.fixture(scope="module")
def inputs():
    return torch.randn(24, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def converted(model, inputs, variation, seed=7, **options):
    noisy = analog.convert(model, Chip(seed, variation), **options)
    analog.calibrate(noisy, inputs)
    return noisy


# Conversion


def test_conversion_leaves_the_given_model_alone(digits, inputs):
    before = {name: value.clone() for name, value in digits.state_dict().items()}
    types = [type(module) for module in digits.modules()]
    noisy = converted(digits, inputs, ALL)
    noisy(inputs)
    after = digits.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert types == [type(module) for module in digits.modules()]


def test_a_quiet_chip_computes_what_the_digital_model_does(digits, inputs):
    quiet = analog.convert(digits, Chip(7), fold_batch_norm=False)
    assert torch.equal(quiet(inputs), digits(inputs))
    assert quiet.state_dict().keys() == digits.state_dict().keys()
    quiet.load_state_dict(digits.state_dict())


@pytest.mark.parametrize("conductance", [None, "pcm"])
def test_products_of_fewer_bits_are_read_out_in_float32(inputs, conductance):
    """Under autocast: noise and converters do not round to bfloat16, and noise is what it is without."""
    devices = None if conductance is None else presets.conductance_by_name(conductance)
    layer = analog.convert(nn.Sequential(nn.Conv2d(1, 8, 3)), Chip(7, Variation(sigma=0.3), devices))
    analog.calibrate(layer, inputs)
    with torch.no_grad():
        full = layer(inputs)
        analog.restart(layer)
        with torch.autocast("cpu", torch.bfloat16):
            read = layer(inputs)
            analog.scale_noise(layer, 0.0)
            assert layer(inputs).dtype == torch.bfloat16, "nothing is read out"
    assert read.dtype == torch.float32
    assert not torch.equal(read, read.to(torch.bfloat16).float())
    assert 0 < (read - full).abs().max() < 2**-6 * full.abs().max()


@pytest.mark.parametrize("name", ["digits", "resnet20"])
def test_folding_batch_normalization_changes_nothing_but_rounding(name):
    shape = (1, 8, 8) if name == "digits" else (3, 16, 16)
    torch.manual_seed(0)
    model = settled(create(name), shape).double()
    quiet = analog.convert(model, Chip(7))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in quiet.modules())
    inputs = torch.randn(4, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    expected = model(inputs).detach()
    assert torch.allclose(quiet(inputs), expected, rtol=1e-11, atol=1e-11 * float(expected.abs().max()))


def test_layers_are_subclasses_with_the_parameters_and_hooks_of_their_origin(digits):
    seen = []
    model = copy.deepcopy(digits)
    model.linear.register_forward_hook(lambda *_: seen.append(True))
    noisy = analog.convert(model, Chip(7))
    assert type(noisy.linear) is analog.AnalogLinear and isinstance(noisy.linear, nn.Linear)
    assert type(noisy.stage1.conv) is analog.AnalogConv2d and isinstance(noisy.stage1.conv, nn.Conv2d)
    noisy(torch.zeros(1, 1, 8, 8))
    assert seen == [True]
    assert list(analog.layers(noisy)) == ["stage1.conv", "stage2.conv", "stage3.conv", "stage4.conv", "linear"]


def test_conversion_draws_no_random_numbers_of_torch(digits):
    before = torch.get_rng_state()
    analog.convert(digits, Chip(7, ALL))
    assert torch.equal(before, torch.get_rng_state())


def test_patterns_choose_the_layers(digits):
    names = list(analog.layers(analog.convert(digits, Chip(7), include=["stage*", "linear"], exclude="stage1.*")))
    assert names == ["stage2.conv", "stage3.conv", "stage4.conv", "linear"]
    partly = analog.convert(digits, Chip(7), exclude="stage1.*")
    assert type(partly.stage1.bn) is nn.BatchNorm2d and type(partly.stage2.bn) is nn.Identity


def test_to_digital_gives_back_an_ordinary_model(digits, inputs):
    noisy = converted(digits, inputs, ALL, fold_batch_norm=False)
    plain = analog.to_digital(noisy)
    assert [type(module) for module in plain.modules()] == [type(module) for module in digits.modules()]
    assert torch.equal(plain(inputs), digits(inputs))
    assert vars(plain.linear).keys() == vars(digits.linear).keys()
    assert isinstance(noisy.linear, analog.AnalogLinear)


def test_a_layer_used_under_two_names_stays_one_layer():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(4, 4, 3, padding=1)
            self.second = self.first
            self.norm = nn.BatchNorm2d(4)

        def forward(self, x):
            return self.norm(self.second(self.first(x)))

    model = Twice().eval()
    noisy = analog.convert(model, Chip(7))
    assert noisy.first is noisy.second and list(analog.layers(noisy)) == ["first"]
    assert type(noisy.norm) is nn.BatchNorm2d, "it would be folded into both uses"
    x = torch.randn(1, 4, 5, 5)
    assert torch.equal(noisy(x), model(x))


def test_a_layer_and_its_normalization_used_twice_are_not_folded_twice():
    torch.manual_seed(0)
    block = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
    model = settled(nn.Sequential(block, nn.ReLU(), block), (4, 5, 5))
    x = torch.randn(2, 4, 5, 5)
    assert torch.allclose(analog.convert(model, Chip(7))(x), model(x), atol=1e-6)


def test_normalization_is_folded_only_where_nothing_else_reads_the_layers_result():
    class Branch(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

        def forward(self, x):
            y = self.conv(x)
            return self.norm(y) + y

    assert type(analog.convert(Branch(), Chip(7)).norm) is nn.BatchNorm2d


def test_an_untraceable_model_is_refused_unless_normalization_stays():
    class Wilful(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4)

        def forward(self, x):
            return self.norm(self.conv(x)) if x.sum() > 0 else x

    with pytest.raises(ConfigurationError, match=r"fold_batch_norm = True: must be False .*torch.fx cannot trace it"):
        analog.convert(Wilful(), Chip(7))
    assert list(analog.layers(analog.convert(Wilful(), Chip(7), fold_batch_norm=False))) == ["conv"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda m: analog.convert(m, Chip(7), include="layer9.*"),
            "convert.include = 'layer9.*': must be a pattern that fits",
        ),
        (
            lambda m: analog.convert(m, Chip(7), exclude="layer9.*"),
            "convert.exclude = 'layer9.*': must be a pattern that fits",
        ),
        (lambda m: analog.convert(m, Chip(7), exclude="*"), "must be patterns that leave at least one"),
        (lambda m: analog.convert(m, 7), "convert.chip = 7: must be a quietbar.noise.Chip"),
        (lambda m: analog.convert("resnet20", Chip(7)), "convert.model = 'str': must be a torch.nn.Module"),
        (lambda m: analog.convert(nn.ReLU(), Chip(7)), "convert.include = '*': must be for a model with nn.Conv2d or"),
        (
            lambda m: analog.convert(m, Chip(7), include="x*"),
            "must be a pattern that fits one of the layers stage1.conv",
        ),
        (lambda m: analog.convert(analog.convert(m, Chip(7)), Chip(8)), "must be digital: bring it back with"),
        (lambda m: analog.layers(m), "must be a model from quietbar.analog.convert"),
        (
            lambda m: analog.set_noise_level(analog.convert(m, Chip(7)), -1),
            "variation.sigma = -1: must be a finite number",
        ),
        (
            lambda m: analog.scale_noise(analog.convert(m, Chip(7)), -1),
            "scale_noise.factor = -1: must be a finite number",
        ),
        (
            lambda m: analog.restart(analog.convert(m, Chip(7)), -1),
            "restart.image of stage1.conv = -1: must be an integer",
        ),
        (
            lambda m: analog.calibrate(analog.convert(m, Chip(7)), []),
            "calibrate.batches = []: must be at least one batch",
        ),
        (lambda m: analog.set_calibration(analog.convert(m, Chip(7)), {}), "complete: layer stage1.conv is missing"),
    ],
)
def test_bad_arguments_are_refused_by_name(digits, call, message):
    with pytest.raises(ConfigurationError) as raised:
        call(digits)
    assert message in str(raised.value)


def test_normalization_without_statistics_cannot_be_folded():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2, track_running_stats=False))
    with pytest.raises(ConfigurationError, match=r"1.track_running_stats = False: must be True to be folded"):
        analog.convert(model, Chip(7))


# Calibration


def test_a_noisy_layer_that_was_not_calibrated_says_so_by_name(digits, inputs):
    noisy = analog.convert(digits, Chip(7, presets.temporal))
    with pytest.raises(ConfigurationError) as raised:
        noisy(inputs)
    assert str(raised.value) == (
        "stage1.conv.calibration.std = None: must be above 0: "
        "measure it with quietbar.analog.calibrate(model, batches) before the noise is on"
    )
    gains_only = analog.convert(digits, Chip(7, Variation(gain_mismatch=0.1)))
    gains_only(inputs)


def test_calibration_measures_the_ideal_results_whatever_the_batches(digits, inputs):
    noisy = analog.convert(digits, Chip(7, ALL))
    analog.scale_noise(noisy, 3.0)
    noisy.train()
    labels = torch.zeros(len(inputs))
    found = analog.calibrate(noisy, [(inputs[:7], labels[:7]), (inputs[7:], labels[7:])])
    assert noisy.training and not noisy.stage1.conv.is_quiet and analog.position(noisy)["stage1.conv"] == 0

    result = digits.stage1.bn(digits.stage1.conv(inputs)).detach().double().numpy()
    assert found["stage1.conv"].std == pytest.approx(result.std(), rel=1e-6)
    assert found["stage1.conv"].range == pytest.approx(result.max() - result.min(), rel=1e-6)

    at_once = analog.calibrate(noisy, inputs)
    for name in found:
        assert at_once[name].std == pytest.approx(found[name].std, rel=1e-6)
    other = analog.convert(digits, Chip(8, ALL))
    analog.set_calibration(other, at_once)
    assert other.linear.calibration == noisy.linear.calibration


def test_calibration_refuses_results_that_are_not_finite(digits):
    with pytest.raises(QuietbarError, match=r"layer stage1.conv gives results that are not finite"):
        analog.calibrate(analog.convert(digits, Chip(7)), torch.full((1, 1, 8, 8), math.nan))


# The variation of a layer


@pytest.mark.parametrize("reference", ["std", "range"])
def test_temporal_noise_has_the_asked_deviation(digits, inputs, reference):
    layer_inputs = inputs.repeat(40, 1, 1, 1)
    noisy = converted(digits, inputs, Variation(sigma=0.3, reference=reference))
    layer = noisy.stage1.conv
    with analog.quiet(noisy):
        ideal = layer(layer_inputs)
    noise = ((layer(layer_inputs) - ideal) / (0.3 * getattr(layer.calibration, reference))).detach().numpy()
    assert abs(noise.mean()) < 4 / math.sqrt(noise.size)
    assert abs(noise.var() - 1) < 4 * math.sqrt(2 / noise.size)
    assert stats.kstest(noise.reshape(-1), "norm").pvalue > 1e-3


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(8, 12, 3, stride=2, padding=2, dilation=2, groups=4),
        nn.Conv2d(8, 6, (3, 1), padding=(1, 0), padding_mode="reflect", bias=False),
        nn.Linear(6, 5),
        nn.Linear(6, 5, bias=False),
    ],
    ids=["grouped, strided, dilated", "reflected, without bias", "linear", "linear without bias"],
)
def test_static_mismatch_follows_the_formula(
    layer,
):
    variation = Variation(gain_mismatch=0.1, offset_mismatch=0.2, reference="range", seconds=1000, nu=0.05)
    model = nn.Sequential(layer).double()
    x = torch.randn(6, 8, 7, 6, dtype=torch.float64)
    noisy = converted(model, x, variation)

    y = layer(x).detach()
    columns = 1 if isinstance(layer, nn.Conv2d) else 3
    shape = [-1 if dimension == columns else 1 for dimension in range(4)]
    chip, count = Chip(7, variation), y.shape[columns]
    gain = (1 + 0.1 * chip.static_draws("0", "gain", count)) * (1000 / 20) ** -0.05
    offset = 0.2 * (float(y.max()) - float(y.min())) * chip.static_draws("0", "offset", count)
    expected = torch.from_numpy(gain).view(shape) * y + torch.from_numpy(offset).view(shape)
    assert torch.allclose(noisy(x), expected, rtol=1e-6, atol=1e-6)


def test_mismatch_stays_and_temporal_noise_does_not(digits, inputs):
    static = converted(digits, inputs, presets.process)
    assert torch.equal(static(inputs), static(inputs))
    assert not torch.equal(static(inputs), digits(inputs))
    noisy = converted(digits, inputs, presets.temporal)
    assert not torch.equal(noisy(inputs), noisy(inputs))


def silent(variation, seed=7):
    """Two layers with weights 0, so that their results are nothing but noise."""
    model = nn.Sequential(nn.Conv2d(1, 5, 3, bias=False), nn.Flatten(), nn.Linear(5 * 36, 7, bias=False))
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    model = analog.convert(model, Chip(seed, variation))
    analog.set_calibration(model, {name: analog.Calibration(0.7, 5.0) for name in analog.layers(model)})
    return model


def test_an_image_meets_the_same_noise_in_whatever_batch_it_comes():
    model, x = silent(presets.temporal), torch.zeros(30, 1, 8, 8)
    expected = model(x)
    for sizes in ([1] * 30, [7, 23], [16, 14]):
        analog.restart(model)
        assert torch.equal(torch.cat([model(part) for part in x.split(sizes)]), expected)
    analog.restart(model, 11)
    assert torch.equal(model(x[:4]), expected[11:15])
    analog.restart(model, 5)
    assert torch.equal(model[2](torch.zeros(5 * 36)), expected[5]), "an input without a batch dimension is one image"


def test_a_chips_accuracy_relevant_result_does_not_depend_on_the_batch_size(digits, inputs):
    noisy = converted(digits, inputs, ALL)
    whole = noisy(inputs)
    analog.restart(noisy)
    parts = torch.cat([noisy(part) for part in inputs.split(5)])
    assert torch.allclose(whole, parts, atol=1e-4)
    analog.restart(noisy)
    swapped = noisy(inputs.flip(0)).flip(0)
    assert not torch.allclose(whole, swapped, atol=1e-2), "the check would not notice noise of another image"


def test_results_keep_the_layout_of_the_memory_also_where_a_batch_is_computed_in_parts():
    layer = analog.convert(nn.Sequential(nn.Conv2d(64, 8, 1)), Chip(3, Variation(gain_mismatch=0.1)))
    inputs = torch.randn(100, 64, 16, 16)
    last = inputs.to(memory_format=torch.channels_last)
    with torch.no_grad():
        assert layer[0].images_at_a_time(inputs) < len(inputs)
        assert layer(inputs).is_contiguous()
        layer.to(memory_format=torch.channels_last)
        assert layer(last).is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(layer(last), layer.to(memory_format=torch.contiguous_format)(inputs))


def test_layers_and_chips_have_noise_of_their_own():
    x = torch.zeros(4, 1, 8, 8)
    layers = [silent(presets.temporal, seed)[0] for seed in (7, 8)]
    first, second = (layer(x).detach().flatten() for layer in layers)
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / math.sqrt(first.numel())
    twins = nn.Sequential(nn.Conv2d(1, 5, 3), nn.Conv2d(1, 5, 3)).requires_grad_(False)
    twins.load_state_dict({name: torch.zeros_like(value) for name, value in twins.state_dict().items()})
    twins = analog.convert(twins, Chip(7, presets.temporal))
    analog.set_calibration(twins, {name: analog.Calibration(0.7, 5.0) for name in analog.layers(twins)})
    first, second = twins[0](x).flatten(), twins[1](x).flatten()
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / math.sqrt(first.numel())
    model = analog.convert(nn.Sequential(nn.Linear(9, 9), nn.Linear(9, 9)), Chip(7, presets.process))
    assert not torch.equal(model[0].gain, model[1].gain)


# Control


def test_the_position_in_the_noise_can_be_kept_in_a_checkpoint():
    model, x = silent(presets.temporal), torch.zeros(3, 1, 8, 8)
    model(x)
    state = analog.NoiseState(model)
    file = io.BytesIO()
    torch.save({"noise": state.get_state()}, file)
    expected = model(x)
    file.seek(0)
    state.set_state(torch.load(file, weights_only=True)["noise"])
    assert torch.equal(model(x), expected)
    assert analog.position(model) == {"0": 6, "2": 6}


def test_scaling_the_noise_scales_every_deviation(digits, inputs):
    layer_inputs = inputs
    noisy = converted(digits, inputs, ALL)
    layer = noisy.stage1.conv
    with analog.quiet(noisy):
        ideal = layer(layer_inputs)

    def deviation(factor):
        analog.scale_noise(noisy, factor)
        analog.restart(noisy)
        return layer(layer_inputs) - ideal

    one = deviation(1.0)
    assert torch.equal(deviation(0.0), torch.zeros_like(one))
    assert torch.allclose(deviation(0.5), 0.5 * one, atol=1e-5)
    assert torch.allclose(deviation(2), 2 * one, atol=1e-5)


def test_quiet_is_ideal_counts_no_images_and_ends_even_by_an_error(digits, inputs):
    noisy = converted(digits, inputs, ALL)
    with pytest.raises(ZeroDivisionError), analog.quiet(noisy):
        with analog.quiet(noisy):
            pass
        assert torch.allclose(noisy(inputs), digits(inputs), atol=1e-4)
        raise ZeroDivisionError
    assert set(analog.position(noisy).values()) == {0}
    assert not torch.allclose(noisy(inputs), digits(inputs), atol=1e-2)


def test_chip_and_variation_can_be_changed_in_place(digits, inputs):
    noisy, other = converted(digits, inputs, ALL), converted(digits, inputs, presets.process, seed=8)
    noisy(inputs)
    analog.set_chip(noisy, Chip(8, presets.process))
    assert torch.equal(noisy(inputs), other(inputs))
    analog.set_variation(noisy, Variation())
    assert torch.allclose(noisy(inputs), digits(inputs), atol=1e-4)
    analog.set_variation(noisy, presets.process, include="stage*")
    assert noisy.stage1.conv.chip == Chip(8, presets.process) and noisy.linear.chip == Chip(8)
    analog.set_noise_level(noisy, 0.25)
    assert noisy.linear.chip.variation == Variation(sigma=0.25)
    assert noisy.stage1.conv.chip.variation.gain_mismatch == presets.process.gain_mismatch


def test_copies_and_saved_models_go_on_where_the_original_is(digits, inputs):
    noisy = converted(digits, inputs, ALL)
    noisy(inputs)
    copied = copy.deepcopy(noisy)
    file = io.BytesIO()
    torch.save(noisy, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    expected = noisy(inputs)
    assert torch.equal(copied(inputs), expected) and torch.equal(loaded(inputs), expected)


# Training


def test_gradients_pass_through_the_noise(digits, inputs):
    noisy = converted(digits, inputs, Variation(sigma=0.3), fold_batch_norm=False)
    layer = noisy.stage1.conv
    layer(inputs).square().sum().backward()
    analog.restart(noisy)
    weight = digits.stage1.conv.weight.detach().clone().requires_grad_()
    noise = (layer(inputs) - functional.conv2d(inputs, weight, padding=1)).detach()
    (functional.conv2d(inputs, weight, padding=1) + noise).square().sum().backward()
    assert torch.allclose(layer.weight.grad, weight.grad, rtol=1e-4, atol=1e-3)


def test_training_on_a_noisy_chip_lowers_the_loss(digits, inputs):
    noisy = converted(digits, inputs, ALL).train()
    labels = torch.arange(len(inputs)) % 10
    optimizer = torch.optim.Adam(noisy.parameters(), lr=1e-2)
    losses = []
    for step in range(30):
        analog.scale_noise(noisy, step % 3 / 2)
        optimizer.zero_grad()
        loss = functional.cross_entropy(noisy(inputs), labels)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-3:]) < 0.5 * sum(losses[:3])


def test_training_on_a_noisy_chip_resumes_bit_for_bit(tmp_path, digits, inputs):
    data = [(inputs[start : start + 8], torch.arange(8)) for start in (0, 8, 16)]

    class Killed(Exception):
        pass

    def train(checkpoint, state_is_kept=True, on_epoch=None):
        noisy = converted(digits, inputs, ALL)
        optimizer = SharpnessAware(
            torch.optim.SGD(noisy.parameters(), lr=0.01, momentum=0.9), model=noisy, same_noise=True
        )
        sources = [analog.NoiseState(noisy)] if state_is_kept else []
        fit(noisy, data, optimizer, 3, generators=sources, checkpoint=checkpoint, on_epoch=on_epoch, progress=False)
        return [value.clone() for value in noisy.state_dict().values()]

    def die(epoch, _):
        if epoch == 2:
            raise Killed

    straight = train(None)
    for state_is_kept in (True, False):
        path = tmp_path / f"{state_is_kept}.pt"
        with pytest.raises(Killed):
            train(path, state_is_kept, die)
        resumed = train(path, state_is_kept)
        same = all(torch.equal(one, two) for one, two in zip(straight, resumed, strict=True))
        assert same is state_is_kept, "without the noise's state the check must fail"
