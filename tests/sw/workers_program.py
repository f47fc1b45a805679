"""What the workers of ``test_sharpness_workers.py`` do: train the same network by every rule and save the weights.

Started by ``torchrun``; the first argument is the folder in which each worker leaves ``<rank>.pt``.
"""

import math
import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from quietbar.sharpness import NoiseInjection, SharpnessAware, WeightClipping

WORKERS, BATCH, STEPS = 2, 12, 4
RULES = {"SAM": ("sam", 2), "ASAM": ("asam", 2), "SAMSON(2)": ("samson", 2), "SAMSON(inf)": ("samson", math.inf)}


def network():
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3)).double()


def batches():
    generator = torch.Generator().manual_seed(5)
    return [
        (torch.randn(BATCH, 5, generator=generator, dtype=torch.float64), torch.arange(BATCH) % 3) for _ in range(STEPS)
    ]


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)


def clipped_sgd(model):
    return WeightClipping(sgd(model), 1.2, model=model)


def share(batch, rank, workers=WORKERS):
    """A worker's part of the batch."""
    size = BATCH // workers
    return tuple(part[rank * size : (rank + 1) * size] for part in batch)


def closure_of(model, optimizer, batch):
    def closure():
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        return loss

    return closure


def weights(model):
    return [each.detach().clone() for each in model.parameters()]


def train(rank, rule, workers, clips=False, **options):
    variant, p = RULES[rule]
    model = DistributedDataParallel(network())
    base = clipped_sgd(model) if clips else sgd(model)
    optimizer = SharpnessAware(base, variant, 0.4, p=p, model=model, workers=workers, **options)
    for batch in batches():
        optimizer.step(closure_of(model, optimizer, share(batch, rank)))
    return {"weights": weights(model), "passes": optimizer.passes}


def train_by_hand(rank, scaler):
    """Workers alone, call by call, with or without a gradient scaler."""
    model = DistributedDataParallel(network())
    optimizer = SharpnessAware(sgd(model), "samson", 0.4, model=model, workers="alone")
    for batch in batches():
        inputs, labels = share(batch, rank)
        optimizer.zero_grad()
        with optimizer.first_pass():
            scaler.scale(functional.cross_entropy(model(inputs), labels)).backward()
        optimizer.first_step()
        optimizer.zero_grad()
        with optimizer.second_pass():
            scaler.scale(functional.cross_entropy(model(inputs), labels)).backward()
        scaler.step(optimizer)
        scaler.update()
    return {"weights": weights(model), "passes": 2 * STEPS}


def train_with_an_overflow(rank, workers, form):
    """In the second step the first gradients of worker 1 alone are infinite."""
    model = DistributedDataParallel(network())
    optimizer = SharpnessAware(sgd(model), "samson", 0.4, model=model, workers=workers)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    for number, batch in enumerate(batches()):
        inputs, labels = share(batch, rank)
        calls = []

        def closure(inputs=inputs, labels=labels, number=number, calls=calls):
            optimizer.zero_grad()
            calls.append(True)
            loss = functional.cross_entropy(model(inputs), labels)
            factor = math.inf if number == 1 and rank == 1 and len(calls) == 1 else 1.0
            scaler.scale(loss * factor).backward()
            return loss

        if form == "closure":
            optimizer.step(closure, scaler=scaler)
        else:
            with optimizer.first_pass():
                closure()
            optimizer.first_step()
            with optimizer.second_pass():
                closure()
            scaler.step(optimizer)
        scaler.update()
    return {"weights": weights(model), "skipped": optimizer.skipped_steps, "scale": scaler.get_scale()}


def inject_noise(rank, seed):
    model = DistributedDataParallel(network())
    optimizer = NoiseInjection(sgd(model), 0.1, model=model, seed=seed)
    for batch in batches():
        optimizer.step(closure_of(model, optimizer, share(batch, rank)))
    return {"weights": weights(model), "passes": optimizer.passes}


def main():
    torch.distributed.init_process_group("gloo")
    rank = torch.distributed.get_rank()
    found = {(rule, workers): train(rank, rule, workers) for rule in RULES for workers in ("together", "alone")}
    found["sparse"] = train(rank, "SAM", "alone", every=2)
    for workers in ("together", "alone"):
        found["clipped", workers] = train(rank, "SAMSON(2)", workers, clips=True)
    found["by hand"] = train_by_hand(rank, torch.amp.GradScaler("cpu", enabled=False))
    found["scaled"] = train_by_hand(rank, torch.amp.GradScaler("cpu", init_scale=2.0**10))
    for workers in ("together", "alone"):
        for form in ("closure", "calls"):
            found["overflow", workers, form] = train_with_an_overflow(rank, workers, form)
    found["noise, same seed"], found["noise, own seed"] = inject_noise(rank, 0), inject_noise(rank, rank)
    torch.save(found, Path(sys.argv[1]) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
