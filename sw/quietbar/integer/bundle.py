"""The bundle: every integer of a network's denoising blocks, what they mean, and the proof that a file still says so.

A folder with a JSON manifest and one safetensors file that the manifest names and whose hash it holds.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

import quietbar
from quietbar import analog
from quietbar.contract.block import HIDDEN, BlockConfig
from quietbar.contract.errors import ConfigurationError, require, require_choice
from quietbar.contract.seeds import check_seed, derive_seed
from quietbar.denoise import enable, taps
from quietbar.files import write_atomically
from quietbar.models import evaluation_mode

from .block import run_block
from .calibration import Clipping, MagnitudeObserver
from .parameters import BlockParameters, StageParameters
from .quantize import Scales, hidden_activations, quantize_block

FORMAT_NAME = "quietbar-bundle"
FORMAT_VERSION = 1
MANIFEST = "manifest.json"


class Engine(Protocol):
    """What runs one tap on integers: the reference, or the RTL behind the same call."""

    def __call__(self, activations: Tensor, *, seed: int, start_frame: int) -> Tensor:
        """Denoised integers (N, C, H, W); frame ``start_frame`` of ``seed`` is the first one."""


Backend = Callable[["Bundle", str], Engine]
"""Makes the engine of one tap of a bundle."""


@dataclass(frozen=True, eq=False)
class IntegerTap:
    """One tap in integers.

    Attributes:
        name: of the submodule that is tapped.
        parameters: the block's integers.
        scales: of its activations.
    """

    name: str
    parameters: BlockParameters
    scales: Scales

    @property
    def config(self) -> BlockConfig:
        """The block's shape and mode."""
        return self.parameters.config

    @property
    def dtype(self) -> torch.dtype:
        """The type of its integer activations: int8 or uint8."""
        return torch.int8 if self.config.signed else torch.uint8

    def quantize(self, activations: Tensor) -> Tensor:
        """Real activations (N, C, H, W) as the nearest integers, half upward, clamped to the format.

        Raises:
            ConfigurationError: an activation is not a number.
        """
        where = f"{self.name}.activations"
        require(activations.is_floating_point(), where, activations.dtype, "a floating-point tensor")
        # Unlike `isnan`, one pass without a temporary: a bound of something with a nan in it is nan.
        numbers = not activations.numel() or not bool(torch.aminmax(activations).min.isnan())
        require(numbers, where, "nan", "numbers")
        steps = activations.float().div(self.scales.activation).add_(0.5).floor_()
        return steps.clamp_(self.config.activation.low, self.config.activation.high).to(self.dtype)

    def dequantize(self, integers: Tensor) -> Tensor:
        """Integers as real activations, float32."""
        return integers.float().mul_(self.scales.activation)


