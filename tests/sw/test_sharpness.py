"""SAM, ASAM and SAMSON: the formulas, and the behavior of the wrapper in a training loop."""

import copy
import io
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from quietbar import analog
from quietbar.contract.errors import ConfigurationError, QuietbarError
from quietbar.noise import Chip, Variation
from quietbar.sharpness import SharpnessAware, formulas, frozen_batch_norm_statistics

INF = float("inf")
KINDS = [("sam", 2), ("asam", 2), ("samson", 2), ("samson", INF), ("layer", 2), ("layer", INF)]
IDS = ["SAM", "ASAM", "SAMSON(2)", "SAMSON(inf)", "layer(2)", "layer(inf)"]


# The formulas, against ones written element by element in float64


def oracle(variant, weights, gradients, rho, eta, p):
    """The perturbation of lists of numpy arrays, in loops over elements."""
    operators = []
    for weight in weights:
        values = [abs(float(each)) for each in weight.ravel()]
        if variant == "sam":
            operators.append([1.0 for _ in values])
        elif variant == "asam":
            operators.append([value + eta for value in values])
        else:
            norm = max(values) if p == INF else math.sqrt(sum(value * value for value in values))
            operators.append([value / norm if variant == "samson" else norm for value in values])
    total = 0.0
    for operator, gradient in zip(operators, gradients, strict=True):
        total += sum((t * float(g)) ** 2 for t, g in zip(operator, gradient.ravel(), strict=True))
    return [
        np.array([rho * t * t * float(g) / math.sqrt(total) for t, g in zip(operator, gradient.ravel(), strict=True)])
        for operator, gradient in zip(operators, gradients, strict=True)
    ]


def operators_of(variant, p, weights, eta=0.01):
    if variant == "sam":
        return formulas.sam_operators(weights)
    if variant == "asam":
        return formulas.asam_operators(weights, eta)
    return (formulas.layer_operators if variant == "layer" else formulas.samson_operators)(weights, p)


def perturb(variant, p, weights, gradients, rho=0.3, eta=0.01):
    return formulas.perturbation(gradients, operators_of(variant, p, weights, eta), rho)


def random_tensors(seed):
    generator = torch.Generator().manual_seed(seed)
    shapes = [(4, 3, 3, 3), (4,), (5, 4), (1,)]
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


@pytest.mark.parametrize(("variant", "p"), KINDS, ids=IDS)
def test_perturbations_equal_the_published_formulas(variant, p):
    weights, gradients = random_tensors(1), random_tensors(2)
    found = perturb(variant, p, weights, gradients)
    expected = oracle(variant, [w.numpy() for w in weights], [g.numpy() for g in gradients], 0.3, 0.01, p)
    for each, right in zip(found, expected, strict=True):
        assert each.flatten().numpy() == pytest.approx(right, rel=1e-12)
    in_single = perturb(variant, p, [w.float() for w in weights], [g.float() for g in gradients])
    for each, right in zip(in_single, found, strict=True):
        assert each.dtype == torch.float32 and torch.allclose(each.double(), right, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("variant", "p"), KINDS, ids=IDS)
def test_the_perturbation_lies_on_the_edge_of_the_neighborhood(variant, p):
    weights, gradients = random_tensors(1), random_tensors(2)
    offsets, operators = perturb(variant, p, weights, gradients), operators_of(variant, p, weights)
    normalized = [offset / operator for offset, operator in zip(offsets, operators, strict=True)]
    assert formulas.global_norm(normalized) == pytest.approx(0.3, rel=1e-12)
    # No other point of the edge has a larger first-order loss.
    generator = torch.Generator().manual_seed(3)
    best = sum(float((offset * g).sum()) for offset, g in zip(offsets, gradients, strict=True))
    for _ in range(100):
        other = [torch.randn(g.shape, generator=generator, dtype=g.dtype) for g in gradients]
        scale = 0.3 / formulas.global_norm(other)
        gain = sum(float((scale * o * t * g).sum()) for o, t, g in zip(other, operators, gradients, strict=True))
        assert gain < best


