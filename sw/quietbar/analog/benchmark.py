"""What analog layers cost beside plain PyTorch: time and memory, as ratios. Part of ``make bench``.

    python -m quietbar.analog.benchmark --sections forward training --threads 1 2 --rounds 9 --json FILE

The members of a group run in turn in one process, round after round, so that a busy machine slows all of them alike; a
time is the median of the rounds, a ratio the median of each round's ratio to the group's first member. Peak memory is
that of one call in a process of its own, beyond what the process held before the call (Linux only).
"""

from __future__ import annotations

import argparse
import copy
import ctypes
import gc
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy
import scipy
import torch
from torch import Tensor, nn

from quietbar import models, native, noise
from quietbar.files import write_atomically

from .calibration import calibrate
from .control import program
from .conversion import convert
from .interface import Converter, Interface
from .wires import Wires, effective_conductances

BATCH = 100
LARGE_BATCH = 4

EIGHT_BITS = Interface(Converter(8), Converter(8))
TILED = Interface(Converter(8), Converter(8), tile_rows=128, tile_columns=128)
NOISY = noise.Variation(sigma=0.15)
WIRED = Interface(Converter(8), Converter(8), tile_rows=128, tile_columns=128, wires=Wires(1.0, 1.0))

Work = Callable[[], object]
Group = dict[str, Callable[[], Work]]
"""Name -> what prepares the work and gives the call to be measured."""


def _forward(model: nn.Module, inputs: Tensor) -> Work:
    model.eval()
    return torch.no_grad()(lambda: model(inputs))


def _analog(
    model: nn.Module,
    inputs: Tensor,
    interface: Interface,
    variation: noise.Variation = noise.Variation(),  # noqa: B008 - it is frozen
    conductance: noise.Conductance | None = None,
    fold: bool = True,
) -> nn.Module:
    chip = noise.Chip(1, variation, conductance)
    converted = convert(model, chip, interface=interface, fold_batch_norm=fold)
    calibrate(converted, inputs[:20])
    program(converted)
    return converted


def _step(model: nn.Module, inputs: Tensor, labels: Tensor) -> Work:
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()

    return step


def resnet20(device: str = "cpu") -> dict[str, tuple[str, Group]]:
    """Sections, each a title and a group, of ResNet-20 on CIFAR-10's shape, ``BATCH`` images at a time."""
    torch.manual_seed(0)
    network = models.create("resnet20").to(device).eval()
    images, labels = torch.randn(BATCH, 3, 32, 32, device=device), torch.arange(BATCH, device=device) % 10
    pcm = noise.presets.pcm

    def analog(*arguments: Any, **options: Any) -> Callable[[], Work]:
        return lambda: _forward(_analog(network, images, *arguments, **options), images)

    return {
        "forward": (
            "ResNet-20 forward",
            {
                "plain torch": lambda: _forward(copy.deepcopy(network), images),
                "activation noise": analog(Interface(), NOISY),
                "activation noise, 8-bit DAC and ADC": analog(EIGHT_BITS, NOISY),
                "the same, arrays of 128 rows": analog(TILED, NOISY),
                "programmed PCM weights, 8-bit DAC and ADC": analog(EIGHT_BITS, conductance=_without_read_noise(pcm)),
                "programmed PCM weights, read noise, 8-bit DAC and ADC": analog(EIGHT_BITS, conductance=pcm),
            },
        ),
        "ir-drop": (
            "ResNet-20 forward after programming PCM, arrays of 128 x 128, 8-bit DAC and ADC",
            {
                "without IR drop": analog(TILED, conductance=_without_read_noise(pcm)),
                "with IR drop, 1 ohm a cell": analog(WIRED, conductance=_without_read_noise(pcm)),
            },
        ),
        "training": (
            "ResNet-20 training step",
            {
                "plain torch": lambda: _step(copy.deepcopy(network), images, labels),
                "activation noise": lambda: _step(
                    _analog(network, images, Interface(), NOISY, fold=False), images, labels
                ),
                "activation noise, 8-bit DAC and ADC": lambda: _step(
                    _analog(network, images, EIGHT_BITS, NOISY, fold=False), images, labels
                ),
            },
        ),
    }


