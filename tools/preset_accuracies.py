"""Accuracy of the pretrained ResNet-20 on chips of each preset, on 1,000 validation images of CIFAR-10::

    python tools/preset_accuracies.py

The images were among those that the published network was trained on: the figures compare presets, and are no result.
"""

from __future__ import annotations

import torch

from quietbar import analog, data, models
from quietbar.noise import Chip, Variation, presets

IMAGES = 1000
DAY = 86_400.0
CHIPS = {
    "quiet": (Variation(), (1,)),
    "temporal": (presets.temporal, (1, 2, 3)),
    "process": (presets.process, (1, 2, 3, 4, 5)),
    "process_and_aging": (presets.process_and_aging, (1, 2, 3, 4, 5)),
    "a day with nu 0.05": (Variation(seconds=DAY, nu=0.05), (1,)),
}


def main() -> None:
    """Print a line for each preset."""
    torch.set_num_threads(1)
    cifar10 = data.load("cifar10")
    model = analog.convert(models.load_pretrained("resnet20"), Chip(0))
    analog.calibrate(model, cifar10.batches("train", 100, limit=500))
    for name, (variation, seeds) in CHIPS.items():
        accuracies = []
        for seed in seeds:
            analog.set_chip(model, Chip(seed, variation))
            accuracies.append(models.accuracy(model, cifar10.batches("validation", 100, limit=IMAGES)))
        print(f"{name:20}", ", ".join(f"{accuracy:.1f}" for accuracy in accuracies), flush=True)


if __name__ == "__main__":
    main()
