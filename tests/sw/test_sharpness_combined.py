"""Methods in each other: climbing, or noise, with every step clipped; climbing on a noisy chip."""

import copy
import importlib.util
import math
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from quietbar.contract.errors import ConfigurationError, QuietbarError
from quietbar.sharpness import NoiseInjection, Plain, SharpnessAware, WeightClipping, formulas, method

specification = importlib.util.spec_from_file_location("methods", Path(__file__).with_name("test_sharpness_methods.py"))
assert specification is not None and specification.loader is not None
methods = importlib.util.module_from_spec(specification)
specification.loader.exec_module(methods)
network, batches, train = methods.network, methods.batches, methods.train

RATE, LIMIT, RHO = 0.1, 0.8, 0.3


def operators(variant, weights):
    """``T_w``, written anew."""
    if variant == "sam":
        return [torch.ones_like(w) for w in weights]
    if variant == "asam":
        return [w.abs() + 0.01 for w in weights]
    norm = 2 if variant == "samson" else math.inf
    return [w.abs() / float((w.abs() ** 2).sum().sqrt() if norm == 2 else w.abs().max()) for w in weights]


def clipped(weight):
    if weight.dim() < 2:
        return weight
    bound = LIMIT * float(((weight - weight.mean()) ** 2).mean().sqrt())
    return torch.where(weight > bound, bound, torch.where(weight < -bound, -bound, weight))


