"""A network's state in a stage's folder: its ``state_dict``, written whole or not at all."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import nn

from quietbar.files import atomic_file

from .folder import damaged


def save_state(model: nn.Module, path: Path) -> None:
    """Write the state of ``model``."""
    with atomic_file(path) as stream:
        torch.save(model.state_dict(), stream)


def load_state(model: nn.Module, path: Path) -> None:
    """Give ``model`` the state in a file.

    Raises:
        QuietbarError: the file is damaged, or of another network.
    """
    try:
        model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise damaged(path, error) from error
