"""Published weights: found on this machine or downloaded, checked, and put into a network without a name left over."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from quietbar.contract.errors import QuietbarError, require_choice
from quietbar.data.download import check_file, download
from quietbar.data.folders import cache_folder, search_folders

from .resnet import resnet

FOLDER = "cifar10_resnets"


class WeightsError(QuietbarError):
    """Weights that do not fit the network; the message names what is missing, unknown or of another shape."""


@dataclass(frozen=True)
class Publication:
    """Where weights are published and what they hold.

    Attributes:
        url: of the folder with the files.
        sha256: by file name ``<network>-<first eight digits>.th``.
    """

    url: str = "https://github.com/akamaster/pytorch_resnet_cifar10/raw/master/pretrained_models"
    sha256: Mapping[str, str] = field(
        default_factory=lambda: {
            "resnet20-12fca82f.th": "12fca82f0bebc4135bf1f32f6e3710e61d5108578464b84fd6d7f5c1b04036c8",
            "resnet32-d509ac18.th": "d509ac1820d7f25398913559d7e81a13229b1e7adc5648e3bfa5e22dc137f850",
            "resnet44-014dd654.th": "014dd6541728a1c700b1642ab640e211dc6eb8ed507d70697458dc8f8a0ae2e4",
            "resnet56-4bfd9763.th": "4bfd97631478d6b638d2764fd2baff3edb1d7d82252d54439343b6596b9b5367",
        }
    )

    def file(self, network: str) -> str:
        """The name of a network's file."""
        files = {name.partition("-")[0]: name for name in self.sha256}
        require_choice("pretrained", network, tuple(files))
        return files[network]


# Y. Idelbayev, "Proper ResNet implementation for CIFAR10/CIFAR100 in PyTorch", BSD 2-clause licence.
OFFICIAL = Publication()


def load_pretrained(name: str, publication: Publication = OFFICIAL, folders: Sequence[Path] | None = None) -> nn.Module:
    """A residual network with the published CIFAR-10 weights, in evaluation mode.

    Each folder is searched for ``cifar10_resnets/<file>``; where none has it the file is downloaded into the last one.
    The weights were chosen on the test images by their authors, so their absolute accuracy is slightly optimistic. They
    were trained on all 50,000 training images: those of quietbar's validation split are not new to them.

    Args:
        name: ``resnet20``, ``resnet32``, ``resnet44`` or ``resnet56``.
        publication: checksums and address of the published files.
        folders: to search; by default the one that ``QUIETBAR_DATA`` names and the user's cache.

    Raises:
        ConfigurationError: unknown name.
        DamagedFileError: a file is not the published one. Nothing of it was loaded.
        DownloadError: the file had to be downloaded and could not.
        WeightsError: the weights do not fit the network.
    """
    file = publication.file(name)
    places = search_folders() if folders is None else tuple(folders)
    path = _find(places, file)
    if path is not None:
        check_file(path, publication.sha256[file], "sha256")
    else:
        target = (places[-1] if places else cache_folder()) / FOLDER / file
        path = download(f"{publication.url}/{file}", target, publication.sha256[file], "sha256")
    model = resnet(int(name.removeprefix("resnet")))
    load_weights(model, read_weights(path), source=str(path))
    return model.eval()


def at_hand(name: str, folders: Sequence[Path] | None = None) -> bool:
    """Whether a network's weights are on this machine, so that ``load_pretrained`` needs no network."""
    return _find(search_folders() if folders is None else folders, OFFICIAL.file(name)) is not None


def _find(folders: Sequence[Path], file: str) -> Path | None:
    return next((path for folder in folders if (path := folder / FOLDER / file).is_file()), None)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.th`` file by name, without the ``module.`` that training on several GPUs puts in front.

    Raises:
        WeightsError: not a file of tensors, or no ``state_dict`` in it.
    """
    try:
        content: Any = torch.load(io.BytesIO(path.read_bytes()), map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError, ValueError, KeyError) as error:
        raise WeightsError(f"{path} is not a file of PyTorch tensors: {str(error).splitlines()[0]}") from error
    weights = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise WeightsError(f"{path} has no 'state_dict' of tensors")
    return {name.removeprefix("module."): value for name, value in weights.items()}


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Put ``weights`` into ``model``; every name and shape must fit, only counters of batches may be missing.

    Raises:
        WeightsError: naming what does not fit; the model is then as it was.
    """
    own = model.state_dict()
    optional = {name for name in own if name.endswith("num_batches_tracked")}
    complaints = [f"{name} is missing" for name in own if name not in weights and name not in optional]
    complaints += [f"{name} is unknown" for name in weights if name not in own]
    complaints += [
        f"{name} has shape {tuple(value.shape)}, must be {tuple(own[name].shape)}"
        for name, value in weights.items()
        if name in own and value.shape != own[name].shape
    ]
    if complaints:
        shown = "; ".join(complaints[:5]) + (f"; and {len(complaints) - 5} more" if len(complaints) > 5 else "")
        raise WeightsError(f"{source} does not fit the network: {shown}")
    model.load_state_dict({**own, **weights})
