"""How fast the engines are on this machine, with the versions of everything that decides it. Called by ``make bench``.

Competitors of one row group run in turn, round after round, so that a busy machine slows all of them alike. The rate is
the median of the rounds; the ratio is in processor time, taken within each round to the first of the group, and the
median of the rounds' ratios: what else runs on the machine then hardly moves it.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy
import torch
from torch import nn

from quietbar import analog, denoise, integer, models, noise, toolchain
from quietbar.analog import benchmark as analog_benchmark
from quietbar.contract import BlockConfig
from quietbar.files import write_atomically
from quietbar.sharpness import method

SECTIONS = ("engines", "blocks", "training", "analog", "simulation", "engine-simulation")
BATCH = 100
SAMPLES = 1 << 20

Work = Callable[[], object]
Group = dict[str, tuple[int, Work]]
"""Name -> (how many things one call makes, the call)."""


def inference() -> Group:
    """ResNet-20 on CIFAR-10's shape: plain PyTorch, and on a noisy chip."""
    network = models.create("resnet20").eval()
    images = torch.randn(BATCH, 3, 32, 32)
    chip = noise.Chip(seed=1, variation=noise.presets.process_and_aging)
    noisy = analog.convert(network, chip)
    analog.calibrate(noisy, images)
    return {
        "ResNet-20, plain torch, images": (BATCH, torch.no_grad()(lambda: network(images))),
        "ResNet-20, noisy chip, images": (BATCH, torch.no_grad()(lambda: noisy(images))),
    }


def training() -> Group:
    """Training steps of ResNet-20: plain SGD, and every method around it; sharpness-aware ones have two passes."""
    labels, images = torch.arange(BATCH) % 10, torch.randn(BATCH, 3, 32, 32)

    def step(name: str, **options: Any) -> Work:
        network = models.create("resnet20").train()
        base = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9)
        optimizer = method(name, base, model=network, **options) if name != "base" else base

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(network(images), labels)
            loss.backward()
            return loss

        return lambda: optimizer.step(closure)

    def fourth() -> Work:
        """Four steps, of which one climbs."""
        single = step("samson", every=4)
        return lambda: [single() for _ in range(4)]

    return {
        "training step, SGD, images": (BATCH, step("base")),
        "training step, plain, images": (BATCH, step("plain")),
        "training step, SAM, images": (BATCH, step("sam")),
        "training step, ASAM, images": (BATCH, step("asam")),
        "training step, SAMSON(2), images": (BATCH, step("samson")),
        "training step, SAMSON(inf), images": (BATCH, step("samson", p=math.inf)),
        "training step, SAMSON(2), every 4th": (4 * BATCH, fourth()),
        "training step, noise injection, images": (BATCH, step("noise")),
        "training step, clipping, images": (BATCH, step("clipping")),
        "training step, SAMSON(2), clipping, images": (BATCH, step("samson", clipping=1.5)),
    }


def sampling() -> Group:
    """A million normal samples: PyTorch's own, and those of the hardware's source, bit for bit."""
    return {
        "normal samples, torch.randn": (SAMPLES, lambda: torch.randn(SAMPLES)),
        "normal samples, hardware's source": (SAMPLES, lambda: integer.gaussian(7, SAMPLES)),
    }


def blocks() -> Group:
    """The integer denoising block of the first stage of ResNet-20, without and with its noise."""

    def work(mode: Literal["mean", "sampling"]) -> Work:
        config = BlockConfig(channels=16, hidden=8, height=32, width=32, mode=mode)
        parameters = integer.random_parameters(config, seed=1)
        frames = torch.randint(config.activation.low, config.activation.high + 1, (BATCH, 16, 32, 32))
        return lambda: integer.run_block(config, parameters, frames, seed=3)

    return {
        "integer block 16x32x32, mean, frames": (BATCH, work("mean")),
        "integer block 16x32x32, sampling, frames": (BATCH, work("sampling")),
    }


def denoised(mode: Literal["mean", "sampling"]) -> tuple[nn.Module, integer.Bundle, torch.Tensor]:
    """ResNet-20 on a noisy chip with a block behind each of its ten stages, the blocks in integers, and images."""
    images = torch.randn(BATCH, 3, 32, 32)
    noisy = analog.convert(models.create("resnet20").eval(), noise.Chip(1, noise.Variation(sigma=0.1)))
    analog.calibrate(noisy, images)
    names = ["relu", *(f"layer{layer}.{block}" for layer in (1, 2, 3) for block in range(3))]
    network = denoise.insert(noisy, names, images, mode=mode).eval()
    for tap in denoise.taps(network).values():
        torch.nn.init.normal_(tap.block.mean.weight, std=0.1)
    return network, integer.export(network, [images]), images


def network_with_blocks(mode: Literal["mean", "sampling"]) -> Group:
    """The noisy network with its blocks in float, and in integers, bit for bit those of the hardware."""
    network, bundle, images = denoised(mode)

    def in_integers() -> object:
        with bundle.attach(network):
            return network(images)

    return {
        f"ResNet-20, float blocks, {mode}, images": (BATCH, torch.no_grad()(lambda: network(images))),
        f"ResNet-20, integer blocks, {mode}, images": (BATCH, torch.no_grad()(in_integers)),
    }