@pytest.mark.parametrize("scales", [(2.0, 0.5, 8.0, 1.0), (3.7, 0.01, 1.0, 90.0)])
def test_asam_without_eta_does_not_care_how_layers_are_scaled(scales):
    """A network that computes the same with w_l -> a_l w_l has gradients g_l / a_l: eps_l must become a_l eps_l."""
    weights, gradients = random_tensors(1), random_tensors(2)
    scaled_weights = [a * w for a, w in zip(scales, weights, strict=True)]
    scaled_gradients = [g / a for a, g in zip(scales, gradients, strict=True)]
    first = perturb("asam", 2, weights, gradients, eta=0.0)
    second = perturb("asam", 2, scaled_weights, scaled_gradients, eta=0.0)
    for a, one, two in zip(scales, first, second, strict=True):
        assert torch.allclose(a * one, two, rtol=1e-12, atol=0)
    with_eta = perturb("asam", 2, scaled_weights, scaled_gradients, eta=0.1)
    assert not torch.allclose(with_eta[0], second[0], rtol=1e-3, atol=0), "the check would not notice eta"


@pytest.mark.parametrize("p", [2, INF])
@pytest.mark.parametrize("scales", [(2.0, 0.5, 8.0, 1.0), (3.7, 0.01, 1.0, 90.0)])
def test_a_perturbation_in_units_of_the_layers_norm_does_not_care_how_layers_are_scaled(p, scales):
    weights, gradients = random_tensors(1), random_tensors(2)
    scaled_weights = [a * w for a, w in zip(scales, weights, strict=True)]
    scaled_gradients = [g / a for a, g in zip(scales, gradients, strict=True)]
    first, second = perturb("layer", p, weights, gradients), perturb("layer", p, scaled_weights, scaled_gradients)
    for a, one, two in zip(scales, first, second, strict=True):
        assert torch.allclose(a * one, two, rtol=1e-12, atol=0)


@pytest.mark.parametrize("p", [2, INF])
@pytest.mark.parametrize("scales", [(2.0, 0.5, 8.0, 1.0), (3.7, 0.01, 1.0, 90.0)])
def test_samson_sees_the_shape_of_a_layers_distribution_and_not_its_scale(p, scales):
    weights, gradients = random_tensors(1), random_tensors(2)
    scaled = [a * w for a, w in zip(scales, weights, strict=True)]
    for one, two in zip(perturb("samson", p, weights, gradients), perturb("samson", p, scaled, gradients), strict=True):
        assert torch.allclose(one, two, rtol=1e-12, atol=0)
    sam_like = perturb("asam", 2, scaled, gradients), perturb("asam", 2, weights, gradients)
    assert not torch.allclose(sam_like[0][0], sam_like[1][0], rtol=1e-2, atol=0), "the check would not notice ASAM"


def test_in_units_of_the_layers_norm_samson_would_be_asam():
    """With v = w / ||w_layer||, eps_v by SAMSON's T, and eps_w = ||w_layer|| eps_v: ASAM without eta."""
    weights, gradients = random_tensors(1), random_tensors(2)
    norms = [w.norm() for w in weights]
    inner = perturb("samson", 2, weights, [n * g for n, g in zip(norms, gradients, strict=True)])
    asam = perturb("asam", 2, weights, gradients, eta=0.0)
    assert all(torch.allclose(n * v, a, rtol=1e-10) for n, v, a in zip(norms, inner, asam, strict=True))


def test_a_layer_of_zeros_and_zero_gradients_are_no_error():
    weights, gradients = [torch.zeros(3), torch.ones(2)], [torch.ones(3), torch.ones(2)]
    assert perturb("samson", 2, weights, gradients)[0].tolist() == [0, 0, 0]
    assert perturb("sam", 2, weights, [torch.zeros(3), torch.zeros(2)])[1].tolist() == [0, 0]
    assert formulas.global_norm([]) == 0


def test_norms_of_half_precision_do_not_overflow():
    assert formulas.global_norm([torch.full((1000,), 1000.0, dtype=torch.float16)]) == pytest.approx(1000 * 1000**0.5)


