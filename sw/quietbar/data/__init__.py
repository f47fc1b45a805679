"""Data sets in memory, with splits that a seed fixes.

>>> digits = load("digits")
>>> for inputs, labels in digits.batches("train", size=64, shuffle_seed=1):
...     ...
"""

from collections.abc import Callable

from quietbar.contract.errors import require_choice

from . import cifar10, digits, fashion_mnist, imagenet_sample
from .augmentation import crop_and_flip
from .batches import Augmentation, Batches, permutation
from .dataset import SPLITS, Dataset, Split
from .download import DamagedFileError, DownloadError, check_file, download
from .folders import cache_folder, search_folders
from .normalization import Normalization

__all__ = [
    "NAMES",
    "SPLITS",
    "Augmentation",
    "Batches",
    "DamagedFileError",
    "Dataset",
    "DownloadError",
    "Normalization",
    "Split",
    "cache_folder",
    "check_file",
    "crop_and_flip",
    "download",
    "load",
    "permutation",
    "search_folders",
]

_LOADERS: dict[str, Callable[[int], Dataset]] = {
    "digits": digits.load,
    "cifar10": cifar10.load,
    "fashion-mnist": fashion_mnist.load,
    "digits-600-test": digits.load_large_test,
    "imagenet-sample": imagenet_sample.load,
}
NAMES = tuple(_LOADERS)


def load(name: str, split_seed: int = 0) -> Dataset:
    """A data set by its name.

    Args:
        name: one of ``NAMES``: ``digits`` comes with scikit-learn (``digits-600-test``: the same, 600 of them
            for the test), ``cifar10`` and ``fashion-mnist`` are found or downloaded, ``imagenet-sample`` must be there.
        split_seed: tells validation from training images; test images are the same for every seed.

    Raises:
        ConfigurationError: unknown name.
        DamagedFileError: a file is not the published one.
        DownloadError: a file was not found and could not be downloaded.
    """
    require_choice("data", name, NAMES)
    return _LOADERS[name](split_seed)