def blocks_alone(mode: Literal["mean", "sampling"]) -> Group:
    """The same blocks without the network, from activations to activations."""
    network, bundle, images = denoised(mode)
    taps = denoise.taps(network)
    with torch.no_grad(), denoise.observed({name: tap.host for name, tap in taps.items()}) as seen:
        network(images)
    frames = {name: outputs[0] for name, outputs in seen.items()}

    def work() -> object:
        return [denoise.taps(network)[name].block(frame) for name, frame in frames.items()]

    def in_integers() -> object:
        with bundle.attach(network):
            return work()

    return {
        f"ten float blocks, {mode}, images": (BATCH, torch.no_grad()(work)),
        f"ten integer blocks, {mode}, images": (BATCH, torch.no_grad()(in_integers)),
    }


def measure(group: Group, rounds: int) -> dict[str, tuple[float, float]]:
    """Of every member the median rate, in things per second, and the median ratio of its processor time."""
    seconds: dict[str, list[float]] = {name: [] for name in group}
    processor: dict[str, list[float]] = {name: [] for name in group}
    for trial in range(rounds + 1):
        for name, (count, work) in group.items():
            start, start_processor = time.perf_counter(), time.process_time()
            work()
            if trial:  # the first round warms caches up
                processor[name].append((time.process_time() - start_processor) / count)
                seconds[name].append((time.perf_counter() - start) / count)
    first = processor[next(iter(group))]
    return {
        name: (
            1 / statistics.median(seconds[name]),
            statistics.median(own / other for own, other in zip(processor[name], first, strict=True)),
        )
        for name in group
    }


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=SECTIONS, help="which ones (default all)")
    parser.add_argument("--rounds", type=int, default=11, help="rounds per group (default 11)")
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch (default 1)")
    target = Path("build/benchmark.json")
    parser.add_argument("--json", type=Path, default=target, metavar="FILE", help=f"figures (default {target})")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    print(f"{platform.machine()}, {arguments.threads} thread(s), Python {platform.python_version()}")
    print(f"torch {torch.__version__}, numpy {numpy.__version__}, Verilator {toolchain.verilator().version}\n")
    result: dict[str, object] = {"machine": platform.machine(), "threads": arguments.threads}
    if "engines" in arguments.sections:
        result["engines"] = print_rates((inference, sampling, blocks), arguments.rounds)
    if "blocks" in arguments.sections:
        modes: tuple[Literal["mean", "sampling"], ...] = ("mean", "sampling")
        groups = [partial(group, mode) for mode in modes for group in (network_with_blocks, blocks_alone)]
        result["blocks"] = print_rates(groups, arguments.rounds)
    if "training" in arguments.sections:
        result["training"] = print_rates((training,), arguments.rounds)
    if "analog" in arguments.sections:
        result["analog"] = analog_benchmark.run(analog_benchmark.SECTIONS, (1, 2), arguments.rounds, "cpu")
    if "simulation" in arguments.sections:
        result["simulation"] = print_tiers()
    if "engine-simulation" in arguments.sections:
        result["engine-simulation"] = print_engine(arguments.rounds)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(arguments.json, json.dumps(result, indent=1) + "\n")
    print(f"\nwritten to {arguments.json}")


def print_rates(groups: Sequence[Callable[[], Group]], rounds: int) -> dict[str, dict[str, float]]:
    """By member of any group its rate, in things per second, and its time relative to the group's first."""
    found: dict[str, dict[str, float]] = {}
    print(f"{'what':42}{'per second':>14}{'time, relative':>16}")
    for group in groups:
        for name, (rate, ratio) in measure(group(), rounds).items():
            found[name] = {"per second": rate, "time, relative": ratio}
            print(f"{name:42}{rate:14,.0f}{ratio:16.2f}", flush=True)
    return found


def print_tiers() -> dict[str, float]:
    """The tiers of simulation on one denoiser, each run compared with the reference; cycles a second."""
    from quietbar_cosim.benchmark import BLOCK, measure_tiers

    shape = f"{BLOCK.channels}x{BLOCK.height}x{BLOCK.width}, hidden {BLOCK.hidden}, {BLOCK.kernel}, {BLOCK.mode}"
    print(f"\n{'simulation of a denoiser ' + shape:62}\n{'':42}{'cycles/s':>14}{'frames/s':>16}")
    found = {}
    for speed in measure_tiers():
        found[speed.tier] = speed.cycles_per_second
        print(f"{speed.tier:42}{speed.cycles_per_second:14,.0f}{speed.frames_per_second:16,.1f}", flush=True)
    return found


def print_engine(rounds: int) -> dict[str, dict[str, float]]:
    """The tiers of simulation on the engine of ResNet-20's blocks; cycles and multiplications a second of one core."""
    from quietbar_cosim.engine_benchmark import BLOCK, ENGINE, measure_engine

    shape = f"{BLOCK.channels}x{BLOCK.height}x{BLOCK.width}, hidden {BLOCK.hidden}, {BLOCK.kernel}, {BLOCK.mode}"
    parallel = f"lanes {ENGINE.lanes}, group {ENGINE.group}, outputs {ENGINE.outputs}"
    print(f"\nsimulation of the engine ({parallel}) with a block {shape}")
    print(f"{'':42}{'cycles/s':>14}{'MAC/s':>16}{'to bare':>10}")
    found: dict[str, dict[str, float]] = {}
    for speed in measure_engine(rounds=rounds):
        found[speed.tier] = {"cycles": speed.cycles, "multiplications": speed.multiplications}
        ratio = speed.cycles / next(iter(found.values()))["cycles"]
        print(f"{speed.tier:42}{speed.cycles:14,.0f}{speed.multiplications:16,.0f}{ratio:10.3f}", flush=True)
    return found


if __name__ == "__main__":
    main()