# The wrapper


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(96, 3)
    )


def batches(count, seed=5):
    generator = torch.Generator().manual_seed(seed)
    return [(torch.randn(8, 1, 4, 4, generator=generator), torch.arange(8) % 3) for _ in range(count)]


def closure_of(model, optimizer, batch, losses=None):
    def closure():
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        if losses is not None:
            losses.append(float(loss.detach()))
        return loss

    return closure


def sgd(model, **options):
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3, **options)


def train(model, optimizer, data):
    return [float(optimizer.step(closure_of(model, optimizer, batch)).detach()) for batch in data]


def values_of(model):
    return [value.clone() for value in model.state_dict().values()]


def equal(first, second):
    return all(torch.equal(one, two) for one, two in zip(first, second, strict=True))


def test_sam_on_a_quadratic_steps_along_the_gradient_at_the_top_of_the_hill():
    curvature = torch.tensor([1.0, 10.0], dtype=torch.float64)
    weight = nn.Parameter(torch.tensor([3.0, -0.5], dtype=torch.float64))
    optimizer = SharpnessAware(torch.optim.SGD([weight], lr=0.05), "sam", rho=0.2)

    def closure():
        optimizer.zero_grad()
        loss = (curvature * weight**2).sum() / 2
        loss.backward()
        return loss

    loss = optimizer.step(closure)
    start = torch.tensor([3.0, -0.5], dtype=torch.float64)
    gradient = curvature * start
    top = start + 0.2 * gradient / gradient.norm()
    assert float(loss.detach()) == pytest.approx(float((curvature * start**2).sum() / 2))
    assert torch.allclose(weight.detach(), start - 0.05 * curvature * top, rtol=1e-14)


@pytest.mark.parametrize(("variant", "p"), KINDS, ids=IDS)
def test_the_second_pass_is_at_the_perturbed_weights_and_they_come_back_bit_for_bit(variant, p):
    model, batch = network(), batches(1)[0]
    optimizer = SharpnessAware(sgd(model), variant, rho=0.3, p=p)
    closure_of(model, optimizer, batch)()
    before = [each.detach().clone() for each in model.parameters()]
    gradients = [each.grad.clone() for each in model.parameters()]
    expected = perturb(variant, p, before, gradients)
    optimizer.first_step()
    for each, start, offset in zip(model.parameters(), before, expected, strict=True):
        assert torch.equal(each.detach(), start + offset)
    assert optimizer.is_perturbed
    optimizer.restore()
    assert equal([each.detach() for each in model.parameters()], before)
    by_subtraction = [(start + offset) - offset for start, offset in zip(before, expected, strict=True)]
    assert not equal(by_subtraction, before), "the check would not notice a restore that rounds"


@pytest.mark.parametrize(("variant", "p"), KINDS, ids=IDS)
def test_step_and_the_two_calls_do_the_same(variant, p):
    first, second, data = network(), network(), batches(5)
    optimizer = SharpnessAware(sgd(first), variant, p=p, model=first)
    losses = train(first, optimizer, data)

    by_hand = SharpnessAware(sgd(second), variant, p=p, model=second)
    for batch, loss in zip(data, losses, strict=True):
        assert float(closure_of(second, by_hand, batch)().detach()) == loss, "step returns the loss of the first call"
        by_hand.first_step()
        with by_hand.second_pass():
            closure_of(second, by_hand, batch)()
        by_hand.second_step()
    assert equal(values_of(first), values_of(second))


@pytest.mark.parametrize(("variant", "p"), KINDS, ids=IDS)
@pytest.mark.parametrize("form", ["closure", "two calls"])
def test_rho_0_is_the_base_optimizer_bit_for_bit(variant, p, form):
    plain, wrapped, data = network(), network(), batches(6)
    base = sgd(plain)
    train(plain, base, data)
    optimizer = SharpnessAware(sgd(wrapped), variant, rho=0, p=p, model=wrapped)
    losses = []
    for batch in data:
        closure = closure_of(wrapped, optimizer, batch, losses)
        if form == "closure":
            optimizer.step(closure)
        else:
            closure()
            optimizer.first_step()
            with optimizer.second_pass():
                closure()
            optimizer.second_step()
    assert len(losses) == (6 if form == "closure" else 12)
    assert equal(values_of(plain), values_of(wrapped))


