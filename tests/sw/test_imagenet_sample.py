"""The sample of ImageNet is read from its folders: pixels of the middle, labels of the table, errors by name."""

import csv
from pathlib import Path

import numpy
import pytest
import torch

from quietbar import data
from quietbar.contract.errors import ConfigurationError, QuietbarError
from quietbar.data import imagenet_sample

Image = pytest.importorskip("PIL.Image")

SIZES = ((256, 300), (227, 227), (100, 400))
"""Height and width of the first images; the others are 224x224."""


def write(folder: Path, images: int, seed: int) -> None:
    folder.mkdir(parents=True)
    random = numpy.random.default_rng(seed)
    with (folder / "labels.csv").open("w", newline="") as lines:
        table = csv.writer(lines)
        table.writerow(("file", "label"))
        for number in range(images):
            shape = (*(SIZES[number] if number < len(SIZES) else (224, 224)), 3)
            Image.fromarray(random.integers(0, 256, shape, numpy.uint8)).save(folder / f"{number}.png")
            table.writerow((f"{number}.png", 7 * number))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / imagenet_sample.TRAINING, 6, seed=1)
    write(tmp_path / imagenet_sample.TEST, 4, seed=2)
    return tmp_path


def test_splits_hold_every_image_once(folder: Path) -> None:
    found = imagenet_sample.load(validation=2, folders=[folder])
    assert (len(found.train), len(found.validation), len(found.test)) == (4, 2, 4)
    assert sorted([*found.train.labels.tolist(), *found.validation.labels.tolist()]) == [0, 7, 14, 21, 28, 35]
    assert found.test.labels.tolist() == [0, 7, 14, 21] and found.shape == (3, 224, 224)


def test_pixels_are_those_of_the_middle_and_small_images_are_enlarged(folder: Path) -> None:
    test = imagenet_sample.load(validation=2, folders=[folder]).test
    for number, (top, left) in enumerate(((16, 38), (1, 1))):
        pixels = numpy.asarray(Image.open(folder / imagenet_sample.TEST / f"{number}.png"))
        expected = pixels[top : top + 224, left : left + 224].transpose(2, 0, 1)
        assert (test.images[number].numpy() == expected).all()
    assert test.images[2].float().std() > 0
    inputs = imagenet_sample.NORMALIZATION(
        torch.tensor([127, 255], dtype=torch.uint8).view(1, 1, 1, 2).expand(1, 3, 1, 2)
    )
    assert torch.allclose(inputs[0, 0, 0], torch.tensor([0.0, 1.0]), atol=1e-6)


def test_what_is_missing_or_damaged_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / imagenet_sample.TEST / "1.png").write_bytes(b"no image")
    with pytest.raises(QuietbarError, match=r"labels\.csv, line 3: .*1\.png is no readable image"):
        imagenet_sample.load(validation=2, folders=[folder])
    (folder / imagenet_sample.TEST / "labels.csv").write_text("file,label\n0.png,cat\n")
    with pytest.raises(QuietbarError, match=r"line 2: .* is not a file and a label"):
        imagenet_sample.load(validation=2, folders=[folder])
    with pytest.raises(ConfigurationError, match=r"imagenet-sample\.validation = 6: must be an integer from 1 to 5"):
        write(folder / "other" / imagenet_sample.TRAINING, 6, seed=1)
        write(folder / "other" / imagenet_sample.TEST, 4, seed=2)
        imagenet_sample.load(validation=6, folders=[folder / "other"])
    empty = folder / "empty"
    empty.mkdir()
    monkeypatch.setenv("QUIETBAR_DATA", str(empty))
    monkeypatch.setenv("XDG_CACHE_HOME", str(empty))
    assert not imagenet_sample.at_hand()
    with pytest.raises(QuietbarError, match=r"imagenet_sample1000/labels\.csv is not in .*set QUIETBAR_DATA"):
        data.load("imagenet-sample")
