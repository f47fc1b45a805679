"""Two processes under torchrun make the steps that one process makes, by either rule of climbing."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from quietbar.contract.errors import QuietbarError
from quietbar.sharpness import NoiseInjection, SharpnessAware

PROGRAM = Path(__file__).with_name("workers_program.py")
specification = importlib.util.spec_from_file_location("workers_program", PROGRAM)
assert specification is not None and specification.loader is not None
program = importlib.util.module_from_spec(specification)
specification.loader.exec_module(program)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each of the two workers found."""
    folder = tmp_path_factory.mktemp("workers")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", PROGRAM, folder]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return [torch.load(folder / f"{rank}.pt") for rank in range(program.WORKERS)]


def close(first, second, tolerance=1e-12):
    return all(torch.allclose(a, b, rtol=tolerance, atol=tolerance) for a, b in zip(first, second, strict=True))


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def alone_in_one_process(rule, every=1, base=program.sgd):
    """The steps that workers make who climb alone, written down for one process: m-sharpness, m half of a batch."""
    variant, p = program.RULES[rule]
    model = program.network()
    optimizer, weights = base(model), list(model.parameters())
    for number, batch in enumerate(program.batches()):
        gradients = [torch.zeros_like(weight) for weight in weights]
        for rank in range(program.WORKERS):
            inputs, labels = program.share(batch, rank)
            start = [weight.detach().clone() for weight in weights]
            if number % every == 0:
                first = torch.autograd.grad(functional.cross_entropy(model(inputs), labels), weights)
                norm_of = {"sam": lambda w: torch.ones_like(w), "asam": lambda w: w.abs() + 0.01}
                operators = [
                    norm_of[variant](w) if variant in norm_of else w.abs() / torch.linalg.vector_norm(w, p)
                    for w in start
                ]
                norm = sum(((t * g) ** 2).sum() for t, g in zip(operators, first, strict=True)).sqrt()
                with torch.no_grad():
                    for weight, t, g in zip(weights, operators, first, strict=True):
                        weight += 0.4 * t * t * g / norm
            there = torch.autograd.grad(functional.cross_entropy(model(inputs), labels), weights)
            with torch.no_grad():
                for weight, old, total, g in zip(weights, start, gradients, there, strict=True):
                    weight.copy_(old)
                    total += g / program.WORKERS
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = gradient
        optimizer.step()
    return program.weights(model)


def together_in_one_process(rule, base=program.sgd):
    variant, p = program.RULES[rule]
    model = program.network()
    optimizer = SharpnessAware(base(model), variant, 0.4, p=p, model=model)
    for batch in program.batches():
        optimizer.step(program.closure_of(model, optimizer, batch))
    return program.weights(model)


def test_all_workers_have_the_same_weights_bit_for_bit(found):
    for case in found[0]:
        assert same(found[0][case]["weights"], found[1][case]["weights"]), case


@pytest.mark.parametrize("rule", program.RULES)
def test_workers_together_make_the_steps_of_one_process(found, rule):
    weights = found[0][rule, "together"]["weights"]
    assert close(weights, together_in_one_process(rule))
    assert not close(weights, alone_in_one_process(rule), 1e-4), "the check would not notice the other rule"


@pytest.mark.parametrize("rule", program.RULES)
def test_workers_alone_climb_from_their_own_gradients_and_average_what_they_find(found, rule):
    weights = found[0][rule, "alone"]["weights"]
    assert close(weights, alone_in_one_process(rule))
    assert not close(weights, together_in_one_process(rule), 1e-4), "the check would not notice the other rule"


def test_workers_alone_share_gradients_at_steps_that_do_not_climb(found):
    assert close(found[0]["sparse"]["weights"], alone_in_one_process("SAM", every=2))
    assert found[0]["sparse"]["passes"] == 6


def test_workers_clip_their_steps_as_one_process_does(found):
    for workers, one_process in (("together", together_in_one_process), ("alone", alone_in_one_process)):
        weights = found[0]["clipped", workers]["weights"]
        assert close(weights, one_process("SAMSON(2)", base=program.clipped_sgd))
        assert not close(weights, one_process("SAMSON(2)"), 1e-4), "the check would not notice steps without clipping"


def test_workers_alone_by_hand_and_with_a_gradient_scaler(found):
    expected = found[0]["SAMSON(2)", "alone"]["weights"]
    assert same(found[0]["by hand"]["weights"], expected)
    assert same(found[0]["scaled"]["weights"], expected)


@pytest.mark.parametrize("form", ["closure", "calls"])
@pytest.mark.parametrize("workers", ["together", "alone"])
def test_an_overflow_on_one_worker_skips_the_step_on_all(found, workers, form):
    for each in found:
        assert each["overflow", workers, form]["skipped"] == 1
        assert each["overflow", workers, form]["scale"] == 4.0, "every scaler learns of it"


def test_injected_noise_is_the_same_on_all_workers_or_each_ones_own(found):
    model = program.network()
    optimizer = NoiseInjection(program.sgd(model), 0.1, model=model)
    for batch in program.batches():
        optimizer.step(program.closure_of(model, optimizer, batch))
    assert close(found[0]["noise, same seed"]["weights"], program.weights(model))
    assert not close(found[0]["noise, own seed"]["weights"], program.weights(model), 1e-4)


def test_workers_alone_by_hand_want_a_first_pass():
    """One process is a group of workers, too."""
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        model = torch.nn.parallel.DistributedDataParallel(program.network())
        optimizer = SharpnessAware(program.sgd(model), model=model, workers="alone", exclude="2.*")
        program.closure_of(model, optimizer, program.batches()[0])()
        with pytest.raises(QuietbarError, match=r"inside `with optimizer.first_pass\(\):`"):
            optimizer.first_step()
    finally:
        torch.distributed.destroy_process_group()