def test_a_positive_rho_is_not_the_base_optimizer():
    plain, wrapped, data = network(), network(), batches(6)
    train(plain, sgd(plain), data)
    train(wrapped, SharpnessAware(sgd(wrapped), rho=1e-3, model=wrapped), data)
    assert not equal(values_of(plain), values_of(wrapped))


@pytest.mark.parametrize("momentum", [0.1, None], ids=["moving average", "cumulative average"])
def test_batch_norm_statistics_are_counted_once(momentum):
    plain, model, data = network(), network(), batches(4)
    plain[1].momentum = model[1].momentum = momentum
    optimizer = SharpnessAware(torch.optim.SGD(model.parameters(), lr=0.0), rho=0.5, model=model)
    train(model, optimizer, data)
    for inputs, _ in data:
        plain(inputs)
    assert equal(values_of(model[1]), values_of(plain[1]))
    assert int(model[1].num_batches_tracked) == 4

    blind = network()
    train(blind, SharpnessAware(torch.optim.SGD(blind.parameters(), lr=0.0), rho=0.5), data)
    assert int(blind[1].num_batches_tracked) == 8, "without model= nobody freezes them"


def test_frozen_statistics_leave_results_and_evaluation_alone():
    model = nn.Sequential(nn.BatchNorm2d(3), nn.InstanceNorm2d(3, track_running_stats=True), nn.BatchNorm2d(3).eval())
    x = torch.randn(4, 3, 5, 5)
    expected = copy.deepcopy(model)(x)
    before = values_of(model)
    with frozen_batch_norm_statistics(model):
        assert torch.equal(model(x), expected)
    assert equal(values_of(model), before)
    assert all(norm.track_running_stats for norm in model) and model[1].momentum == 0.1
    model(x)
    assert not equal(values_of(model), before)


def test_the_same_noise_can_be_met_in_both_passes():
    class Recorder(nn.Module):
        def __init__(self):
            super().__init__()
            self.seen = []

        def forward(self, x):
            self.seen.append(x.detach().clone())
            return x

    def both_passes(same_noise):
        torch.manual_seed(0)
        layers = nn.Sequential(nn.Linear(16, 16), nn.Dropout(0.5), Recorder(), nn.Linear(16, 3))
        model = analog.convert(layers, Chip(7, Variation(sigma=0.3)))
        data = [(torch.randn(8, 16), torch.arange(8) % 3) for _ in range(2)]
        analog.calibrate(model, data)
        model[2].seen.clear()
        base = torch.optim.SGD(model.parameters(), lr=0.1)
        optimizer = SharpnessAware(base, rho=1e-6, model=model, same_noise=same_noise)
        train(model, optimizer, data)
        return model[2].seen, analog.position(model)

    seen, position = both_passes(same_noise=True)
    assert torch.allclose(seen[0], seen[1], atol=1e-4) and torch.allclose(seen[2], seen[3], atol=1e-4)
    assert not torch.allclose(seen[1], seen[2], atol=0.1), "the next batch meets new noise"
    assert set(position.values()) == {16}
    seen, position = both_passes(same_noise=False)
    assert not torch.allclose(seen[0], seen[1], atol=0.1)
    assert set(position.values()) == {32}


