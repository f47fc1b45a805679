"""The baselines: their formulas, and that they are called and resumed as sharpness-aware training is."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from quietbar.contract.errors import ConfigurationError, QuietbarError
from quietbar.sharpness import METHODS, NoiseInjection, Plain, SharpnessAware, WeightClipping, formulas, method

STRENGTHS = {"plain": None, "sam": 0.1, "asam": 0.5, "samson": 1.0, "layer": 0.1, "noise": 0.1, "clipping": 1.5}
TWO_PASSES = ("sam", "asam", "samson", "layer")
COMBINED = tuple(f"{name}+clipping" for name in (*TWO_PASSES, "noise"))


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(96, 3)
    )


def batches(count, seed=5):
    generator = torch.Generator().manual_seed(seed)
    return [(torch.randn(8, 1, 4, 4, generator=generator), torch.arange(8) % 3) for _ in range(count)]


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)


def closure_of(model, optimizer, batch, scaler=None, factor=1.0):
    def closure():
        optimizer.zero_grad()
        loss = factor * functional.cross_entropy(model(batch[0]), batch[1])
        (loss if scaler is None else scaler.scale(loss)).backward()
        return loss

    return closure


def train(model, optimizer, data):
    return [float(optimizer.step(closure_of(model, optimizer, batch)).detach()) for batch in data]


def train_by_hand(model, optimizer, data, scaler=None, factor=1.0):
    """The common form, call by call, of every method alike."""
    for batch in data:
        optimizer.zero_grad()
        with optimizer.first_pass():
            closure_of(model, optimizer, batch, scaler, factor)()
        optimizer.first_step()
        if optimizer.needs_second_pass:
            with optimizer.second_pass():
                closure_of(model, optimizer, batch, scaler, factor)()
        if scaler is None:
            optimizer.second_step()
        else:
            scaler.step(optimizer)
            scaler.update()


def made(name, model, strengths=STRENGTHS, **options):
    """The optimizer of a method, or of a method and clipping."""
    name, _, other = name.partition("+")
    if other:
        options["clipping"] = STRENGTHS["clipping"]
    return method(name, sgd(model), strengths.get(name), model=model, **options)


def equal(first, second):
    second = second.state_dict()
    return all(torch.equal(value, second[name]) for name, value in first.state_dict().items())


@pytest.mark.parametrize("name", [*METHODS, *COMBINED])
def test_every_method_has_both_forms_and_they_do_the_same(name):
    first, second, data = network(), network(), batches(5)
    optimizer = made(name, first)
    train(first, optimizer, data)
    assert optimizer.steps == 5 and optimizer.passes == (10 if name.startswith(TWO_PASSES) else 5)
    train_by_hand(second, made(name, second), data)
    assert equal(first, second)


def test_all_methods_are_different():
    names = [*METHODS, *COMBINED]
    data, networks = batches(3), [network() for _ in names]
    for name, model in zip(names, networks, strict=True):
        train(model, made(name, model), data)
    for index, one in enumerate(networks):
        assert not any(equal(one, other) for other in networks[index + 1 :])


@pytest.mark.parametrize("name", [*METHODS, *COMBINED])
def test_every_method_resumes_from_its_state_bit_for_bit(name):
    data, straight, stopped = batches(6), network(), network()
    train(straight, made(name, straight), data)
    optimizer = made(name, stopped)
    train(stopped, optimizer, data[:3])
    saved = copy.deepcopy((stopped.state_dict(), optimizer.state_dict()))
    resumed = network(seed=9)
    resumed.load_state_dict(saved[0])
    optimizer = made(name, resumed, strengths={})
    optimizer.load_state_dict(saved[1])
    train(resumed, optimizer, data[3:])
    assert equal(straight, resumed)


def test_plain_is_the_base_bit_for_bit():
    first, second, data = network(), network(), batches(5)
    train(first, sgd(first), data)
    train(second, Plain(sgd(second)), data)
    assert equal(first, second)


@pytest.mark.parametrize("name", [*METHODS, *COMBINED])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_gradients_that_are_not_finite_change_nothing(name, bad):
    model, batch = network(), batches(1)[0]
    optimizer = made(name, model)
    train(model, optimizer, [batch])
    before = [each.detach().clone() for each in model.parameters()]

    def closure():
        loss = closure_of(model, optimizer, batch)()
        model[4].weight.grad[0, 0] = bad
        return loss

    optimizer.step(closure)
    assert optimizer.skipped_steps == 1 and optimizer.steps == 2
    assert all(torch.equal(each.detach(), old) for each, old in zip(model.parameters(), before, strict=True))


# Noise injection


def test_injected_noise_is_sigma_times_the_largest_weight_of_the_layer():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(200, 300), nn.Linear(300, 5))
    with torch.no_grad():
        model[0].weight[3, 4] = -7.0
    optimizer = NoiseInjection(sgd(model), sigma=0.1, model=model)
    clean = {name: value.detach().double().numpy().copy() for name, value in model.named_parameters()}
    with optimizer.first_pass():
        noise = {name: value.detach().double().numpy() - clean[name] for name, value in model.named_parameters()}
    for name, value in model.named_parameters():
        assert np.array_equal(value.detach().double().numpy(), clean[name]), "taken off again, bit for bit"
    assert not noise["0.bias"].any() and not noise["1.bias"].any(), "a crossbar does not hold biases"
    unit = noise["0.weight"] / 0.7
    assert abs(unit.mean()) < 4 / math.sqrt(unit.size) and unit.std() == pytest.approx(1, abs=0.01)
    assert noise["1.weight"].std() == pytest.approx(0.1 * abs(clean["1.weight"]).max(), rel=0.1)
    assert abs(np.corrcoef(abs(clean["0.weight"]).ravel(), abs(unit).ravel())[0, 1]) < 0.02, "whatever it holds"


def test_noise_injection_steps_from_the_clean_weights_along_the_gradient_at_the_noisy_ones():
    """On a quadratic, whose gradient at noisy weights is known."""
    model = nn.Linear(3, 1, bias=False).double()
    start = model.weight.detach().clone()
    optimizer = NoiseInjection(torch.optim.SGD(model.parameters(), lr=0.5), sigma=0.2, model=model, seed=4)
    seen = []

    def closure():
        optimizer.zero_grad()
        seen.append(model.weight.detach().clone())
        loss = (model.weight**2).sum() / 2
        loss.backward()
        return loss

    optimizer.step(closure)
    assert not torch.equal(seen[0], start)
    assert torch.allclose(model.weight.detach(), start - 0.5 * seen[0], rtol=1e-15)
    optimizer.step(closure)
    first, second = seen[0] - start, seen[1] - (start - 0.5 * seen[0])
    assert not torch.allclose(first / first.norm(), second / second.norm()), "new noise at every step"


def test_noise_of_a_step_is_fixed_by_the_seed_and_leaves_torchs_random_state_alone():
    def seen(seed):
        model = nn.Linear(3, 2)
        nn.init.ones_(model.weight)
        state = torch.get_rng_state()
        with NoiseInjection(sgd(model), 0.1, seed=seed).first_pass():
            assert torch.equal(torch.get_rng_state(), state)
            return model.weight.detach().clone()

    assert torch.equal(seen(1), seen(1)) and not torch.equal(seen(1), seen(2))


def test_an_error_in_the_noisy_pass_leaves_the_weights_as_they_were():
    model = network()
    optimizer = NoiseInjection(sgd(model), 0.5)
    before = copy.deepcopy(model)

    def closure():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        optimizer.step(closure)
    assert equal(model, before)


def test_noise_injection_by_hand_wants_its_pass():
    model = network()
    optimizer = NoiseInjection(sgd(model))
    closure_of(model, optimizer, batches(1)[0])()
    with pytest.raises(QuietbarError, match=r"inside `with optimizer.first_pass\(\):`"):
        optimizer.second_step()


# Clipping


@pytest.mark.parametrize("unit", ["std", "absolute"])
def test_clipping_is_its_formula(unit):
    model, data = network().double(), [(x.double(), y) for x, y in batches(3)]
    plain = copy.deepcopy(model)
    train(plain, sgd(plain), data[:1])
    train(model, WeightClipping(sgd(model), 0.8, unit=unit, model=model), data[:1])
    for (name, clipped), whole in zip(model.named_parameters(), plain.parameters(), strict=True):
        values = whole.detach().numpy()
        if values.ndim < 2:
            assert np.array_equal(clipped.detach().numpy(), values), name
            continue
        spread = math.sqrt(sum((v - values.mean()) ** 2 for v in values.ravel()) / values.size)
        bound = 0.8 * (spread if unit == "std" else 1.0)
        expected = np.array([min(max(v, -bound), bound) for v in values.ravel()]).reshape(values.shape)
        assert clipped.detach().numpy() == pytest.approx(expected, rel=1e-12)
        assert unit == "absolute" or not np.array_equal(expected, values), "the check would not notice"


def test_clipping_can_leave_layers_out():
    model = network()
    optimizer = WeightClipping(sgd(model), 0.01, unit="absolute", model=model, exclude="4.*")
    train(model, optimizer, batches(1))
    assert float(model[0].weight.detach().abs().max()) <= 0.01 < float(model[4].weight.detach().abs().max())


# Climbing at some of the steps only


@pytest.mark.parametrize("name", ["sam", "samson"])
def test_every_kth_step_climbs_and_the_others_are_the_bases(name):
    model, data = network(), batches(7)
    sparse = made(name, model, every=3)
    expected, seen = network(), []
    full = made(name, expected)
    for number, batch in enumerate(data):
        calls = sparse.passes
        train(model, sparse, [batch])
        seen.append(sparse.passes - calls)
        full.rho = STRENGTHS[name] if number % 3 == 0 else 0.0
        train(expected, full, [batch])
    assert seen == [2, 1, 1, 2, 1, 1, 2]
    assert equal(model, expected)


def test_where_a_saved_training_climbs_next_is_part_of_its_state():
    data, straight, stopped = batches(6), network(), network()
    train(straight, made("sam", straight, every=3), data)
    optimizer = made("sam", stopped, every=3)
    train(stopped, optimizer, data[:2])
    saved = copy.deepcopy(optimizer.state_dict())
    resumed = copy.deepcopy(stopped)
    optimizer = method("sam", sgd(resumed), model=resumed)
    optimizer.load_state_dict(saved)
    train(resumed, optimizer, data[2:])
    assert equal(straight, resumed)
    del saved["sharpness"]
    forgetful = method("sam", sgd(stopped), 0.1, model=stopped, every=3)
    forgetful.load_state_dict(saved)
    train(stopped, forgetful, data[2:])
    assert not equal(straight, stopped), "the check would not notice a lost count"


# Gradient scalers


@pytest.mark.parametrize("form", ["closure", "calls"])
@pytest.mark.parametrize("name", [*METHODS, *COMBINED])
def test_a_gradient_scaler_is_used_as_with_any_optimizer_and_changes_no_bit(name, form):
    """Scales are powers of two: nothing rounds otherwise."""
    plain, scaled, data = network(), network(), batches(4)
    train(plain, made(name, plain), data)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=2)
    optimizer = made(name, scaled)
    if form == "calls":
        train_by_hand(scaled, optimizer, data, scaler)
    else:
        for batch in data:
            optimizer.step(closure_of(scaled, optimizer, batch, scaler), scaler=scaler)
            scaler.update()
    assert scaler.get_scale() == 2.0**12 and optimizer.skipped_steps == 0
    assert equal(plain, scaled)


@pytest.mark.parametrize("form", ["closure", "calls"])
@pytest.mark.parametrize("name", [*METHODS, *COMBINED])
def test_a_scale_that_overflows_is_lowered_until_steps_succeed(name, form):
    plain, scaled, data = network(), network(), batches(12)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, backoff_factor=2.0**-30)
    optimizer = made(name, scaled)
    for batch in data:
        before = copy.deepcopy(scaled)
        skipped = optimizer.skipped_steps
        if form == "calls":
            train_by_hand(scaled, optimizer, [batch], scaler, 64.0)
        else:
            optimizer.step(closure_of(scaled, optimizer, batch, scaler, 64.0), scaler=scaler)
            scaler.update()
        if optimizer.skipped_steps > skipped:
            weights = zip(scaled.parameters(), before.parameters(), strict=True)
            assert all(torch.equal(one, two) for one, two in weights), "a step left out moves no weight"
    assert 1 <= optimizer.skipped_steps < 6 and scaler.get_scale() < 2.0**100
    assert not equal(plain, scaled), "in the end it trains"


@pytest.mark.parametrize("overflowing", [1, 2])
def test_a_scaler_learns_of_an_overflow_in_either_pass(overflowing):
    model, batch = network(), batches(1)[0]
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    optimizer = made("samson", model)
    before = copy.deepcopy(list(model.parameters()))
    for number in (1, 2):
        with optimizer.first_pass() if number == 1 else optimizer.second_pass():
            closure_of(model, optimizer, batch, scaler)()
        if number == overflowing:
            model[4].weight.grad[0, 0] = math.inf
        if number == 1:
            optimizer.first_step()
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 2.0 and optimizer.skipped_steps == 1 and not optimizer.is_perturbed
    assert all(torch.equal(one, two) for one, two in zip(model.parameters(), before, strict=True))


def test_gradients_may_be_unscaled_and_clipped_before_the_step():
    plain, scaled, data = network(), network(), batches(3)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8)
    for model, each in ((plain, None), (scaled, scaler)):
        optimizer = made("sam", model)
        for batch in data:
            closure_of(model, optimizer, batch, each)()
            optimizer.first_step()
            with optimizer.second_pass():
                closure_of(model, optimizer, batch, each)()
            if each is not None:
                each.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            if each is None:
                optimizer.second_step()
            else:
                each.step(optimizer)
                each.update()
    assert equal(plain, scaled)


def test_a_disabled_scaler_is_no_scaler():
    plain, scaled, data = network(), network(), batches(3)
    train(plain, made("samson", plain), data)
    train_by_hand(scaled, made("samson", scaled), data, torch.amp.GradScaler("cpu", enabled=False))
    assert equal(plain, scaled)


def test_mixed_precision_trains():
    model, data = network(), batches(1) * 30
    optimizer = made("samson", model)

    def closure_for(batch):
        def closure():
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                loss = functional.cross_entropy(model(batch[0]), batch[1])
            loss.backward()
            return loss

        return closure

    losses = [float(optimizer.step(closure_for(batch)).detach()) for batch in data]
    assert losses[-1] < 0.2 * losses[0]


# What is refused


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda base: method("sharp", base), "method = 'sharp': must be one of 'plain', 'sam', 'asam', 'samson'"),
        (lambda base: NoiseInjection(base, -1), "sharpness.sigma = -1: must be a finite number of at least 0"),
        (lambda base: NoiseInjection(base, seed=-1), "sharpness.seed = -1: must be an integer from 0"),
        (lambda base: WeightClipping(base, 0), "sharpness.limit = 0: must be above 0"),
        (lambda base: WeightClipping(base, unit="range"), "sharpness.unit = 'range': must be one of 'std', 'absolute'"),
        (lambda base: SharpnessAware(base, every=0), "sharpness.every = 0: must be an integer from 1"),
        (lambda base: SharpnessAware(base, workers="solo"), "sharpness.workers = 'solo': must be one of 'together'"),
        (lambda base: SharpnessAware(base, workers="alone"), "must be 'together', or with a torch.nn.parallel.Dist"),
        (lambda base: NoiseInjection(SharpnessAware(base)), "must be one that steps without a closure; sharpness-aw"),
        (lambda base: method("clipping", base, 2, clipping=1), "sharpness.clipping = 1: must be left out: its limit"),
        (lambda base: method("sam", base, clipping=0), "sharpness.limit = 0: must be above 0"),
        (lambda base: method("plain", base, 1.0), "method.strength = 1.0: must be left out: plain training has none"),
        (lambda base: method("noise", base, p=2), "method.p = 2: must be absent: noise knows "),
    ],
)
def test_bad_settings_are_refused_by_name(make, message):
    with pytest.raises(ConfigurationError) as raised:
        make(sgd(network()))
    assert message in str(raised.value)


def test_the_state_of_another_method_is_refused():
    model = network()
    with pytest.raises(ConfigurationError, match=r"sharpness.state_dict = .*: must be limit, unit, skipped_steps"):
        made("clipping", model).load_state_dict(made("noise", model).state_dict())


def test_conductance_noise_of_nothing_is_nothing():
    assert formulas.conductance_noise([], 0.1, torch.Generator()) == []
