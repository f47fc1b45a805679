"""What the workers of ``test_block_workers.py`` do: train blocks on the same network and save what came of it.

Started by ``torchrun``; the first argument is the folder in which each worker leaves ``<rank>.pt``.
"""

import sys
from pathlib import Path

import torch
from torch import nn

from quietbar import analog, denoise
from quietbar.data import Batches
from quietbar.denoise import NoiseLevels, Objective, Population, workers
from quietbar.denoise.freezing import block_parameters
from quietbar.models import digits_network
from quietbar.noise import Chip, Variation

WORKERS = 2
CASES = {
    "one chip": {},
    "population": {"population": Population(3), "dropping": 0.3, "objective": Objective(task=1.0)},
}


def images():
    generator = torch.Generator().manual_seed(5)
    return Batches(torch.rand(48, 1, 8, 8, generator=generator), torch.arange(48) % 4, 16, shuffle_seed=1)


def network():
    torch.manual_seed(0)
    model = digits_network(classes=4).eval()
    noisy = analog.convert(model, Chip(7, Variation(sigma=0.5, gain_mismatch=0.1)))
    analog.calibrate(noisy, images())
    return denoise.insert(noisy, ["stage1", "stage3"], next(iter(images()))[0], hidden=4)


def train(case):
    """Weights of the blocks, their statistics, and the losses, after two epochs."""
    model = network()
    history = denoise.train(model, images(), 2, levels=NoiseLevels(), progress=False, seed=3, **CASES[case])
    statistics = [
        buffer
        for tap in denoise.taps(model).values()
        for name, buffer in tap.block.named_buffers()
        if "running" in name
    ]
    return {
        "weights": [parameter.detach().clone() for parameter in block_parameters(model)],
        "statistics": statistics,
        "losses": [epoch.loss for epoch in history],
    }


def own_statistics(norm, inputs, workers):
    """A fault: every worker normalizes its part by itself."""
    return nn.BatchNorm2d.forward(norm, inputs)


def main():
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    rank = torch.distributed.get_rank()
    found = {case: train(case) for case in CASES}
    workers._normalize = own_statistics
    found["own statistics"] = train("one chip")
    torch.save(found, Path(sys.argv[1]) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