def test_same_noise_by_hand_wants_a_first_pass():
    model, batch = network(), batches(1)[0]
    optimizer = SharpnessAware(sgd(model), model=model, same_noise=True)
    closure_of(model, optimizer, batch)()
    optimizer.first_step()
    with pytest.raises(QuietbarError, match=r"inside `with optimizer.first_pass\(\):`"), optimizer.second_pass():
        pass


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("which", [1, 2], ids=["first pass", "second pass"])
def test_a_step_with_gradients_that_are_not_finite_changes_nothing_and_is_counted(bad, which):
    model, data = network(), batches(3)
    optimizer = SharpnessAware(sgd(model), "samson", model=model)
    train(model, optimizer, data[:1])
    weights = [each.detach().clone() for each in model.parameters()]
    momenta = [optimizer.state[each]["momentum_buffer"].clone() for each in model.parameters()]
    calls = []

    def closure():
        loss = closure_of(model, optimizer, data[1])()
        calls.append(True)
        if len(calls) == which:
            model[4].weight.grad[0, 0] = bad
        return loss

    optimizer.step(closure)
    assert len(calls) == which and optimizer.skipped_steps == 1 and not optimizer.is_perturbed
    assert equal([each.detach() for each in model.parameters()], weights)
    assert equal([optimizer.state[each]["momentum_buffer"] for each in model.parameters()], momenta)
    train(model, optimizer, data[2:])
    assert optimizer.skipped_steps == 1 and not equal([each.detach() for each in model.parameters()], weights)


def test_parameters_excluded_by_name_are_not_perturbed_but_trained():
    model, batch = network(), batches(1)[0]
    optimizer = SharpnessAware(sgd(model), rho=0.5, model=model, exclude=["1.*", "*.bias"])
    before = {name: each.detach().clone() for name, each in model.named_parameters()}
    closure_of(model, optimizer, batch)()
    optimizer.first_step()
    moved = [name for name, each in model.named_parameters() if not torch.equal(each, before[name])]
    assert moved == ["0.weight", "4.weight"]
    optimizer.second_step()
    assert not any(torch.equal(each, before[name]) for name, each in model.named_parameters())


def test_asam_by_its_authors_rule_scales_weights_only():
    model, batch = network(), batches(1)[0]
    optimizer = SharpnessAware(sgd(model), "asam", rho=0.5, model=model, scaling="weights")
    closure_of(model, optimizer, batch)()
    before = {name: each.detach().clone() for name, each in model.named_parameters()}
    gradients = {name: each.grad.clone() for name, each in model.named_parameters()}
    operators = {name: w.abs() + 0.01 if "weight" in name else torch.ones_like(w) for name, w in before.items()}
    norm = torch.cat([(operators[name] * gradients[name]).flatten() for name in before]).norm()
    optimizer.first_step()
    for name, each in model.named_parameters():
        expected = before[name] + 0.5 * operators[name] ** 2 * gradients[name] / norm
        assert torch.allclose(each.detach(), expected, rtol=1e-5, atol=1e-7), name
    names = [(name, each) for name, each in network().named_parameters()]
    SharpnessAware(torch.optim.SGD(names, lr=0.1), "asam", scaling="weights")


def test_parameters_without_gradients_are_left_alone():
    model, batch = network(), batches(1)[0]
    model[0].weight.requires_grad_(False)
    optimizer = SharpnessAware(sgd(model), "asam", model=model)
    before = model[0].weight.clone()
    train(model, optimizer, [batch])
    assert torch.equal(model[0].weight, before)


def test_an_error_in_the_second_pass_leaves_the_weights_as_they_were():
    model, batch = network(), batches(1)[0]
    optimizer = SharpnessAware(sgd(model), rho=0.5)
    weights = [each.detach().clone() for each in model.parameters()]
    calls = []

    def closure():
        calls.append(True)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return closure_of(model, optimizer, batch)()

    with pytest.raises(KeyboardInterrupt):
        optimizer.step(closure)
    assert equal([each.detach() for each in model.parameters()], weights) and not optimizer.is_perturbed


# Schedulers, states, copies


