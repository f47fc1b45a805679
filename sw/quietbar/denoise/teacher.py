"""The clean network whose scores are distilled into the blocks, its answers kept."""

from __future__ import annotations

import hashlib
import json

import torch
from torch import Tensor, nn

from quietbar.analog import quiet

from .freezing import backbone_hashes
from .insertion import without_blocks


class Teacher:
    """Scores of the clean network, computed once for every batch however often it comes.

    Trainings of several chips' blocks on the same batches (same seed, order and augmentation) ask for the same scores:
    one teacher given to all of them spares a forward pass each. Nothing else changes, not a bit.
    """

    def __init__(self, model: nn.Module) -> None:
        """``model``: from ``quietbar.analog.convert``, in evaluation mode, with or without blocks; it must stay so."""
        self.model = model
        self._scores: dict[bytes, Tensor] = {}

    @property
    def digest(self) -> str:
        """Of what its scores depend on: weights and statistics, not the blocks, nor the chip that the model is on."""
        stored = self.model.state_dict().keys()
        hashes = {name: value for name, value in backbone_hashes(self.model).items() if name in stored}
        return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()

    @torch.no_grad()
    def __call__(self, inputs: Tensor) -> Tensor:
        """Class scores (N, classes) of ``inputs`` (N, ...), noise and blocks off."""
        key = hashlib.blake2b(inputs.cpu().contiguous().numpy().data, digest_size=16).digest()
        if key not in self._scores:
            exact = torch.autocast(inputs.device.type, enabled=False)
            with exact, quiet(self.model), without_blocks(self.model):
                self._scores[key] = self.model(inputs)
        return self._scores[key]
