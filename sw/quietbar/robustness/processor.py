"""What PyTorch computes on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from quietbar.contract.errors import require
from quietbar.data import Batches

Processor = Literal["cpu", "cuda", "auto"]


def processor(wanted: Processor) -> torch.device:
    """The device that is meant, ``"auto"`` being ``"cuda"`` where PyTorch finds a GPU and ``"cpu"`` elsewhere.

    On a GPU, algorithms are set to give the same bits in every run, which resumed runs rely on.

    Raises:
        ConfigurationError: ``"cuda"`` is wanted and there is none.
    """
    found = torch.cuda.is_available()
    require(wanted != "cuda" or found, "processor", wanted, "'cpu' or 'auto': PyTorch finds no GPU")
    if wanted == "cpu" or not found:
        return torch.device("cpu")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    return torch.device("cuda")


def description(device: torch.device) -> str:
    """Where bits come from: ``cpu``, or the GPU's name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


@dataclass(frozen=True)
class OnProcessor:
    """Batches whose inputs and labels are on ``device``."""

    batches: Batches
    device: torch.device

    def __len__(self) -> int:
        return len(self.batches)

    def at_epoch(self, epoch: int, start: int = 0) -> OnProcessor:
        """The same images in the order of ``epoch``, from batch ``start`` on."""
        return OnProcessor(self.batches.at_epoch(epoch, start), self.device)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for inputs, labels in self.batches:
            yield inputs.to(self.device), labels.to(self.device)