@pytest.mark.parametrize("variant", ["sam", "asam", "samson", "samson(inf)"])
def test_two_steps_with_clipping_are_their_formula(variant):
    """In float64: climb from the clipped weights, step back at them along the gradient found there, clip again."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    expected = copy.deepcopy(model)
    data = [(torch.randn(12, 5, dtype=torch.float64), torch.arange(12) % 3) for _ in range(2)]
    base = WeightClipping(torch.optim.SGD(model.parameters(), lr=RATE), LIMIT, model=model)
    p = math.inf if variant == "samson(inf)" else 2
    train(model, SharpnessAware(base, variant.partition("(")[0], RHO, p=p, model=model), data)

    weights, without = list(expected.parameters()), None
    for inputs, labels in data:
        start = [w.detach().clone() for w in weights]
        gradients = torch.autograd.grad(functional.cross_entropy(expected(inputs), labels), weights)
        scales = operators(variant, start)
        norm = float(sum(((t * g) ** 2).sum() for t, g in zip(scales, gradients, strict=True)).sqrt())
        with torch.no_grad():
            for w, t, g in zip(weights, scales, gradients, strict=True):
                w += RHO * t * t * g / norm
        found = torch.autograd.grad(functional.cross_entropy(expected(inputs), labels), weights)
        with torch.no_grad():
            without = [old - RATE * g for old, g in zip(start, found, strict=True)]
            for w, moved in zip(weights, without, strict=True):
                w.copy_(clipped(moved))
    for w, right in zip(model.parameters(), weights, strict=True):
        assert torch.allclose(w, right, rtol=1e-12, atol=1e-14)
    assert not torch.allclose(weights[0], without[0], rtol=1e-3), "the check would not notice a step without clipping"


def test_no_method_and_clipping_are_clipping_bit_for_bit():
    data = batches(4)
    first, second, third = network(), network(), network()
    train(first, methods.made("clipping", first), data)
    train(second, method("plain", methods.sgd(second), model=second, clipping=1.5), data)
    train(third, method("samson", methods.sgd(third), 0.0, model=third, clipping=1.5), data)
    assert methods.equal(first, second) and methods.equal(first, third)


def test_noise_and_clipping_are_the_same_whichever_is_the_outer_one():
    data, first, second, third = batches(4), network(), network(), network()
    train(first, NoiseInjection(WeightClipping(methods.sgd(first), 1.5), 0.1), data)
    train(second, WeightClipping(NoiseInjection(methods.sgd(second), 0.1), 1.5), data)
    train(third, NoiseInjection(methods.sgd(third), 0.1), data)
    assert methods.equal(first, second) and not methods.equal(first, third)


def test_climbing_on_a_noisy_chip_meets_the_same_chip_in_both_passes_and_steps_from_clean_weights():
    torch.manual_seed(1)
    model = nn.Linear(6, 3, bias=False).double()
    before, inputs = model.weight.detach().clone(), torch.randn(9, 6, dtype=torch.float64)
    labels, seen = torch.arange(9) % 3, []
    optimizer = SharpnessAware(NoiseInjection(torch.optim.SGD(model.parameters(), lr=RATE), 0.1, seed=4), "sam", RHO)

    def closure():
        optimizer.zero_grad()
        seen.append(model.weight.detach().clone())
        loss = functional.cross_entropy(model(inputs), labels)
        loss.backward()
        return loss

    optimizer.step(closure)
    noise = (seen[0] - before) / (0.1 * before.abs().max())

    def gradient(weight):
        leaf = weight.clone().requires_grad_()
        return torch.autograd.grad(functional.cross_entropy(inputs @ leaf.T, labels), leaf)[0]

    first = gradient(seen[0])
    top = before + RHO * first / first.norm()
    assert torch.allclose(seen[1], top + 0.1 * top.abs().max() * noise, rtol=1e-12)
    assert torch.allclose(model.weight.detach(), before - RATE * gradient(seen[1]), rtol=1e-12)
    assert 0.3 < float(noise.std()) < 2
    optimizer.step(closure)
    assert not torch.allclose(seen[2] - model.weight.detach(), noise, atol=0.1), "the next step is on another chip"
    assert optimizer.steps == optimizer.base.steps == 2


def test_a_combination_by_hand_wants_every_pass_that_its_base_wants():
    model, batch = network(), batches(1)[0]
    optimizer = SharpnessAware(NoiseInjection(methods.sgd(model)), model=model)
    before = copy.deepcopy(model)
    methods.closure_of(model, optimizer, batch)()
    optimizer.first_step()
    with pytest.raises(QuietbarError, match=r"inside `with optimizer.first_pass\(\):`"):
        optimizer.second_step()
    assert all(torch.equal(one, two) for one, two in zip(model.parameters(), before.parameters(), strict=True))


@pytest.mark.parametrize("owner", ["outer", "middle", "inner"])
def test_schedulers_may_be_built_on_any_of_them(owner, recwarn):
    model = network()
    inner = methods.sgd(model)
    middle = WeightClipping(inner, 1.5, model=model)
    outer = SharpnessAware(middle, "samson", model=model)
    scheduler = torch.optim.lr_scheduler.StepLR({"outer": outer, "middle": middle, "inner": inner}[owner], 1, 0.5)
    for batch in batches(3):
        train(model, outer, [batch])
        scheduler.step()
    assert outer.param_groups[0]["lr"] == inner.param_groups[0]["lr"] == RATE / 8
    assert not recwarn.list


def test_layers_left_out_of_one_may_be_left_out_of_both():
    model = network()
    before = model[4].weight.detach().clone()
    optimizer = method("samson", methods.sgd(model), 1.0, model=model, exclude="4.*", clipping=0.1)
    closure = methods.closure_of(model, optimizer, batches(1)[0])
    closure()
    optimizer.first_step()
    assert torch.equal(model[4].weight, before)
    optimizer.restore()
    optimizer.step(closure)
    ratio = [float(layer.weight.detach().abs().max() / layer.weight.detach().std()) for layer in (model[0], model[4])]
    assert ratio[0] < 1.2 < ratio[1]


def test_the_state_holds_the_bases_and_that_of_another_combination_is_refused():
    model, other = network(), network()
    optimizer = methods.made("samson+clipping", model)
    train(model, optimizer, batches(2))
    state = optimizer.state_dict()["sharpness"]
    assert state["steps"] == 2 and state["passes"] == 4
    assert (state["base"]["limit"], state["base"]["unit"], state["base"]["steps"]) == (1.5, "std", 2)
    alone = methods.made("samson", other)
    with pytest.raises(ConfigurationError, match=r"sharpness.state_dict = .*'base'.*: must be variant, rho"):
        alone.load_state_dict(optimizer.state_dict())
    with pytest.raises(ConfigurationError, match=r"sharpness.state_dict = .*: must be .*passes, base"):
        optimizer.load_state_dict(alone.state_dict())
    with pytest.raises(ConfigurationError, match=r"sharpness.state_dict = .*'limit'.*: must be sigma, seed"):
        SharpnessAware(NoiseInjection(methods.sgd(other))).load_state_dict(optimizer.state_dict())


def test_a_resumed_combination_that_forgot_its_base_ends_elsewhere():
    """The comparison of resumed trainings can fail: it does when what the inner method counts is lost."""
    data, straight, stopped = batches(4), network(), network()

    def made(model):
        return SharpnessAware(NoiseInjection(methods.sgd(model), 0.1), "samson", 1.0, model=model)

    train(straight, made(straight), data)
    optimizer = made(stopped)
    train(stopped, optimizer, data[:2])
    saved = copy.deepcopy(optimizer.state_dict())
    for fault in (False, True):
        resumed = copy.deepcopy(stopped)
        again = made(resumed)
        again.load_state_dict(saved)
        if fault:
            again.base.steps = 0
        train(resumed, again, data[2:])
        assert methods.equal(straight, resumed) != fault


def test_what_is_wrapped_shows():
    text = repr(methods.made("sam+clipping", network()))
    assert text.startswith("SharpnessAware(variant='sam'")
    assert "base=WeightClipping(limit=1.5, unit='std', base=SGD" in text
    assert isinstance(Plain(Plain(methods.sgd(network()))).base, Plain)


# What the steps are made of


def test_finite_is_what_has_no_infinity_even_where_squares_overflow():
    large = torch.full((3,), 1e30)
    assert not math.isfinite(formulas.global_norm([large]))
    assert formulas.all_finite([large, torch.ones(2)]) and formulas.all_finite([])
    for bad in (math.inf, -math.inf, math.nan):
        assert not formulas.all_finite([large, torch.tensor([0.0, bad])])
        assert not formulas.all_finite([torch.tensor([bad])])


@pytest.mark.parametrize("excluded", [False, True])
def test_large_gradients_outside_the_climb_do_not_skip_it_but_infinite_ones_do(excluded):
    model = network()
    optimizer = method("samson", methods.sgd(model), 1.0, model=model, exclude="4.bias" if excluded else ())
    for value, skips in ((1e25, not excluded), (math.inf, True), (math.nan, True)):
        methods.closure_of(model, optimizer, batches(1)[0])()
        model[4].bias.grad[0] = value
        optimizer.first_step()
        assert optimizer.needs_second_pass != skips
        optimizer.restore()