def large(device: str = "cpu") -> dict[str, tuple[str, Group]]:
    """A network of ImageNet's size, with random weights: ResNet-50 on ``LARGE_BATCH`` images of 224 x 224."""
    torch.manual_seed(0)
    network = resnet50().to(device).eval()
    images = torch.randn(LARGE_BATCH, 3, 224, 224, device=device)
    return {
        "resnet50": (
            "ResNet-50 forward, 4 images of 224 x 224",
            {
                "plain torch": lambda: _forward(network, images),
                "activation noise, 8-bit DAC and ADC": lambda: _forward(
                    _analog(network, images, EIGHT_BITS, NOISY), images
                ),
            },
        ),
    }


def _without_read_noise(conductance: noise.Conductance) -> noise.Conductance:
    return noise.Conductance.from_dict({**conductance.to_dict(), "read": {}})


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut (He et al., arXiv 1512.03385, figure 5)."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.body = nn.Sequential(
            *_normalized(inputs, width, 1), nn.ReLU(), *_normalized(width, width, 3, stride), nn.ReLU(),
            *_normalized(width, outputs, 1),
        )  # fmt: skip
        is_same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if is_same else nn.Sequential(*_normalized(inputs, outputs, 1, stride))
        self.relu = nn.ReLU()

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, 4 width, H / stride, W / stride)."""
        result: Tensor = self.relu(self.body(inputs) + self.shortcut(inputs))
        return result


def resnet50(classes: int = 1000) -> nn.Module:
    """ResNet-50: 25.6 million parameters, 4.1 billion multiply-accumulates for 3 x 224 x 224."""
    layers: list[nn.Module] = [*_normalized(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    channels = 64
    for width, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for block in range(blocks):
            layers.append(Bottleneck(channels, width, stride if block == 0 else 1))
            channels = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def _normalized(inputs: int, outputs: int, size: int, stride: int = 1) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs)


def measure_times(group: Group, threads: int, rounds: int) -> dict[str, list[float]]:
    """Time of each member in each round, in seconds."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        works = {name: prepare() for name, prepare in group.items()}
        times: dict[str, list[float]] = {name: [] for name in works}
        for trial in range(rounds + 1):
            for name, work in works.items():
                _synchronize()
                start = time.perf_counter()
                work()
                _synchronize()
                if trial:  # the first round warms caches up
                    times[name].append(time.perf_counter() - start)
        return times
    finally:
        torch.set_num_threads(before)


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def measure_peak(work: Work) -> int | None:
    """Bytes that one call of ``work`` needs at its peak beyond those held before; None where no system tells."""
    work()
    status, clear = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not (status.exists() and clear.exists()):
        return None

    def value(name: str) -> int:
        found = re.search(rf"^{name}:\s*(\d+) kB", status.read_text(), re.MULTILINE)
        return int(found.group(1)) * 1024 if found else 0

    gc.collect()
    if hasattr(ctypes.CDLL(None), "malloc_trim"):
        ctypes.CDLL(None).malloc_trim(0)  # what an earlier call freed but the process still holds would hide this one's
    clear.write_text("5")  # the peak is what is held now
    before = value("VmRSS")
    work()
    return value("VmHWM") - before


def measure_solver(sizes: tuple[int, ...] = (64, 128, 256)) -> dict[str, float]:
    """Seconds to solve square arrays with wires, once each."""
    found = {}
    for size in sizes:
        cells = numpy.random.default_rng(1).uniform(0.1, 25.0, (size, size))
        start = time.perf_counter()
        effective_conductances(cells, Wires(1.0, 1.0))
        found[f"{size} x {size}"] = time.perf_counter() - start
    return found


