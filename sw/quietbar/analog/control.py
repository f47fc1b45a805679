"""What can be changed on a converted model: its chip, its variation, how loud it is, and which image comes next."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from quietbar.contract.errors import ConfigurationError, require, require_integer, require_number
from quietbar.noise import Chip, Conductance, Variation

from .conversion import LayerParts, Patterns, match, places_by_layer
from .interface import Interface
from .layers import AnalogLayer


def layers(model: nn.Module) -> dict[str, AnalogLayer]:
    """The analog layers of ``model`` by the names they have on the chip.

    Raises:
        ConfigurationError: there are none.
    """
    found = {module.name: module for module in model.modules() if isinstance(module, AnalogLayer)}
    require(bool(found), "analog.model", type(model).__name__, "a model from quietbar.analog.convert")
    return found


_layers = layers
"""The same where an argument has that name."""


def set_chip(model: nn.Module, chip: Chip, layers: LayerParts | None = None) -> None:
    """Put ``model`` on another chip, with that chip's configuration, at image 0.

    Calibration and interfaces stay. ``layers`` is as of ``quietbar.analog.convert``. To keep each layer's
    configuration, :func:`program` with a seed.
    """
    require(isinstance(chip, Chip), "set_chip.chip", chip, "a quietbar.noise.Chip")
    found = _layers(model)
    places = {name: (chip, layer.interface) for name, layer in found.items()}
    for name, (each, interface) in places_by_layer(places, layers, "set_chip.layers").items():
        found[name].place_on(each, interface=interface)


def set_variation(model: nn.Module, variation: Variation, include: Patterns = "*") -> None:
    """Give the analog layers that fit ``include`` another variation on the same chip, at image 0."""
    _replace(model, include, "set_variation.include", variation=variation)


def set_conductance(model: nn.Module, conductance: Conductance | None, include: Patterns = "*") -> None:
    """Give the analog layers that fit ``include`` other conductances (None: exact) on the same chip, at image 0."""
    _replace(model, include, "set_conductance.include", conductance=conductance)


def program(model: nn.Module, chip: Chip | int | None = None) -> None:
    """Write the present weights to the arrays, at image 0.

    Arrays are programmed anyway when a layer is first used, and again when its weight has changed; this does it now,
    and begins a life: time starts again at each layer's first reading (``t0``).

    Args:
        model: from ``quietbar.analog.convert``.
        chip: None, the chip that the model is on; a seed, another one with the same configuration of every layer; or a
            :class:`Chip`, whose configuration (time included) all layers take.
    """
    if isinstance(chip, Chip):
        set_chip(model, chip)
    else:
        for layer in _layers(model).values():
            assert layer.chip is not None
            seed = layer.chip.seed if chip is None else chip
            layer.place_on(_chip_at(dataclasses.replace(layer.chip, seed=seed), None, layer.name))
    for layer in _layers(model).values():
        if layer.chip is not None and layer.chip.conductance is not None:
            layer.held()


def drift(model: nn.Module, seconds: float, include: Patterns = "*") -> None:
    """Let ``seconds`` have passed since programming, for the gains and noise of results and for the conductances.

    Exact and repeatable: the state at a time is a function of chip, weights and time, whatever times came before it.

    Raises:
        ConfigurationError: ``seconds`` is before a layer's first reading (``t0``), or after what is known of a device;
            or nothing of the layers that fit ``include`` ages.
    """
    require_number("drift.seconds", seconds, 0.0)
    found = _layers(model)
    names = match(list(found), include, "drift.include")
    chips = {name: _chip_at(_chip(found[name]), float(seconds), name) for name in found if name in names}
    allowed = "of layers that age: give their chip variation.nu or noise_growth, or a conductance such as presets.pcm"
    require(any(chip.ages for chip in chips.values()), "drift.seconds", seconds, f"{allowed}; nothing here does")
    for name, chip in chips.items():
        found[name].place_on(chip)


def _chip_at(chip: Chip, seconds: float | None, name: str) -> Chip:
    """``chip`` that long after programming; None is each part's first reading."""
    parts: dict[str, Any] = {"variation": chip.variation, "conductance": chip.conductance}
    for part, value in parts.items():
        if value is not None:
            try:
                parts[part] = dataclasses.replace(value, seconds=value.t0 if seconds is None else seconds)
            except ConfigurationError as error:
                raise ConfigurationError(f"{name}.{error.field}", error.value, error.allowed) from None
    return dataclasses.replace(chip, **parts)


