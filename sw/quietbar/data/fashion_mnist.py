"""Fashion-MNIST: 70,000 gray images of clothes, 28x28 pixels (Xiao et al., arXiv 1708.07747), official content only."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy
import torch

from quietbar.contract.errors import QuietbarError, require_integer
from quietbar.contract.seeds import derive_seed

from .batches import permutation
from .dataset import Dataset, Split
from .download import DamagedFileError, download
from .folders import cache_folder, search_folders
from .normalization import Normalization

FOLDERS = ("", "fashion-mnist", "FashionMNIST/raw")
"""Where in a searched folder the four files may lie; the last is torchvision's layout."""

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts them."""

CLASSES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
HEADERS = {"images": (0x0803, 4), "labels": (0x0801, 2)}
"""Magic number and number of 32-bit words of a file's head."""

NORMALIZATION = Normalization(largest=255, mean=(0.286,), std=(0.353,))


@dataclass(frozen=True)
class Publication:
    """Where the official files are and what they hold.

    Attributes:
        url: of the folder with the files.
        md5: of the compressed files, by name.
        sha256: of their content. It is what counts: Debian compresses the same content anew.
    """

    url: str = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
    md5: Mapping[str, str] = field(
        default_factory=lambda: {
            "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
        }
    )
    sha256: Mapping[str, str] = field(
        default_factory=lambda: {
            "train-images-idx3-ubyte.gz": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "train-labels-idx1-ubyte.gz": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "t10k-images-idx3-ubyte.gz": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "t10k-labels-idx1-ubyte.gz": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        }
    )


OFFICIAL = Publication()


def load(
    split_seed: int = 0,
    validation: int = 5_000,
    publication: Publication = OFFICIAL,
    folders: Sequence[Path] | None = None,
) -> Dataset:
    """55,000 training, 5,000 validation and the 10,000 official test images.

    Each folder is searched for the four ``.gz`` files, in itself, in ``fashion-mnist/`` and in ``FashionMNIST/raw/``;
    where none has a file, that file is downloaded into ``fashion-mnist/`` of the user's cache.

    Args:
        split_seed: tells validation from training images.
        validation: number of validation images.
        publication: checksums and address of the official files.
        folders: to search; by default the one that ``QUIETBAR_DATA`` names, the user's cache, and that of Debian's
            package ``dataset-fashion-mnist``.

    Raises:
        DamagedFileError: a file is not the official one.
        DownloadError: a file had to be downloaded and could not.
        ConfigurationError: an argument is outside what is allowed.
    """
    places = _places(folders)
    target = (cache_folder() if folders is None else folders[-1]) / "fashion-mnist"
    training, test = (_split(part, places, target, publication) for part in ("train", "t10k"))
    require_integer("fashion-mnist.validation", validation, 1, len(training) - 1)
    order = permutation(len(training), derive_seed(split_seed, "fashion-mnist", "validation"))
    return Dataset(
        name="fashion-mnist",
        classes=CLASSES,
        normalization=NORMALIZATION,
        train=training.take(order[validation:]),
        validation=training.take(order[:validation]),
        test=test,
    )


def at_hand(folders: Sequence[Path] | None = None) -> bool:
    """Whether the data set is on this machine, so that ``load`` needs no network; says nothing about its content."""
    places = _places(folders)
    return all(any((place / name).is_file() for place in places) for name in OFFICIAL.md5)


def _places(folders: Sequence[Path] | None) -> list[Path]:
    searched = (*search_folders(), DEBIAN) if folders is None else tuple(folders)
    return [folder / name for folder in searched for name in FOLDERS]


def _split(part: str, places: Sequence[Path], target: Path, publication: Publication) -> Split:
    images = _read(f"{part}-images-idx3-ubyte.gz", "images", places, target, publication)
    labels = _read(f"{part}-labels-idx1-ubyte.gz", "labels", places, target, publication)
    return Split(torch.from_numpy(images).unsqueeze(1), torch.from_numpy(labels.astype(numpy.int64)))


def _read(name: str, kind: str, places: Sequence[Path], target: Path, publication: Publication) -> numpy.ndarray:
    """The array in one file: a head of big-endian words (magic number, then the shape) and the bytes."""
    path = next((place / name for place in places if (place / name).is_file()), None)
    if path is None:
        path = download(f"{publication.url}/{name}", target / name, publication.md5[name], "md5")
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise QuietbarError(f"{path} is no whole gzip file: {error}") from error
    expected, found = publication.sha256[name], hashlib.sha256(content).hexdigest()
    if found != expected:
        raise DamagedFileError(path, "sha256", expected, found, f"of the {len(content):,} bytes unpacked")
    magic, words = HEADERS[kind]
    head = numpy.frombuffer(content, ">u4", words)
    assert head[0] == magic, f"{name} has the checksum of an official file but not its head"
    return numpy.frombuffer(content, numpy.uint8, offset=4 * words).reshape(head[1:].tolist()).copy()