@pytest.mark.parametrize(("variant", "p"), KINDS, ids=IDS)
def test_parameters_in_groups_are_perturbed_as_one_and_stepped_by_their_own_settings(variant, p):
    """The norm is over all groups; only the rates of the base tell them apart."""
    data = batches(3)
    single, grouped, slower = network(), network(), network()
    train(single, SharpnessAware(sgd(single), variant, 0.3, p=p), data)
    settings = {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3}
    parts = [{"params": list(grouped[:2].parameters())}, {"params": list(grouped[2:].parameters())}]
    train(grouped, SharpnessAware(torch.optim.SGD(parts, **settings), variant, 0.3, p=p), data)
    assert equal(values_of(single), values_of(grouped))
    parts = [{"params": list(slower[:2].parameters()), "lr": 0.0}, {"params": list(slower[2:].parameters())}]
    before = copy.deepcopy(slower)
    train(slower, SharpnessAware(torch.optim.SGD(parts, **settings), variant, 0.3, p=p), data)
    assert all(torch.equal(a, b) for a, b in zip(before[:2].parameters(), slower[:2].parameters(), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(before[2:].parameters(), slower[2:].parameters(), strict=True))


@pytest.mark.parametrize("owner", ["wrapper", "base"])
def test_schedulers_may_be_built_on_either(owner, recwarn):
    model, data = network(), batches(4)
    base = sgd(model)
    optimizer = SharpnessAware(base, model=model)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer if owner == "wrapper" else base, step_size=1, gamma=0.5)
    for number, batch in enumerate(data):
        if number % 2:
            optimizer.step(closure_of(model, optimizer, batch))
        else:
            closure_of(model, optimizer, batch)()
            optimizer.first_step()
            closure_of(model, optimizer, batch)()
            optimizer.second_step()
        scheduler.step()
    assert optimizer.param_groups is base.param_groups and base.param_groups[0]["lr"] == 0.1 / 16
    assert not [warning for warning in recwarn if "lr_scheduler" in str(warning.message)]


