"""Networks have the published structure, published weights load whole or not at all, and accuracy is a plain count."""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from quietbar import analog, data, models, placement
from quietbar.analog.batch_norm import find_pairs
from quietbar.contract.errors import ConfigurationError
from quietbar.data import DamagedFileError, cifar10
from quietbar.models import WeightsError, pretrained
from quietbar.models.resnet import Subsample
from quietbar.noise import Chip
from quietbar.training import fit, one_cycle


def published_names(depth: int) -> list[str]:
    """The names in the published files, without ``module.``."""
    normalization = ("weight", "bias", "running_mean", "running_var")
    blocks = [f"layer{layer}.{block}." for layer in (1, 2, 3) for block in range((depth - 2) // 6)]
    names = ["conv1.weight", *(f"bn1.{part}" for part in normalization)]
    for block in blocks:
        for number in (1, 2):
            names += [f"{block}conv{number}.weight", *(f"{block}bn{number}.{part}" for part in normalization)]
    return [*names, "linear.weight", "linear.bias"]


class TestResnets:
    @pytest.mark.parametrize("depth", models.DEPTHS)
    def test_names_are_those_of_the_published_weights(self, depth: int) -> None:
        names = [name for name in models.resnet(depth).state_dict() if not name.endswith("num_batches_tracked")]
        assert names == published_names(depth)

    @pytest.mark.parametrize(("depth", "count"), [(20, 269_722), (32, 464_154), (44, 658_586), (56, 853_018)])
    def test_parameters_are_counted_as_published(self, depth: int, count: int) -> None:
        assert sum(parameter.numel() for parameter in models.resnet(depth).parameters()) == count

    def test_blocks_are_taps_of_the_stated_shapes(self) -> None:
        model = models.resnet(20).eval()
        shapes: dict[str, tuple[int, ...]] = {}

        def record(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
            return lambda module, inputs, output: shapes.update({name: tuple(output.shape)})

        for layer in (1, 2, 3):
            model.get_submodule(f"layer{layer}.2").register_forward_hook(record(f"layer{layer}.2"))
        scores = model(torch.randn(2, 3, 32, 32))
        assert shapes == {"layer1.2": (2, 16, 32, 32), "layer2.2": (2, 32, 16, 16), "layer3.2": (2, 64, 8, 8)}
        assert scores.shape == (2, 10)

    def test_shortcut_takes_every_second_pixel_between_zero_channels(self) -> None:
        inputs = torch.arange(2 * 4 * 4, dtype=torch.float32).view(1, 2, 4, 4)
        outputs = Subsample(4)(inputs)
        assert torch.equal(outputs[0, 1:3], inputs[0, :, ::2, ::2])
        assert not outputs[0, 0].any() and not outputs[0, 3].any()

    def test_other_depths_are_refused(self) -> None:
        with pytest.raises(ConfigurationError, match=r"resnet\.depth = 18: must be one of 20, 32, 44, 56"):
            models.resnet(18)


class TestVGG:
    @pytest.mark.parametrize(("depth", "published"), [(11, 9_231_114), (13, 9_416_010), (16, 14_728_266)])
    def test_parameters_are_those_of_the_usual_form_without_the_biases_that_normalization_removes(
        self, depth: int, published: int
    ) -> None:
        """The usual form: kuangliu/pytorch-cifar, whose convolutions have biases."""
        model = models.vgg(depth)
        biases = sum(module.out_channels for module in model.modules() if isinstance(module, nn.Conv2d))
        assert sum(parameter.numel() for parameter in model.parameters()) + biases == published

    def test_stages_are_taps_of_the_stated_shapes(self) -> None:
        model = models.vgg(11).eval()
        shapes = {}
        for number in range(1, 6):
            model.get_submodule(f"stage{number}").register_forward_hook(
                lambda module, inputs, output, number=number: shapes.update({number: tuple(output.shape[1:])})
            )
        model(torch.zeros(1, 3, 32, 32))
        assert shapes == {1: (64, 32, 32), 2: (128, 16, 16), 3: (256, 8, 8), 4: (512, 4, 4), 5: (512, 2, 2)}

    def test_is_held_by_a_chip_with_its_normalization_folded(self) -> None:
        model = models.vgg(11).eval()
        assert len(find_pairs(model)) == 8
        held = analog.convert(model, Chip(1))
        inputs = torch.randn(2, 3, 32, 32)
        assert torch.allclose(held(inputs), model(inputs), rtol=1e-3, atol=1e-3)

    def test_other_depths_are_refused(self) -> None:
        with pytest.raises(ConfigurationError, match=r"vgg\.depth = 19: must be one of 11, 13, 16"):
            models.vgg(19)


def parameters_by_the_paper(width: float, classes: int) -> int:
    """Table 2 of arXiv 1801.04381, layer by layer; channels as TensorFlow's ``make_divisible`` rounds them."""

    def channels(full: int) -> int:
        rounded = max(8, int(full * width + 4) // 8 * 8)
        return rounded + 8 if rounded < 0.9 * full * width else rounded

    def normalized(weights: int, outputs: int) -> int:
        return weights + 2 * outputs

    inputs = channels(32)
    count = normalized(3 * 9 * inputs, inputs)
    table = [(1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1)]
    for expansion, full, repeats in table:
        for _ in range(repeats):
            wide, outputs = expansion * inputs, channels(full)
            if expansion > 1:
                count += normalized(inputs * wide, wide)
            count += normalized(9 * wide, wide) + normalized(wide * outputs, outputs)
            inputs = outputs
    head = max(1280, channels(1280))
    return count + normalized(inputs * head, head) + (head + 1) * classes


class TestMobileNetV2:
    @pytest.mark.parametrize("name", [name for name in models.NAMES if name.startswith("mobilenetv2")])
    def test_parameters_are_those_of_the_papers_table(self, name: str) -> None:
        model = models.create(name, 10)
        expected = parameters_by_the_paper(float(name.partition("-")[2]), 10)
        assert sum(parameter.numel() for parameter in model.parameters()) == expected

    @pytest.mark.parametrize(("width", "millions"), [(0.35, 1.66), (0.5, 1.95), (0.75, 2.61), (1.0, 3.47), (1.4, 6.06)])
    def test_the_papers_table_gives_the_published_counts(self, width: float, millions: float) -> None:
        """Those of TensorFlow's model zoo, a little less than with every bias counted; PyTorch's, exactly, for 1.0."""
        assert parameters_by_the_paper(width, 1000) == pytest.approx(1e6 * millions, rel=0.015)
        assert parameters_by_the_paper(1.0, 1000) == 3_504_872

    def test_frames_shrink_three_times(self) -> None:
        model = models.mobilenetv2(0.35).eval()
        shapes = {}
        watched = {"stem": model.stem, **{f"blocks.{index}": block for index, block in enumerate(model.blocks)}}
        for name, module in {**watched, "head": model.head}.items():
            module.register_forward_hook(
                lambda module, inputs, output, name=name: shapes.update({name: tuple(output.shape[1:])})
            )
        model(torch.zeros(1, 3, 32, 32))
        sizes = [shape[1] for shape in shapes.values()]
        assert sizes == [32] * 4 + [16] * 3 + [8] * 7 + [4] * 5
        assert shapes["stem"] == (16, 32, 32) and shapes["head"] == (1280, 4, 4)

    def test_taps_are_found_where_no_shortcut_leads_past(self) -> None:
        """At this width block 1 has a shortcut too: 8 channels in and 8 out."""
        found = placement.find_candidates(models.mobilenetv2(0.35).eval(), torch.randn(4, 3, 32, 32))
        passes = [f"blocks.{index}.{part}" for index in (3, 6, 10, 13, 16) for part in ("expand", "depthwise")]
        assert found == ["stem", "blocks.0.depthwise", *passes, "head"]

    def test_is_held_by_a_chip_with_its_normalization_folded(self) -> None:
        model = models.mobilenetv2(0.35).eval()
        assert len(find_pairs(model)) == 52
        held = analog.convert(model, Chip(1))
        inputs = torch.randn(2, 3, 32, 32)
        assert torch.allclose(held(inputs), model(inputs), rtol=1e-3, atol=1e-3)

    def test_other_widths_are_refused(self) -> None:
        with pytest.raises(ConfigurationError, match=r"mobilenetv2\.width = 0\.6: must be one of 0\.35, 0\.5, 0\.75"):
            models.mobilenetv2(0.6)


class TestCreate:
    @pytest.mark.parametrize("name", models.NAMES)
    def test_gives_every_network_by_its_name(self, name: str) -> None:
        shapes = {"digits": (1, 8, 8), "small-gray": (1, 28, 28), "efficientnet-lite0": (3, 224, 224)}
        inputs = torch.zeros(2, *shapes.get(name, (3, 32, 32)))
        assert models.create(name, classes=7).eval()(inputs).shape == (2, 7)

    def test_lists_the_names_for_an_unknown_one(self) -> None:
        with pytest.raises(
            ConfigurationError,
            match=r"model = 'resnet18': must be one of 'digits', 'efficientnet-lite0', 'mobilenetv2-0\.35'",
        ):
            models.create("resnet18")

    @pytest.mark.parametrize("name", ["digits", "resnet20"])
    def test_refuses_a_single_class(self, name: str) -> None:
        with pytest.raises(ConfigurationError, match="classes = 1: must be an integer from 2"):
            models.create(name, classes=1)


def test_digits_network_learns_the_digits() -> None:
    torch.manual_seed(0)
    digits, model = data.load("digits"), models.digits_network()
    optimizer = torch.optim.AdamW(model.parameters(), 5e-3, weight_decay=1e-2)
    fit(model, digits.batches("train", 64, shuffle_seed=1), optimizer, 12, one_cycle, progress=False)
    assert models.accuracy(model, digits.batches("test", 360)) >= 97.0


class TestAccuracy:
    batches = data.Batches(torch.eye(10).view(10, 10, 1, 1), torch.tensor([0, 1, 2, 3, 4, 5, 6, 0, 0, 0]), 4)

    def test_is_the_percentage_of_right_labels_whatever_the_batch_size(self) -> None:
        assert models.accuracy(nn.Flatten(), self.batches) == 70.0

    def test_leaves_each_module_in_its_own_mode(self) -> None:
        model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(10), nn.Dropout(0.5))
        model[1].eval()
        statistics = model[1].running_mean.clone()
        models.accuracy(model, self.batches)
        assert [module.training for module in model.modules()] == [True, True, False, True]
        assert torch.equal(statistics, model[1].running_mean)

    def test_restores_the_modes_after_an_error_too(self) -> None:
        model = nn.Sequential(nn.Linear(3, 3))
        with pytest.raises(RuntimeError):
            models.accuracy(model, self.batches)
        assert model.training and model[0].training

    def test_of_no_images_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match=r"accuracy\.batches"):
            models.accuracy(nn.Flatten(), [])


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    torch.manual_seed(5)
    return {name: torch.rand_like(value) for name, value in models.resnet(20).state_dict().items() if value.ndim}


def publish(folder: Path, state: object) -> pretrained.Publication:
    """Write a file in the published format and give its checksum."""
    stream = io.BytesIO()
    torch.save({"state_dict": state, "best_prec1": 10.0}, stream)
    digest = hashlib.sha256(stream.getvalue()).hexdigest()
    file = f"resnet20-{digest[:8]}.th"
    (folder / pretrained.FOLDER).mkdir()
    (folder / pretrained.FOLDER / file).write_bytes(stream.getvalue())
    return pretrained.Publication("http://127.0.0.1:9", {file: digest})


def prefixed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"module.{name}": value for name, value in weights.items()}


class TestPretrained:
    def test_every_weight_arrives(self, weights: dict[str, Tensor], tmp_path: Path) -> None:
        publication = publish(tmp_path, prefixed(weights))
        model = models.load_pretrained("resnet20", publication, [tmp_path])
        assert not model.training
        state = model.state_dict()
        assert all(torch.equal(state[name], value) for name, value in weights.items())

    @pytest.mark.parametrize("lost", ["layer2.1.bn2.running_var", "linear.bias"])
    def test_missing_weight_is_named(self, weights: dict[str, Tensor], tmp_path: Path, lost: str) -> None:
        publication = publish(tmp_path, prefixed({name: value for name, value in weights.items() if name != lost}))
        with pytest.raises(WeightsError, match=f"does not fit the network: {lost} is missing$"):
            models.load_pretrained("resnet20", publication, [tmp_path])

    def test_unknown_weight_is_named(self, weights: dict[str, Tensor], tmp_path: Path) -> None:
        publication = publish(tmp_path, prefixed(weights | {"layer4.0.conv1.weight": torch.zeros(1)}))
        with pytest.raises(WeightsError, match=r"layer4\.0\.conv1\.weight is unknown"):
            models.load_pretrained("resnet20", publication, [tmp_path])

    def test_weight_of_another_shape_is_named(self, weights: dict[str, Tensor], tmp_path: Path) -> None:
        publication = publish(tmp_path, prefixed(weights | {"linear.weight": torch.zeros(100, 64)}))
        with pytest.raises(WeightsError, match=r"linear\.weight has shape \(100, 64\), must be \(10, 64\)"):
            models.load_pretrained("resnet20", publication, [tmp_path])

    @pytest.mark.parametrize("state", [None, {"conv1.weight": 3}])
    def test_file_without_tensors_is_refused(self, tmp_path: Path, state: object) -> None:
        with pytest.raises(WeightsError, match="has no 'state_dict' of tensors"):
            models.load_pretrained("resnet20", publish(tmp_path, state), [tmp_path])

    @pytest.mark.parametrize(
        "damage", [lambda content: content[:-9], lambda content: content[:500] + b"!" + content[501:]]
    )
    def test_damaged_file_is_refused_unread(
        self, weights: dict[str, Tensor], tmp_path: Path, damage: Callable[[bytes], bytes]
    ) -> None:
        publication = publish(tmp_path, prefixed(weights))
        file = tmp_path / pretrained.FOLDER / publication.file("resnet20")
        file.write_bytes(damage(file.read_bytes()))
        with pytest.raises(DamagedFileError, match=f"{file.name} is truncated or altered: its SHA256 is"):
            models.load_pretrained("resnet20", publication, [tmp_path])

    def test_damaged_file_without_a_checksum_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "some.th").write_bytes(b"no tensors here")
        with pytest.raises(WeightsError, match=r"some\.th is not a file of PyTorch tensors"):
            models.read_weights(tmp_path / "some.th")

    def test_unknown_network_is_refused(self) -> None:
        with pytest.raises(
            ConfigurationError, match="pretrained = 'resnet110': must be one of 'efficientnet-lite0', 'resnet20'"
        ):
            models.load_pretrained("resnet110")

    def test_published_names_end_in_the_first_digits_of_their_checksums(self) -> None:
        for file, digest in pretrained.OFFICIAL.sha256.items():
            assert file.removesuffix(".th").partition("-")[2] == digest[:8] and len(digest) == 64


class TestPublishedWeights:
    @pytest.mark.parametrize("name", [f"resnet{depth}" for depth in models.DEPTHS])
    def test_load(self, name: str) -> None:
        if not pretrained.at_hand(name):
            pytest.skip(f"the published weights of {name} are not on this machine")
        models.load_pretrained(name)

    @pytest.mark.skipif(
        not (pretrained.at_hand("resnet20") and cifar10.at_hand()),
        reason="CIFAR-10 and the published weights are not on this machine",
    )
    def test_resnet20_gets_right_what_was_measured_when_they_were_collected(self) -> None:
        batches = data.load("cifar10").batches("test", 250)
        assert models.accuracy(models.load_pretrained("resnet20"), batches) == pytest.approx(91.73, abs=0.02)