def versions() -> dict[str, str]:
    """Of everything that decides the times."""
    return {
        "machine": platform.machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "scipy": scipy.__version__,
        "element-wise work": native.status(),
    }


def run(sections: Sequence[str], threads: Sequence[int], rounds: int, device: str) -> dict[str, Any]:
    """Measure and print as it comes; the result is plain values.

    Args:
        sections: of :data:`SECTIONS`.
        threads: of PyTorch, each measured.
        rounds: how often each member runs; a third of it for ResNet-50.
        device: for PyTorch; memory is measured on ``"cpu"`` only.
    """
    result: dict[str, Any] = {"versions": versions(), "batch": BATCH, "rounds": rounds, "device": device, "times": []}
    print(", ".join(f"{name} {value}" for name, value in result["versions"].items()), flush=True)
    prepared = resnet20(device) | (large(device) if "resnet50" in sections else {})
    for section, (title, group) in prepared.items():
        if section in sections:
            result["times"] += _print_times(
                title, group, threads, max(rounds // (3 if section == "resnet50" else 1), 1)
            )
    if "memory" in sections and device == "cpu":
        result["peaks"] = _print_peaks()
    if "solver" in sections:
        result["solver"] = measure_solver()
        print(f"\n{'IR drop of an array, solved once':60}{'s':>9}")
        for name, seconds in result["solver"].items():
            print(f"{name:60}{seconds:9.3f}", flush=True)
    return result


def _print_times(title: str, group: Group, threads: Sequence[int], rounds: int) -> list[dict[str, Any]]:
    heads = "".join(f"{f'ms, {count} thr.':>15}{'ratio':>7}" for count in threads)
    print(f"\n{title}\n{'':60}{heads}", flush=True)
    measured = {count: measure_times(group, count, rounds) for count in threads}
    entries = []
    for name in group:
        line = f"{name:60}"
        for count, times in measured.items():
            seconds = statistics.median(times[name])
            first = next(iter(times.values()))
            ratio = statistics.median(own / plain for own, plain in zip(times[name], first, strict=True))
            line += f"{seconds * 1e3:15.1f}{ratio:7.2f}"
            entries.append({"group": title, "name": name, "threads": count, "seconds": seconds, "ratio": ratio})
        print(line, flush=True)
    return entries


def _print_peaks() -> list[dict[str, Any]]:
    peaks: list[dict[str, Any]] = []
    print(f"\n{'peak memory of a call':60}{'MiB':>9}{'ratio':>7}")
    for section in PEAKS:
        title, group = resnet20()[section]
        print(title)
        first = None
        for name in group:
            words = [sys.executable, "-m", "quietbar.analog.benchmark", "--peak", section, name]
            done = subprocess.run(words, capture_output=True, text=True, check=True, env={**os.environ, **AT_ONCE})
            found = json.loads(done.stdout)
            if found is None:
                print("not told by this system")
                return peaks
            first = first or found
            print(f"{name:60}{found / 2**20:9.0f}{found / first:7.2f}", flush=True)
            peaks.append({"group": title, "name": name, "bytes": found, "ratio": found / first})
    return peaks


AT_ONCE = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
"""Makes the C library give freed tensors back at once, so that a peak is of what is alive and the same every time."""

SECTIONS = ("forward", "ir-drop", "training", "resnet50", "memory", "solver")
PEAKS = ("forward", "training")


def main() -> None:
    """Measure, print tables, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=SECTIONS, help="which ones (default all)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="threads of PyTorch (default 1 2)")
    parser.add_argument("--rounds", type=int, default=12, help="rounds per group (default 12)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default cpu)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--peak", nargs=2, metavar=("SECTION", "NAME"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        torch.set_num_threads(1)
        section, name = arguments.peak
        print(json.dumps(measure_peak(resnet20()[section][1][name]())))
        return
    result = run(arguments.sections, arguments.threads, arguments.rounds, arguments.device)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(arguments.json, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
