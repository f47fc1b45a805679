"""Fashion-MNIST is read from wherever its files lie, and only if their content is the published one."""

import gzip
import hashlib
import struct
from pathlib import Path

import numpy
import pytest
import torch

from quietbar.contract.errors import ConfigurationError, QuietbarError
from quietbar.data import DamagedFileError, DownloadError, fashion_mnist, load

TRAINING, TEST, VALIDATION = 40, 10, 15


def files() -> dict[str, bytes]:
    """The four files, unpacked, with few images."""
    random = numpy.random.default_rng(1)
    contents = {}
    for part, count in (("train", TRAINING), ("t10k", TEST)):
        images = random.integers(0, 256, (count, 28, 28), numpy.uint8)
        labels = (numpy.arange(count) % 10).astype(numpy.uint8)
        contents[f"{part}-images-idx3-ubyte.gz"] = struct.pack(">4I", 0x803, count, 28, 28) + images.tobytes()
        contents[f"{part}-labels-idx1-ubyte.gz"] = struct.pack(">2I", 0x801, count) + labels.tobytes()
    return contents


def write(folder: Path, contents: dict[str, bytes], level: int = 9) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(gzip.compress(content, level, mtime=0))


def publication(contents: dict[str, bytes], url: str = "http://127.0.0.1:9") -> fashion_mnist.Publication:
    packed = {name: hashlib.md5(gzip.compress(content, mtime=0)).hexdigest() for name, content in contents.items()}
    return fashion_mnist.Publication(url, packed, {n: hashlib.sha256(c).hexdigest() for n, c in contents.items()})


def read(folder: Path, contents: dict[str, bytes], **options: object):
    options = {"validation": VALIDATION, "publication": publication(contents), "folders": [folder], **options}
    return fashion_mnist.load(**options)


@pytest.mark.parametrize("place", fashion_mnist.FOLDERS)
@pytest.mark.parametrize("level", [1, 9])
def test_is_found_in_each_place_however_it_was_compressed(tmp_path: Path, place: str, level: int) -> None:
    contents = files()
    write(tmp_path / place, contents, level)
    data = read(tmp_path, contents)
    assert (len(data.train), len(data.validation), len(data.test)) == (TRAINING - VALIDATION, VALIDATION, TEST)
    assert data.shape == (1, 28, 28)
    raw = contents["t10k-images-idx3-ubyte.gz"][16:]
    assert torch.equal(data.test.images.flatten(), torch.frombuffer(bytearray(raw), dtype=torch.uint8))
    assert data.test.labels.tolist() == list(range(10))


def test_another_seed_changes_validation_but_never_the_test_images(tmp_path: Path) -> None:
    contents = files()
    write(tmp_path, contents)
    first, second = read(tmp_path, contents), read(tmp_path, contents, split_seed=1)
    assert torch.equal(first.test.images, second.test.images)
    assert not torch.equal(first.validation.images, second.validation.images)


def test_one_altered_byte_is_refused_by_name(tmp_path: Path) -> None:
    contents = files()
    altered = {**contents, "t10k-labels-idx1-ubyte.gz": contents["t10k-labels-idx1-ubyte.gz"][:-1] + b"\x08"}
    write(tmp_path, altered)
    with pytest.raises(DamagedFileError, match=r"t10k-labels-idx1-ubyte.gz is truncated or altered"):
        read(tmp_path, contents)


def test_a_file_that_is_cut_short_is_refused_by_name(tmp_path: Path) -> None:
    contents = files()
    write(tmp_path, contents)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(QuietbarError, match=r"train-images-idx3-ubyte.gz is no whole gzip file"):
        read(tmp_path, contents)


def test_a_missing_file_is_asked_of_the_network_and_said_where_to_put(tmp_path: Path) -> None:
    contents = files()
    write(tmp_path, {name: content for name, content in contents.items() if "t10k-labels" not in name})
    assert not fashion_mnist.at_hand([tmp_path])
    with pytest.raises(DownloadError, match=r"or put t10k-labels-idx1-ubyte.gz into"):
        read(tmp_path, contents)


def test_validation_must_leave_something_to_train_on(tmp_path: Path) -> None:
    contents = files()
    write(tmp_path, contents)
    with pytest.raises(ConfigurationError, match=r"fashion-mnist.validation = 40: must be an integer from 1 to 39"):
        read(tmp_path, contents, validation=TRAINING)


@pytest.mark.skipif(not fashion_mnist.at_hand(), reason="Fashion-MNIST is not on this machine")
def test_official_fashion_mnist_is_the_same_on_every_machine() -> None:
    data = load("fashion-mnist")
    assert data.digest.startswith("08528a3ca518")
    assert torch.bincount(data.test.labels).tolist() == [1000] * 10
