"""CIFAR-10: 60,000 color images of 32x32 pixels (Krizhevsky, 2009), read from the official files only."""

from __future__ import annotations

import hashlib
import io
import pickle
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

import numpy
import torch

from quietbar.contract.errors import QuietbarError, require_integer
from quietbar.contract.seeds import derive_seed

from .batches import permutation
from .dataset import Dataset, Split
from .download import DamagedFileError, check_file, download
from .folders import cache_folder, search_folders
from .normalization import Normalization

FOLDER = "cifar-10-batches-py"
ARCHIVE = "cifar-10-python.tar.gz"
TRAINING = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST = "test_batch"
META = "batches.meta"
SHAPE = (3, 32, 32)

# The ImageNet figures, which the published ResNet weights were trained with.
NORMALIZATION = Normalization(largest=255, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Publication:
    """Where the official files are and what they hold.

    Attributes:
        url: of the archive.
        size: of the archive, bytes.
        archive_md5: of the archive.
        file_md5: of each file in it.
    """

    url: str = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
    size: int = 170_498_071
    archive_md5: str = "c58f30108f718f92721af3b95e74349a"
    file_md5: Mapping[str, str] = field(
        default_factory=lambda: {
            "data_batch_1": "c99cafc152244af753f735de768cd75f",
            "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
            "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
            "data_batch_4": "634d18415352ddfa80567beed471001a",
            "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
            "test_batch": "40351d587109b95175f43aff81a1287e",
            "batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
        }
    )


OFFICIAL = Publication()


def load(
    split_seed: int = 0,
    validation: int = 5_000,
    publication: Publication = OFFICIAL,
    folders: Sequence[Path] | None = None,
) -> Dataset:
    """45,000 training, 5,000 validation and the 10,000 official test images.

    Each folder is searched for ``cifar-10-batches-py`` and ``cifar-10-python.tar.gz``, in itself and in ``cifar10/``;
    where none has them the archive is downloaded into the last one.

    Args:
        split_seed: tells validation from training images.
        validation: number of validation images.
        publication: checksums and address of the official files.
        folders: to search; by default the one that ``QUIETBAR_DATA`` names and the user's cache.

    Raises:
        DamagedFileError: a file is not the official one. Nothing of it was unpickled.
        DownloadError: the archive had to be downloaded and could not.
        ConfigurationError: an argument is outside what is allowed.
    """
    read = _reader(search_folders() if folders is None else tuple(folders), publication)
    parts = [_images(read(name)) for name in TRAINING]
    training = Split(torch.cat([part.images for part in parts]), torch.cat([part.labels for part in parts]))
    require_integer("cifar10.validation", validation, 1, len(training) - 1)
    order = permutation(len(training), derive_seed(split_seed, "cifar10", "validation"))
    return Dataset(
        name="cifar10",
        classes=tuple(name.decode() for name in read(META)[b"label_names"]),
        normalization=NORMALIZATION,
        train=training.take(order[validation:]),
        validation=training.take(order[:validation]),
        test=_images(read(TEST)),
    )


def at_hand(folders: Sequence[Path] | None = None) -> bool:
    """Whether the data set is on this machine, so that ``load`` needs no network; says nothing about its content."""
    return _find(search_folders() if folders is None else folders) is not None


def _find(folders: Sequence[Path]) -> Path | None:
    """The first unpacked folder or archive."""
    places = [
        place / name for folder in folders for place in (folder, folder / "cifar10") for name in (FOLDER, ARCHIVE)
    ]
    return next((place for place in places if place.exists()), None)


def _reader(folders: Sequence[Path], publication: Publication) -> Callable[[str], dict[bytes, Any]]:
    """What gives an official file's content by its name: from the first folder that has it, or from the network."""
    place = _find(folders)
    if place is None:
        target = (folders[-1] if folders else cache_folder()) / ARCHIVE
        place = download(publication.url, target, publication.archive_md5, "md5")
    if place.is_dir():
        return lambda name: _read_unpacked(place / name, publication)
    return _archive_reader(place, publication)


def _read_unpacked(path: Path, publication: Publication) -> dict[bytes, Any]:
    if not path.is_file():
        raise QuietbarError(f"{path} is missing: must be the official file of that name; unpack {ARCHIVE} again")
    return _unpickle(path.name, path.read_bytes(), publication, shown=str(path))


def _archive_reader(path: Path, publication: Publication) -> Callable[[str], dict[bytes, Any]]:
    check_file(path, publication.archive_md5, "md5", publication.size)
    # One pass: a compressed archive cannot be read out of order without unpacking it again.
    with tarfile.open(path, "r:gz") as archive:
        members = {
            PurePath(member.name).name: stream.read()
            for member in archive
            if (stream := archive.extractfile(member)) is not None
        }

    def read(name: str) -> dict[bytes, Any]:
        if name not in members:
            raise QuietbarError(f"{path} has no {FOLDER}/{name}")
        return _unpickle(name, members.pop(name), publication, shown=f"{path}:{name}")

    return read


class _ArrayUnpickler(pickle.Unpickler):
    """Makes plain Python objects and NumPy arrays, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return getattr(numpy, name)
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return numpy._core.multiarray._reconstruct  # type: ignore[attr-defined]
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a CIFAR-10 file")


def _unpickle(name: str, content: bytes, publication: Publication, shown: str) -> dict[bytes, Any]:
    expected = publication.file_md5[name]
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != expected:
        raise DamagedFileError(shown, "md5", expected, found, f"{len(content):,} bytes")
    try:
        parts: dict[bytes, Any] = _ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()
    except pickle.UnpicklingError as error:
        raise QuietbarError(f"{shown}: {error}") from error
    return parts


def _images(parts: dict[bytes, Any]) -> Split:
    """The images, stored as rows of 3,072 bytes: red, green and blue planes in raster order."""
    images = torch.from_numpy(parts[b"data"]).reshape(-1, *SHAPE)
    return Split(images, torch.tensor(parts[b"labels"], dtype=torch.int64))