@dataclass(frozen=True, eq=False)
class Bundle:
    """The denoising blocks of a network in integers.

    Attributes:
        taps: by name, in the order of the model's modules.
    """

    taps: Mapping[str, IntegerTap]

    def __post_init__(self) -> None:
        require(len(self.taps) > 0, "bundle.taps", (), "at least one tap")

    def tap(self, name: str) -> IntegerTap:
        """The tap called ``name``.

        Raises:
            ConfigurationError: there is none.
        """
        require_choice("bundle.tap", name, tuple(self.taps))
        return self.taps[name]

    def run(self, tap: str, activations: Tensor, seed: int = 0, start_frame: int = 0) -> Tensor:
        """Denoise integers (N, C, H, W) as the hardware does; see :func:`quietbar.integer.run_block`."""
        found = self.tap(tap)
        return run_block(found.config, found.parameters, activations, seed, start_frame)

    def quantize(self, tap: str, activations: Tensor) -> Tensor:
        """Real activations of ``tap`` as integers; see :meth:`IntegerTap.quantize`."""
        return self.tap(tap).quantize(activations)

    def dequantize(self, tap: str, integers: Tensor) -> Tensor:
        """Integers of ``tap`` as real activations."""
        return self.tap(tap).dequantize(integers)

    @contextlib.contextmanager
    def attach(self, model: nn.Module, backend: str | Backend = "integer", seed: int = 0) -> Iterator[nn.Module]:
        """Within the context the taps of ``model`` quantize, run on ``backend``, and dequantize; then all is as before.

        Frames are counted from 0 on entry, in the order in which images come, so that results depend neither on the
        size of batches nor on the backend. Tap ``t`` draws from seed ``derive_seed(seed, "tap", t)``.

        Args:
            model: with taps, as the one that was exported; changed in place.
            backend: ``"integer"`` for the reference; or a callable of (bundle, tap's name) that returns an
                :class:`Engine`, such as ``quietbar_cosim.RTLDenoiser``.
            seed: of all Gaussian sources.

        Raises:
            ConfigurationError: the model's taps are not those of the bundle.
        """
        check_seed(seed, "attach.seed")
        make = _backend(backend)
        found = taps(model)
        require(set(found) == set(self.taps), "attach.taps", sorted(found), f"those of the bundle, {sorted(self.taps)}")
        for name, tap in found.items():
            require(
                tap.config == self.taps[name].config, f"attach.{name}.config", tap.config, f"{self.taps[name].config}"
            )
        engines = {name: make(self, name) for name in self.taps}
        blocks = {name: tap.block for name, tap in found.items()}
        try:
            for name, tap in found.items():
                tap.block = IntegerBlock(self.taps[name], engines[name], derive_seed(seed, "tap", name))  # type: ignore[assignment]
            yield model
        finally:
            for name, tap in found.items():
                tap.block = blocks[name]

    def save(self, folder: Path | str) -> Path:
        """Write the bundle to ``folder`` and return the manifest's path; the same bundle gives the same bytes.

        The manifest is replaced last, in one step: whoever reads the folder meanwhile finds the bundle before or after.
        """
        folder = Path(folder)
        tensors = {
            f"{tap.name}.{name}": tensor
            for tap in self.taps.values()
            for name, tensor in _tensors(tap.parameters).items()
        }
        content = safetensors.torch.save(tensors)
        digest = hashlib.sha256(content).hexdigest()
        file = f"tensors-{digest[:16]}.safetensors"
        write_atomically(folder / file, content)
        manifest = {
            "format": FORMAT_NAME,
            "version": FORMAT_VERSION,
            "tensors": {"file": file, "sha256": digest},
            "taps": {tap.name: _describe(tap) for tap in self.taps.values()},
            "libraries": {
                "quietbar": quietbar.__version__,
                "python": platform.python_version(),
                **{name: version(name) for name in ("torch", "safetensors")},
            },
        }
        manifest["sha256"] = _digest(manifest)
        write_atomically(folder / MANIFEST, json.dumps(manifest, indent=2) + "\n")
        for other in folder.glob("tensors-*.safetensors"):
            if other.name != file:
                other.unlink()
        return folder / MANIFEST


class IntegerBlock(nn.Module):
    """Takes a denoising block's place: quantizes, runs an engine on the integers, dequantizes; and counts frames.

    Attributes:
        tap: what is run.
        frame: number of the next frame.
    """

    def __init__(self, tap: IntegerTap, engine: Engine, seed: int) -> None:
        super().__init__()
        self.tap, self.engine, self.seed, self.frame = tap, engine, seed, 0

    def forward(self, activations: Tensor) -> Tensor:
        """Denoised activations, of the same shape and type."""
        integers = self.tap.quantize(activations.detach().cpu())
        denoised = self.engine(integers, seed=self.seed, start_frame=self.frame)
        self.frame += len(integers)
        return self.tap.dequantize(denoised).to(activations)