def _chip(layer: AnalogLayer) -> Chip:
    assert layer.chip is not None
    return layer.chip


def _replace(model: nn.Module, include: Patterns, field: str, **parts: Any) -> None:
    found = _layers(model)
    for name in match(list(found), include, field):
        found[name].place_on(dataclasses.replace(_chip(found[name]), **parts))


def set_interface(model: nn.Module, interface: Interface, include: Patterns = "*") -> None:
    """Give the analog layers that fit ``include`` other converters and tiles, at image 0.

    Calibration stays; where the layers are cut in another way than before, :func:`calibrate` again.
    """
    require(isinstance(interface, Interface), "set_interface.interface", interface, "a quietbar.analog.Interface")
    found = layers(model)
    for name in match(list(found), include, "set_interface.include"):
        layer = found[name]
        assert layer.chip is not None
        layer.place_on(layer.chip, interface=interface)


def set_noise_level(model: nn.Module, sigma: float) -> None:
    """Set the temporal noise of every analog layer to ``sigma``; the rest of its variation stays."""
    for name, layer in layers(model).items():
        assert layer.chip is not None
        set_variation(model, dataclasses.replace(layer.chip.variation, sigma=sigma), name)


def scale_noise(model: nn.Module, factor: float) -> None:
    """Scale every deviation from the ideal model: 0 is ideal, 1 the chip as it is, 2 twice as far off.

    It costs nothing and draws nothing anew: call it before each batch to train over a range of noise levels.
    """
    require(_is_number(factor) and factor >= 0, "scale_noise.factor", factor, "a finite number of at least 0")
    for layer in layers(model).values():
        layer.factor = float(factor)


@contextlib.contextmanager
def quiet(model: nn.Module) -> Iterator[nn.Module]:
    """The ideal model: inside this context nothing varies, and no image is counted."""
    found = [module for module in model.modules() if isinstance(module, AnalogLayer)]
    before = [layer.is_quiet for layer in found]
    try:
        for layer in found:
            layer.is_quiet = True
        yield model
    finally:
        for layer, was_quiet in zip(found, before, strict=True):
            layer.is_quiet = was_quiet


def restart(model: nn.Module, image: int | Mapping[str, int] = 0) -> None:
    """Make ``image`` the number of the next image: the noise from there on is what it was before.

    Args:
        model: from ``quietbar.analog.convert``; one without analog layers is left alone.
        image: one number for all layers, or what :func:`position` gave.
    """
    for layer in _each(model):
        number = image if isinstance(image, int) else image.get(layer.name, -1)
        require_integer(f"restart.image of {layer.name}", number, 0, (1 << 63) - 1)
        layer.image = number


def position(model: nn.Module) -> dict[str, int]:
    """The number of the next image at each analog layer, for :func:`restart`."""
    return {layer.name: layer.image for layer in _each(model)}


class NoiseState:
    """The position in the noise as a random source that ``quietbar.training.fit(generators=...)`` saves and resumes."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def get_state(self) -> dict[str, int]:
        """What :func:`position` gives."""
        return position(self.model)

    def set_state(self, state: Mapping[str, int]) -> None:
        """The inverse of :meth:`get_state`."""
        restart(self.model, state)


def _each(model: nn.Module) -> list[AnalogLayer]:
    return [module for module in model.modules() if isinstance(module, AnalogLayer)]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
