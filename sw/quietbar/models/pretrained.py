"""Networks with published weights, found on this machine or downloaded, and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from quietbar.contract.errors import require_choice
from quietbar.data.download import check_file, download
from quietbar.data.folders import cache_folder, search_folders

from . import efficientnet_lite
from .resnet import resnet
from .weights import load_weights, read_weights

FOLDER = "cifar10_resnets"


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

    @property
    def files(self) -> dict[str, str]:
        """The names of the files, by network."""
        return {name.partition("-")[0]: name for name in self.sha256}

    def file(self, network: str) -> str:
        """The name of a network's file."""
        require_choice("pretrained", network, (efficientnet_lite.NAME, *self.files))
        return self.files[network]


# Y. Idelbayev, "Proper ResNet implementation for CIFAR10/CIFAR100 in PyTorch", BSD 2-clause licence.
OFFICIAL = Publication()

PRETRAINED = (efficientnet_lite.NAME, *OFFICIAL.files)
"""The networks that :func:`load_pretrained` knows."""


def load_pretrained(name: str, publication: Publication = OFFICIAL, folders: Sequence[Path] | None = None) -> nn.Module:
    """A network with published weights, in evaluation mode.

    ``efficientnet-lite0`` has its ImageNet weights from an installed package. The residual networks have CIFAR-10
    weights: each folder is searched for ``cifar10_resnets/<file>``; where none has it the file is downloaded into the
    last one. They were chosen on the test images by their authors, so their absolute accuracy is slightly optimistic,
    and trained on all 50,000 training images: those of quietbar's validation split are not new to them.

    Args:
        name: ``efficientnet-lite0``, ``resnet20``, ``resnet32``, ``resnet44`` or ``resnet56``.
        publication: checksums and address of the published files.
        folders: to search; by default the one that ``QUIETBAR_DATA`` names and the user's cache.

    Raises:
        ConfigurationError: unknown name.
        DamagedFileError: a file is not the published one. Nothing of it was loaded.
        DownloadError: the file had to be downloaded and could not.
        WeightsError: the weights do not fit the network.
        QuietbarError: the package with the weights is not installed.
    """
    if name == efficientnet_lite.NAME:
        return efficientnet_lite.load_efficientnet_lite()
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
    if name == efficientnet_lite.NAME:
        return efficientnet_lite.at_hand()
    return _find(search_folders() if folders is None else folders, OFFICIAL.file(name)) is not None


def _find(folders: Sequence[Path], file: str) -> Path | None:
    return next((path for folder in folders if (path := folder / FOLDER / file).is_file()), None)
