"""Measuring what goes into every analog layer and comes out of it, for its scale and its converters' ranges."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from quietbar.contract.errors import QuietbarError, require
from quietbar.data.checks import inputs_of, require_batches
from quietbar.models.accuracy import evaluation_mode

from .arrays import multiply
from .control import layers, quiet
from .distribution import Calibration, Moments
from .layers import AnalogLayer


def calibrate(model: nn.Module, batches: Iterable[Any] | Tensor) -> dict[str, Calibration]:
    """Measure each analog layer's inputs and results, all noise and conversion off, in evaluation mode.

    A layer of several arrays or slices needs the range of each of their results; the batches then go through twice.

    Args:
        model: from ``quietbar.analog.convert``; what was measured stays in its layers.
        batches: of inputs, or of (inputs, labels); or one tensor of inputs. Training images, never test images.

    Returns:
        What each layer now refers to, by name; :func:`set_calibration` puts it into another copy of the model.

    Raises:
        ConfigurationError: a batch is none, or no batch reaches some layer.
        QuietbarError: some input or result is not finite.
    """
    found = layers(model)
    require_batches("calibrate.batches", batches)
    inputs = [batches] if isinstance(batches, Tensor) else batches
    is_cut = any(len(layer.arrays) > 1 or layer.interface.slice_bits is not None for layer in found.values())
    if is_cut and iter(inputs) is inputs:
        inputs = list(inputs)  # it can be gone through only once
    seen = {name: (Moments(), Moments()) for name in found}

    def record(layer: AnalogLayer, given: Tensor, result: Tensor) -> None:
        before, after = seen[layer.name]
        before.add(given)
        after.add(result)

    _run(model, inputs, record)
    calibrations = {}
    for name, (before, after) in seen.items():
        require(
            after.count > 0, f"calibrate.batches at {name}", after.count, "at least one image that reaches the layer"
        )
        if not (before.is_finite and after.is_finite):
            raise QuietbarError(
                f"calibrate: layer {name} gives results that are not finite; look at inputs and weights"
            )
        result = after.distribution
        calibrations[name] = Calibration(result.std, result.range, before.distribution, (result,))
    set_calibration(model, calibrations)
    if is_cut:
        calibrations |= _calibrate_parts(model, inputs)
        set_calibration(model, calibrations)
    return calibrations


def _calibrate_parts(model: nn.Module, inputs: Iterable[Any]) -> dict[str, Calibration]:
    """The calibrations of the layers of several conversions, each conversion measured."""
    cut = {name: layer for name, layer in layers(model).items() if len(layer.arrays) * layer.slices > 1}
    seen = {name: [Moments() for _ in range(len(layer.arrays) * layer.slices)] for name, layer in cut.items()}

    def record(layer: AnalogLayer, given: Tensor, _: Tensor) -> None:
        if layer.name in cut:
            parts = zip(seen[layer.name], layer.parts(given), strict=True)
            for moments, (channels, values, _worth) in parts:
                moments.add(multiply(layer, values, layer.weight, None, channels))

    _run(model, inputs, record)
    found = {}
    for name, moments in seen.items():
        before = cut[name].calibration
        assert before is not None
        found[name] = dataclasses.replace(before, conversions=tuple(each.distribution for each in moments))
    return found


def _run(model: nn.Module, inputs: Iterable[Any], record: Callable[[AnalogLayer, Tensor, Tensor], None]) -> None:
    """Show ``record`` the layer, input and result of every ideal analog product."""

    def hook(layer: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> None:
        assert isinstance(layer, AnalogLayer)
        record(layer, given[0], result)

    hooks = [layer.register_forward_hook(hook) for layer in layers(model).values()]
    try:
        with quiet(model), evaluation_mode(model), torch.no_grad():
            for batch in inputs_of("calibrate.batches", inputs):
                model(batch)
    finally:
        for handle in hooks:
            handle.remove()


def set_calibration(model: nn.Module, calibrations: dict[str, Calibration]) -> None:
    """Give each analog layer the calibration of its name, e.g. of an earlier :func:`calibrate`."""
    for name, layer in layers(model).items():
        known = ", ".join(calibrations)
        require(name in calibrations, "set_calibration.calibrations", known, f"complete: layer {name} is missing")
        layer.calibration = calibrations[name]