@pytest.mark.parametrize(
    "base", [sgd, lambda model: torch.optim.AdamW(model.parameters(), lr=1e-2)], ids=["SGD", "AdamW"]
)
@pytest.mark.parametrize(("variant", "p"), KINDS, ids=IDS)
def test_training_resumed_from_a_saved_state_is_the_same_bit_for_bit(base, variant, p):
    data = batches(8)
    straight = network()
    optimizer = SharpnessAware(base(straight), variant, rho=0.2, p=p, model=straight)
    train(straight, optimizer, data)

    stopped = network()
    optimizer = SharpnessAware(base(stopped), variant, rho=0.2, p=p, model=stopped)
    train(stopped, optimizer, data[:4])
    file = io.BytesIO()
    torch.save({"model": stopped.state_dict(), "optimizer": optimizer.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    resumed = network(seed=9)
    resumed.load_state_dict(saved["model"])
    optimizer = SharpnessAware(base(resumed), model=resumed)
    optimizer.load_state_dict(saved["optimizer"])
    assert (optimizer.variant, optimizer.rho, optimizer.p) == (variant, 0.2, p)
    train(resumed, optimizer, data[4:])
    assert equal(values_of(straight), values_of(resumed))

    forgetful = network(seed=9)
    forgetful.load_state_dict(saved["model"])
    train(forgetful, SharpnessAware(base(forgetful), variant, rho=0.2, p=p, model=forgetful), data[4:])
    assert not equal(values_of(straight), values_of(forgetful)), "the check would not notice lost momentum"


def test_the_state_of_a_bare_base_is_taken_and_a_strange_one_refused():
    model, data = network(), batches(2)
    base = sgd(model)
    train(model, base, data)
    optimizer = SharpnessAware(sgd(model), "asam", rho=0.7)
    optimizer.load_state_dict(base.state_dict())
    assert optimizer.rho == 0.7 and optimizer.base.state[model[0].weight]["momentum_buffer"].abs().sum() > 0
    with pytest.raises(ConfigurationError, match=r"sharpness.state_dict = \['radius'\]: must be variant, rho, eta"):
        optimizer.load_state_dict({**base.state_dict(), "sharpness": {"radius": 1}})


def test_model_and_optimizer_copied_together_go_on_alike():
    model, data = network(), batches(4)
    optimizer = SharpnessAware(sgd(model), "samson", model=model)
    torch.optim.lr_scheduler.StepLR(optimizer, step_size=1)
    train(model, optimizer, data[:2])
    model_copy, optimizer_copy = copy.deepcopy((model, optimizer))
    train(model, optimizer, data[2:])
    train(model_copy, optimizer_copy, data[2:])
    assert equal(values_of(model), values_of(model_copy))


def test_a_gradient_scaler_steps_the_base_between_restore_and_update():
    plain, scaled, data = network(), network(), batches(4)
    train(plain, SharpnessAware(sgd(plain), "samson", model=plain), data)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    optimizer = SharpnessAware(sgd(scaled), "samson", model=scaled)
    for inputs, labels in data:
        optimizer.zero_grad()
        scaler.scale(functional.cross_entropy(scaled(inputs), labels)).backward()
        optimizer.first_step()
        optimizer.zero_grad()
        with optimizer.second_pass():
            scaler.scale(functional.cross_entropy(scaled(inputs), labels)).backward()
        optimizer.restore()
        scaler.step(optimizer.base)
        scaler.update()
    for one, two in zip(values_of(plain), values_of(scaled), strict=True):
        assert torch.allclose(one.double(), two.double(), rtol=1e-4, atol=1e-6)


def test_gradients_may_be_accumulated_in_each_pass():
    whole, parts, (inputs, labels) = network().double(), network().double(), batches(1)[0]
    whole[1], parts[1] = nn.Identity(), nn.Identity()
    inputs = inputs.double()
    train(whole, SharpnessAware(sgd(whole), "asam"), [(inputs, labels)])
    optimizer = SharpnessAware(sgd(parts), "asam")

    def closure():
        optimizer.zero_grad()
        losses = [functional.cross_entropy(parts(inputs[i : i + 4]), labels[i : i + 4]) / 2 for i in (0, 4)]
        for loss in losses:
            loss.backward()
        return sum(losses)

    optimizer.step(closure)
    assert all(torch.allclose(a, b, rtol=1e-10) for a, b in zip(whole.parameters(), parts.parameters(), strict=True))


# What is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "sharp"}, "sharpness.variant = 'sharp': must be one of 'sam', 'asam', 'samson'"),
        ({"rho": -1}, "sharpness.rho = -1: must be a finite number of at least 0"),
        ({"rho": math.nan}, "sharpness.rho = nan: must be a finite number of at least 0"),
        ({"eta": -1}, "sharpness.eta = -1: must be a finite number of at least 0"),
        ({"p": 1}, "sharpness.p = 1: must be one of 2, inf"),
        ({"scaling": "none"}, "sharpness.scaling = 'none': must be one of 'all', 'weights'"),
        (
            {"scaling": "weights"},
            "sharpness.scaling = 'weights': must be 'all', or with every parameter's name: give model=",
        ),
        (
            {"exclude": "bn*"},
            "sharpness.exclude = 'bn*': must be a pattern that fits a parameter's name, and a model given",
        ),
        ({"model": 1}, "sharpness.model = 1: must be a torch.nn.Module or None"),
    ],
)
def test_bad_settings_are_refused_by_name(options, message):
    with pytest.raises(ConfigurationError) as raised:
        SharpnessAware(sgd(network()), **options)
    assert message in str(raised.value)


def test_bad_bases_are_refused():
    parameters = list(network().parameters())
    with pytest.raises(ConfigurationError, match="must be an optimizer instance"):
        SharpnessAware(torch.optim.SGD)
    for base in (torch.optim.LBFGS(parameters), SharpnessAware(torch.optim.SGD(parameters, lr=0.1))):
        with pytest.raises(ConfigurationError, match="must be one that steps without a closure"):
            SharpnessAware(base)


def test_calls_in_the_wrong_order_say_what_to_do():
    model = network()
    optimizer = SharpnessAware(sgd(model))
    closure_of(model, optimizer, batches(1)[0])()
    with pytest.raises(QuietbarError, match="second_step was called without first_step"):
        optimizer.second_step()
    with pytest.raises(QuietbarError, match="step needs a closure"):
        optimizer.step()
    optimizer.first_step()
    with pytest.raises(QuietbarError, match="first_step was called twice"):
        optimizer.first_step()
    with pytest.raises(QuietbarError, match="between first_step and second_step"):
        optimizer.state_dict()
    assert "variant='sam'" in repr(optimizer) and "SGD" in repr(optimizer)
