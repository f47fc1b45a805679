"""The configuration of a converted model in a file of its own.

A ``state_dict`` holds weights and nothing else: whoever loads one keeps the chip, the variation, the conductances and
the converters that the model has now. Those of another time come back only by asking for them here.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from quietbar.configuration import from_mapping, to_mapping
from quietbar.contract.errors import ConfigurationError, require
from quietbar.files import write_atomically
from quietbar.noise import Chip

from .control import layers
from .distribution import Calibration
from .interface import Interface


@dataclasses.dataclass(frozen=True)
class LayerConfiguration:
    """What a layer is computed on.

    Attributes:
        chip: seed, variation and conductance.
        interface: converters and tiling.
        calibration: the measured scale of its results, or None.
    """

    chip: Chip
    interface: Interface = Interface()  # noqa: RUF009 - it is frozen
    calibration: Calibration | None = None


def configuration(model: nn.Module) -> dict[str, dict[str, Any]]:
    """Chip, interface and calibration of every analog layer, by name, as plain values for JSON and TOML."""
    found = {}
    for name, layer in layers(model).items():
        assert layer.chip is not None
        found[name] = to_mapping(LayerConfiguration(layer.chip, layer.interface, layer.calibration))
    return found


def set_configuration(model: nn.Module, values: Mapping[str, Any]) -> None:
    """The inverse of :func:`configuration`: every analog layer gets what ``values`` has under its name, at image 0.

    Raises:
        ConfigurationError: a layer is missing in ``values`` or in ``model``, or a field is refused; nothing changes.
    """
    found = layers(model)
    require(isinstance(values, Mapping), "configuration", values, "a table of layers")
    for name in values:
        known = ", ".join(found)
        require(name in found, f"configuration.{name}", name, f"a layer of the model: {known}")
    parsed = {}
    for name in found:
        require(name in values, "configuration", ", ".join(values), f"complete: layer {name} is missing")
        parsed[name] = from_mapping(LayerConfiguration, values[name], name)
    for name, each in parsed.items():
        found[name].calibration = each.calibration
        found[name].place_on(each.chip, interface=each.interface)


def save_configuration(model: nn.Module, path: Path | str) -> None:
    """Write :func:`configuration` to a JSON file, whole or not at all."""
    write_atomically(path, json.dumps(configuration(model), indent=2) + "\n")


def load_configuration(model: nn.Module, path: Path | str) -> None:
    """Give ``model`` what :func:`save_configuration` wrote; errors as of :func:`set_configuration`."""
    try:
        values = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise ConfigurationError("load_configuration.path", str(path), f"a readable JSON file ({error})") from error
    set_configuration(model, values)
