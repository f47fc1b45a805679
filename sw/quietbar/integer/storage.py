"""A bundle on disk: a JSON manifest, and the safetensors file that it names and whose hash it holds.

What is read is checked against itself: format, hashes, and every type, shape and range.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

import quietbar
from quietbar.contract.block import BlockConfig
from quietbar.contract.errors import ConfigurationError, require
from quietbar.files import write_atomically

from .parameters import BlockParameters, StageParameters
from .quantize import Scales
from .tap import IntegerTap

FORMAT_NAME = "quietbar-bundle"
FORMAT_VERSION = 1
MANIFEST = "manifest.json"


def write_taps(taps: Mapping[str, IntegerTap], folder: Path) -> Path:
    """Write taps to ``folder``; see :meth:`quietbar.integer.Bundle.save`."""
    tensors = {
        f"{tap.name}.{name}": tensor for tap in taps.values() for name, tensor in _tensors(tap.parameters).items()
    }
    content = safetensors.torch.save(tensors)
    digest = hashlib.sha256(content).hexdigest()
    file = f"tensors-{digest[:16]}.safetensors"
    write_atomically(folder / file, content)
    manifest = {
        "format": FORMAT_NAME,
        "version": FORMAT_VERSION,
        "tensors": {"file": file, "sha256": digest},
        "taps": {tap.name: _describe(tap) for tap in taps.values()},
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


def read_taps(path: Path) -> dict[str, IntegerTap]:
    """The taps in a folder (or of a manifest's path); see :func:`quietbar.integer.load`."""
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
    return read


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
