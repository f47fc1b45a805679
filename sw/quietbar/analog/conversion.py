"""From a digital model to one on a chip, and back."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from quietbar.contract.errors import require
from quietbar.noise import Chip, Conductance, Variation

from .batch_norm import find_pairs, fold_pair
from .interface import Interface
from .layers import ANALOG, DIGITAL, AnalogLayer

Patterns = str | Sequence[str]

Part = Variation | Conductance | Interface
PARTS = (Variation, Conductance, Interface)

LayerParts = Mapping[str, Part | Sequence[Part]]
"""Pattern of layer names to the parts in which those layers differ from the rest. Later patterns win, part by part."""


def convert(
    model: nn.Module,
    chip: Chip,
    include: Patterns = "*",
    exclude: Patterns = (),
    fold_batch_norm: bool = True,
    interface: Interface = Interface(),  # noqa: B008 - it is frozen
    layers: LayerParts | None = None,
) -> nn.Module:
    """A copy of ``model`` whose ``nn.Conv2d`` and ``nn.Linear`` layers are computed on ``chip``.

    The layers become ``AnalogConv2d`` and ``AnalogLinear``; ``model`` stays as it is. Subclasses of ``nn.Conv2d`` and
    ``nn.Linear`` compute in their own ways and stay digital.

    Args:
        model: any module. It may not hold analog layers yet.
        chip: its seed, its variation, its conductances. Variation in units of the results' scale wants
            :func:`calibrate` first.
        include: shell patterns (``"layer1.*"``) of the names of layers that become analog.
        exclude: patterns of those that stay digital all the same.
        fold_batch_norm: whether batch normalization is folded into the analog layer in front of it (and replaced by
            ``nn.Identity``), so that the noise comes after it. The copy then computes what the model does in
            evaluation mode. Where several layers feed one normalization, it stays.
        interface: converters and tiling of all layers. What is not ideal wants :func:`calibrate` first.
        layers: for layers that differ from the rest: pattern to a :class:`Variation`, a :class:`Conductance`, an
            :class:`Interface`, or a list of them, e.g. ``{"layer1.*": presets.rram_milo, "linear": [presets.temporal,
            Conductance()]}``. Of several patterns that fit a layer the last one wins, part by part.

    Raises:
        ConfigurationError: a pattern fits no convertible layer, ``model`` is analog already, or ``torch.fx`` cannot
            trace it to find what is to be folded.
    """
    require(isinstance(model, nn.Module), "convert.model", type(model).__name__, "a torch.nn.Module")
    require(isinstance(chip, Chip), "convert.chip", chip, "a quietbar.noise.Chip")
    require(isinstance(interface, Interface), "convert.interface", interface, "a quietbar.analog.Interface")
    analog = [name for name, module in model.named_modules() if isinstance(module, AnalogLayer)]
    require(not analog, "convert.model", ", ".join(analog), "digital: bring it back with quietbar.analog.to_digital")
    model = copy.deepcopy(model)
    modules = dict(model.named_modules())
    candidates = {name: module for name, module in modules.items() if type(module) in ANALOG}
    chosen = match(candidates, include, "convert.include") - match(candidates, exclude, "convert.exclude")
    require(bool(chosen), "convert.include", include, "patterns that leave at least one nn.Conv2d or nn.Linear layer")
    if fold_batch_norm:
        _fold(model, chosen)
    places = places_by_layer(
        {name: (chip, interface) for name in candidates if name in chosen}, layers, "convert.layers"
    )
    for name in chosen:
        layer = modules[name]
        # In place, so that parameters, hooks and every reference to the layer stay.
        layer.__class__ = ANALOG[type(layer)]
        assert isinstance(layer, AnalogLayer)
        layer.place_on(places[name][0], name, places[name][1])
    return model


def to_digital(model: nn.Module) -> nn.Module:
    """A copy of ``model`` with ordinary layers for the analog ones, ideal again; folded normalization stays folded."""
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, AnalogLayer):
            digital = DIGITAL[type(module)]
            module.remove_chip()
            module.__class__ = digital  # type: ignore[assignment]
    return model


Places = dict[str, tuple[Chip, Interface]]


def places_by_layer(places: Places, layers: LayerParts | None, field: str) -> Places:
    """Chip and interface of each layer, by name, with the parts that ``layers`` gives it.

    Raises:
        ConfigurationError: a pattern fits no name, or stands for something else than parts.
    """
    layers = {} if layers is None else layers
    require(isinstance(layers, Mapping), field, layers, "a mapping of patterns to parts")
    places = dict(places)
    for pattern, parts in layers.items():
        listed: Any = [parts] if isinstance(parts, PARTS) else parts
        is_list = isinstance(listed, (list, tuple)) and len(listed) > 0
        allowed = "a Variation, a Conductance, an Interface, or a list of them"
        require(is_list and all(isinstance(part, PARTS) for part in listed), f"{field}[{pattern!r}]", parts, allowed)
        for name in match(list(places), pattern, field):
            chip, interface = places[name]
            for part in listed:
                if isinstance(part, Interface):
                    interface = part
                elif isinstance(part, Variation):
                    chip = dataclasses.replace(chip, variation=part)
                else:
                    chip = dataclasses.replace(chip, conductance=part)
            places[name] = chip, interface
    return places


def match(names: Sequence[str] | dict[str, nn.Module], patterns: Patterns, field: str) -> set[str]:
    """The ``names`` that fit one of ``patterns``; a pattern that fits none is refused."""
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    found = set()
    for pattern in patterns:
        fitting = {name for name in names if fnmatchcase(name, pattern)}
        require(len(names) > 0, field, pattern, "for a model with nn.Conv2d or nn.Linear layers: this one has none")
        shown = ", ".join(list(names)[:8]) + (", ..." if len(names) > 8 else "")
        require(bool(fitting), field, pattern, f"a pattern that fits one of the layers {shown}")
        found |= fitting
    return found


def _fold(model: nn.Module, chosen: set[str]) -> None:
    modules = dict(model.named_modules(remove_duplicate=False))
    named = {id(modules[name]) for name in chosen}
    for layer_name, norm_name in find_pairs(model):
        layer, norm = modules[layer_name], modules[norm_name]
        if id(layer) not in named:
            continue
        assert isinstance(layer, nn.Conv2d | nn.Linear) and isinstance(norm, _BatchNorm)
        fold_pair(layer, norm, norm_name)
        for alias, module in modules.items():
            if module is norm:
                model.set_submodule(alias, nn.Identity())