def export(model: nn.Module, calibration: Iterable[Any], clipping: Clipping = Clipping()) -> Bundle:  # noqa: B008
    """The denoising blocks of ``model`` in integers.

    Scales are measured where the integers will run: on the model with its blocks at work, in evaluation mode, with the
    noise that it has. The mode of its modules and its position in the noise are afterwards what they were.

    Args:
        model: from ``quietbar.denoise.insert``, trained.
        calibration: batches of (inputs, labels), or of inputs; training images, never test images.
        clipping: how ranges are chosen.

    Raises:
        ConfigurationError: there are no taps or no images, or a block's numbers do not fit the contract; tap, stage and
            channel are named.
        CalibrationError: an activation is not finite, or a tensor is 0 throughout.
    """
    scales = calibrate(model, calibration, clipping)
    found = taps(model)
    return Bundle(
        {
            name: IntegerTap(name, quantize_block(tap.config, tap.block.folded(), scales[name], name), scales[name])
            for name, tap in found.items()
        }
    )


def calibrate(model: nn.Module, calibration: Iterable[Any], clipping: Clipping) -> dict[str, Scales]:
    """The scales of every tap's activations; arguments and errors as in :func:`export`."""
    found = taps(model)
    require(len(found) > 0, "export.model", type(model).__name__, "a model with taps: see quietbar.denoise.insert")
    names = [field.name for field in fields(Scales)]
    observers = {tap: {name: MagnitudeObserver(f"{tap}.{name}") for name in names} for tap in found}
    stages = {name: tap.block.folded() for name, tap in found.items()}
    enabled = {name: tap.enabled for name, tap in found.items()}
    position, images = analog.position(model), 0

    def observe(name: str, block: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen = (inputs[0], *hidden_activations(stages[name], inputs[0]))
        for observer, values in zip(observers[name].values(), seen, strict=True):
            observer.add(values)

    hooks = [tap.block.register_forward_pre_hook(partial(observe, name)) for name, tap in found.items()]
    try:
        enable(model)
        with evaluation_mode(model), torch.inference_mode():
            for batch in calibration:
                inputs = batch if isinstance(batch, Tensor) else batch[0]
                model(inputs)
                images += len(inputs)
    finally:
        for hook in hooks:
            hook.remove()
        for name, tap in found.items():
            tap.enabled = enabled[name]
        analog.restart(model, position)
    require(images > 0, "export.calibration", images, "batches with at least one image")
    targets = {tap: {"activation": found[tap].config.activation} for tap in found}
    return {
        tap: Scales(**{name: each.scale(targets[tap].get(name, HIDDEN), clipping) for name, each in of_tap.items()})
        for tap, of_tap in observers.items()
    }


def load(path: Path | str) -> Bundle:
    """The bundle in a folder (or of a manifest's path), checked: format, hashes, and every type, shape and range.

    Raises:
        ConfigurationError: something is missing, unknown or altered; the field is named.
    """
    path = Path(path)
    folder = path.parent if path.name == MANIFEST else path
    manifest = _read_manifest(folder / MANIFEST)
    stored = _read_tensors(folder, manifest)
    described = _field(manifest, "taps", dict)
    read = {name: _read_tap(name, _field(described, name, dict, "taps"), stored) for name in described}
    unknown = sorted(stored)
    require(not unknown, "bundle.tensors", unknown, "the tensors that the manifest lists")
    expected = _digest({name: value for name, value in manifest.items() if name != "sha256"})
    given = _field(manifest, "sha256", str)
    require(
        given == expected, "bundle.sha256", given, f"{expected}, the hash of the manifest's content: it was altered"
    )
    return Bundle(read)


def _backend(backend: str | Backend) -> Backend:
    if callable(backend):
        return backend
    require_choice("attach.backend", backend, ("integer",))
    return lambda bundle, tap: partial(bundle.run, tap)


def _tensors(parameters: BlockParameters) -> dict[str, Tensor]:
    """The integers of a block by ``stage.field``."""
    return {
        f"{stage}.{field}": tensor.contiguous()
        for stage, integers in parameters.stages.items()
        for field, tensor in integers.to_dict().items()
    }


def _describe(tap: IntegerTap) -> dict[str, Any]:
    return {
        "config": tap.config.to_dict(),
        "scales": tap.scales.to_dict(),
        "tensors": {name: _layout(tensor) for name, tensor in _tensors(tap.parameters).items()},
    }


def _layout(tensor: Tensor) -> dict[str, Any]:
    return {"dtype": str(tensor.dtype).removeprefix("torch."), "shape": list(tensor.shape)}


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _field(values: Mapping[str, Any], name: str, kind: type, where: str = "") -> Any:
    """A field of the manifest, refused by its dotted name unless it is there and of the right kind."""
    full = ".".join(part for part in ("bundle", where, name) if part)
    require(name in values, full, None, f"given ({kind.__name__})")
    require(isinstance(values[name], kind), full, values[name], f"a JSON {kind.__name__}")
    return values[name]


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ConfigurationError("bundle.manifest", str(path), "a file: is this the folder of a bundle?") from None
    except ValueError as error:
        raise ConfigurationError("bundle.manifest", str(path), f"valid JSON: {error}") from None
    require(isinstance(manifest, dict), "bundle.manifest", type(manifest).__name__, "a JSON dict")
    given = _field(manifest, "format", str)
    require(given == FORMAT_NAME, "bundle.format", given, repr(FORMAT_NAME))
    number = _field(manifest, "version", int)
    require(
        number == FORMAT_VERSION, "bundle.version", number, f"{FORMAT_VERSION}, the version that this release reads"
    )
    return manifest


def _read_tensors(folder: Path, manifest: Mapping[str, Any]) -> dict[str, Tensor]:
    described = _field(manifest, "tensors", dict)
    file, digest = (_field(described, name, str, "tensors") for name in ("file", "sha256"))
    require(Path(file).name == file, "bundle.tensors.file", file, "the name of a file in the bundle's folder")
    try:
        content = (folder / file).read_bytes()
    except OSError as error:
        raise ConfigurationError("bundle.tensors.file", file, f"a readable file: {error.strerror}") from None
    found = hashlib.sha256(content).hexdigest()
    require(
        found == digest, "bundle.tensors.sha256", digest, f"{found}, the hash of {file}: one of the two was altered"
    )
    try:
        return dict(safetensors.torch.load(content))
    except safetensors.SafetensorError as error:
        raise ConfigurationError("bundle.tensors.file", file, f"a safetensors file: {error}") from None


def _read_tap(name: str, described: Mapping[str, Any], stored: dict[str, Tensor]) -> IntegerTap:
    """One tap of the manifest; takes its tensors out of ``stored``."""
    where = f"taps.{name}"
    values, described_scales = _field(described, "config", dict, where), _field(described, "scales", dict, where)
    numbers = {field.name: _field(described_scales, field.name, float, f"{where}.scales") for field in fields(Scales)}
    try:
        config, scales = BlockConfig.from_dict(values), Scales(**numbers)
    except ConfigurationError as error:
        raise ConfigurationError(f"bundle.{where}.{error.field}", error.value, error.allowed) from None
    layouts, integers = _field(described, "tensors", dict, where), {}
    for stage in config.stages:
        tensors = {}
        for field in fields(StageParameters):
            key = f"{stage.name}.{field.name}"
            layout = _field(layouts, key, dict, f"{where}.tensors")
            require(f"{name}.{key}" in stored, f"bundle.{where}.tensors.{key}", None, "in the tensors' file")
            tensors[field.name] = stored.pop(f"{name}.{key}")
            found = _layout(tensors[field.name])
            require(layout == found, f"bundle.{where}.tensors.{key}", layout, f"{found}, as in the tensors' file")
        integers[stage.name] = StageParameters(**tensors)
    return IntegerTap(name, BlockParameters(config, integers, name), scales)
