"""A bundle runs a model's taps in integers on any backend, survives the disk unchanged, and notices alterations."""

import json
import shutil

import pytest
import torch
from torch import nn

from quietbar.contract import ConfigurationError, derive_seed
from quietbar.denoise import insert, taps
from quietbar.files import hash_file
from quietbar.integer import CalibrationError, Clipping, export, load
from quietbar.integer.storage import MANIFEST


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.ReLU())
        self.second = nn.Conv2d(6, 4, 3, padding=1)
        self.head = nn.Linear(4, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.second(self.first(images)).mean((2, 3)))


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randn(20, 2, 5, 4, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module", params=["mean", "sampling"])
def model(request, images) -> nn.Module:
    torch.manual_seed(3)
    tapped = insert(Network(), ["first", "second"], images, hidden=3, mode=request.param)
    for tap in taps(tapped).values():
        nn.init.normal_(tap.block.mean.weight, 0, 0.2)
        if tap.block.log_sigma is not None:
            nn.init.constant_(tap.block.log_sigma.bias, -3.0)
    return tapped.eval()


@pytest.fixture(scope="module")
def bundle(model, images):
    return export(model, [(images, None), images[:7]])


def predict(model: nn.Module, images: torch.Tensor, size: int) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat([model(batch) for batch in images.split(size)])


def test_taps_keep_name_shape_and_format(model, bundle) -> None:
    assert list(bundle.taps) == ["first", "second"]
    for name, tap in taps(model).items():
        assert bundle.taps[name].config == tap.config
    assert (bundle.taps["first"].dtype, bundle.taps["second"].dtype) == (torch.uint8, torch.int8)


def test_quantize_rounds_half_up_clamps_and_inverts(bundle) -> None:
    scale = bundle.taps["second"].scales.activation
    steps = torch.tensor([-200.0, -128.0, -1.5, -0.5, 0.0, 0.5, 1.49, 126.6, 500.0])
    integers = bundle.quantize("second", steps * scale)
    assert integers.tolist() == [-128, -128, -1, 0, 0, 1, 1, 127, 127]
    assert torch.equal(bundle.quantize("second", bundle.dequantize("second", integers)), integers)
    with pytest.raises(ConfigurationError, match=r"second[.]activations"):
        bundle.quantize("second", torch.tensor([float("nan")]))
    with pytest.raises(ConfigurationError, match=r"second[.]activations"):
        bundle.quantize("second", integers)


def test_export_leaves_the_model_as_it_was(model, images) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    taps(model)["first"].enabled = False
    export(model, [images])
    assert not taps(model)["first"].enabled
    taps(model)["first"].enabled = True
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_the_attached_model_follows_the_float_model(model, bundle, images) -> None:
    torch.manual_seed(0)
    expected = predict(model, images, 20)
    with bundle.attach(model) as attached:
        found = predict(attached, images, 20)
    assert (found - expected).abs().max() < (0.05 if bundle.taps["first"].config.mode == "mean" else 0.2)
    assert not torch.equal(found, expected), "the integers must be at work"


@pytest.mark.parametrize("size", [1, 7, 20])
def test_predictions_do_not_depend_on_the_size_of_batches(model, bundle, images, size) -> None:
    # The backbone's own rounding depends on the batch, so the integers themselves are compared.
    seen: dict[str, list] = {}

    def recording(bundle, tap):
        def engine(activations, *, seed, start_frame):
            found = bundle.run(tap, activations, seed, start_frame)
            seen.setdefault(tap, []).append(found)
            return found

        return engine

    with bundle.attach(model.double(), recording, seed=5):
        predict(model, images.double(), size)
    model.float()
    whole = bundle.run("first", bundle.quantize("first", model.first.host(images)), derive_seed(5, "tap", "first"))
    assert (torch.cat(seen["first"]) != whole).float().mean() < 0.01
    assert torch.cat(seen["second"]).shape == (20, 4, 5, 4)


def test_frames_are_counted_over_batches_and_start_anew_on_entry(model, bundle, images) -> None:
    calls = []

    def recording(bundle, tap):
        def engine(activations, *, seed, start_frame):
            calls.append((tap, seed, start_frame))
            return bundle.run(tap, activations, seed, start_frame)

        return engine

    for _ in range(2):
        with bundle.attach(model, recording, seed=9):
            predict(model, images, 8)
    seeds = {tap: derive_seed(9, "tap", tap) for tap in bundle.taps}
    once = [(tap, seeds[tap], frame) for frame in (0, 8, 16) for tap in ("first", "second")]
    assert calls == 2 * once


def test_another_backend_with_the_same_bits_gives_the_same_predictions(model, bundle, images) -> None:
    with bundle.attach(model, "integer", seed=1):
        expected = predict(model, images, 8)
    plainly = lambda bundle, tap: lambda x, *, seed, start_frame: bundle.run(tap, x.long(), seed, start_frame)  # noqa: E731
    with bundle.attach(model, plainly, seed=1):
        assert torch.equal(predict(model, images, 8), expected)
    wrong = lambda bundle, tap: lambda x, *, seed, start_frame: bundle.run(tap, x, seed, start_frame).bitwise_xor_(8)  # noqa: E731
    with bundle.attach(model, wrong, seed=1):
        assert not torch.equal(predict(model, images, 8), expected)


def test_attaching_restores_the_float_blocks_even_after_an_error(model, bundle, images) -> None:
    blocks = [tap.block for tap in taps(model).values()]
    with pytest.raises(RuntimeError), bundle.attach(model):
        raise RuntimeError
    assert [tap.block for tap in taps(model).values()] == blocks


@pytest.mark.parametrize(
    ("field", "use"),
    [
        ("bundle.tap", lambda bundle, model: bundle.run("third", torch.zeros(1))),
        ("attach.backend", lambda bundle, model: bundle.attach(model, "verilog").__enter__()),
        ("attach.seed", lambda bundle, model: bundle.attach(model, seed=-1).__enter__()),
        ("attach.taps", lambda bundle, model: bundle.attach(Network()).__enter__()),
        ("first.activations.shape", lambda bundle, model: bundle.run("first", torch.zeros(6, 5, 5, dtype=torch.uint8))),
        ("export.model", lambda bundle, model: export(Network(), [])),
        ("export.calibration", lambda bundle, model: export(model, [])),
    ],
)  # fmt: skip
def test_misuse_is_refused_by_name(model, bundle, field, use) -> None:
    with pytest.raises(ConfigurationError) as error:
        use(bundle, model)
    assert error.value.field == field


def test_another_shape_at_a_tap_is_refused(model, bundle, images) -> None:
    other = insert(Network(), ["first", "second"], images, hidden=2)
    with pytest.raises(ConfigurationError, match=r"attach[.]first[.]config"):
        bundle.attach(other).__enter__()


def test_calibration_images_that_are_not_finite_are_refused(model, images) -> None:
    with pytest.raises(CalibrationError, match=r"first[.]activation"):
        export(model, [images / 0])


def test_clipping_reaches_the_scales(model, images) -> None:
    largest = export(model, [images], Clipping("maximum"))
    cut = export(model, [images], Clipping("percentile", 50.0))
    for name in largest.taps:
        assert cut.taps[name].scales.activation < 0.7 * largest.taps[name].scales.activation


def test_a_saved_bundle_comes_back_equal_and_runs_alike(bundle, tmp_path) -> None:
    path = bundle.save(tmp_path / "bundle")
    for place in (path, path.parent):
        again = load(place)
        assert list(again.taps) == list(bundle.taps)
        for name, tap in bundle.taps.items():
            assert again.taps[name].parameters.equal(tap.parameters)
            assert again.taps[name].scales == tap.scales
    frames = torch.randint(0, 256, (3, 6, 5, 4), dtype=torch.uint8)
    assert torch.equal(again.run("first", frames, seed=4), bundle.run("first", frames, seed=4))


def test_the_same_bundle_gives_the_same_bytes_and_replaces_another(bundle, tmp_path) -> None:
    bundle.save(tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    hashes = [hash_file(tmp_path / name) for name in names]
    (tmp_path / "tensors-0000000000000000.safetensors").write_bytes(b"of another bundle")
    load(tmp_path).save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert [hash_file(tmp_path / name) for name in names] == hashes


MEAN_BIAS = ("taps", "second", "tensors", "mean.bias")


def edit(folder, *path):
    """Replace the field at ``path[:-1]`` of the manifest by ``path[-1]``; ``None`` removes it."""
    manifest = json.loads((folder / MANIFEST).read_text())
    *parents, name, value = path
    place = manifest
    for parent in parents:
        place = place[parent]
    if value is None:
        del place[name]
    else:
        place[name] = value
    (folder / MANIFEST).write_text(json.dumps(manifest))


def flip_a_bit(folder):
    file = next(folder.glob("*.safetensors"))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def truncate(folder, name):
    (folder / name).write_bytes((folder / name).read_bytes()[:-20])


def replace_tensors(folder, content: bytes):
    file = next(folder.glob("*.safetensors"))
    file.write_bytes(content)
    edit(folder, "tensors", "sha256", hash_file(file))


@pytest.mark.parametrize(
    ("field", "damage"),
    [
        ("bundle.manifest", lambda folder: (folder / MANIFEST).unlink()),
        ("bundle.manifest", lambda folder: truncate(folder, MANIFEST)),
        ("bundle.manifest", lambda folder: (folder / MANIFEST).write_text("[]")),
        ("bundle.format", lambda folder: edit(folder, "format", "onnx")),
        ("bundle.format", lambda folder: edit(folder, "format", None)),
        ("bundle.version", lambda folder: edit(folder, "version", 2)),
        ("bundle.version", lambda folder: edit(folder, "version", "1")),
        ("bundle.tensors", lambda folder: edit(folder, "tensors", None)),
        ("bundle.tensors.sha256", flip_a_bit),
        ("bundle.tensors.sha256", lambda folder: truncate(folder, next(folder.glob("*.safetensors")).name)),
        ("bundle.tensors.sha256", lambda folder: edit(folder, "tensors", "sha256", "0" * 64)),
        ("bundle.tensors.file", lambda folder: next(folder.glob("*.safetensors")).unlink()),
        ("bundle.tensors.file", lambda folder: edit(folder, "tensors", "file", "../elsewhere")),
        ("bundle.tensors.file", lambda folder: replace_tensors(folder, b"not safetensors")),
        ("bundle.taps", lambda folder: edit(folder, "taps", [])),
        ("bundle.taps.first.config", lambda folder: edit(folder, "taps", "first", "config", None)),
        ("bundle.taps.first.block.channels", lambda folder: edit(folder, "taps", "first", "config", "channels", 0)),
        ("bundle.taps.first.block.width", lambda folder: edit(folder, "taps", "first", "config", "width", None)),
        ("bundle.taps.first.block.depth", lambda folder: edit(folder, "taps", "first", "config", "depth", 3)),
        ("bundle.taps.first.scales.reduce", lambda folder: edit(folder, "taps", "first", "scales", "reduce", None)),
        ("bundle.taps.first.scales.reduce", lambda folder: edit(folder, "taps", "first", "scales", "reduce", "0.1")),
        ("bundle.taps.first.scales.reduce", lambda folder: edit(folder, "taps", "first", "scales", "reduce", -0.1)),
        ("bundle.taps.second.tensors.mean.bias", lambda folder: edit(folder, *MEAN_BIAS, None)),
        ("bundle.taps.second.tensors.mean.bias", lambda folder: edit(folder, *MEAN_BIAS, "shape", [5])),
        ("first.reduce.weights", lambda folder: edit(folder, "taps", "first", "config", "channels", 7)),
        ("bundle.tensors", lambda folder: edit(folder, "taps", "second", None)),
        ("bundle.sha256", lambda folder: edit(folder, "taps", "first", "scales", "reduce", 0.123)),
        ("bundle.sha256", lambda folder: edit(folder, "taps", "first", "config", "height", 6)),
        ("bundle.sha256", lambda folder: edit(folder, "sha256", "0")),
        ("bundle.sha256", lambda folder: edit(folder, "sha256", None)),
    ],
)  # fmt: skip
def test_damage_is_refused_by_the_field_s_name(bundle, tmp_path, field, damage) -> None:
    bundle.save(tmp_path)
    damage(tmp_path)
    with pytest.raises(ConfigurationError) as error:
        load(tmp_path)
    assert error.value.field == field


def test_a_run_that_dies_before_the_manifest_leaves_the_old_bundle(
    bundle, model, images, tmp_path, monkeypatch
) -> None:
    bundle.save(tmp_path)
    other = export(model, [images], Clipping("percentile", 50.0))

    def dies(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(json, "dumps", dies)
    with pytest.raises(KeyboardInterrupt):
        other.save(tmp_path)
    monkeypatch.undo()
    assert load(tmp_path).taps["first"].scales == bundle.taps["first"].scales
    shutil.rmtree(tmp_path)
