"""Measuring the scale of every analog layer's ideal results."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from quietbar.contract.errors import QuietbarError, require
from quietbar.models.accuracy import evaluation_mode

from .control import layers, quiet
from .layers import AnalogLayer, Calibration


@dataclass
class Moments:
    """Count, mean, sum of squared deviations and extremes of numbers that come in parts, in float64.

    Parts are merged by the formula of T. F. Chan, G. H. Golub, R. J. LeVeque, "Updating formulae and a pairwise
    algorithm for computing sample variances", 1979.
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    low: float = math.inf
    high: float = -math.inf

    def add(self, values: Tensor) -> None:
        """Take in all elements of ``values``."""
        values = values.detach().double()
        count = values.numel()
        variance, mean = torch.var_mean(values, correction=0)
        difference, total = float(mean) - self.mean, self.count + count
        self.squares += float(variance) * count + difference**2 * self.count * count / total
        self.mean += difference * count / total
        self.count = total
        low, high = torch.aminmax(values)
        self.low, self.high = min(self.low, float(low)), max(self.high, float(high))

    @property
    def calibration(self) -> Calibration:
        """What the layers need of it."""
        return Calibration(math.sqrt(self.squares / self.count), self.high - self.low)


def calibrate(model: nn.Module, batches: Iterable[Any] | Tensor) -> dict[str, Calibration]:
    """Measure the standard deviation and range of each analog layer's results, all noise off, in evaluation mode.

    Args:
        model: from ``quietbar.analog.convert``; the measured scales stay in its layers.
        batches: of inputs, or of (inputs, labels); or one tensor of inputs. Training images, never test images.

    Returns:
        What each layer now refers to, by name; :func:`set_calibration` puts it into another copy of the model.

    Raises:
        ConfigurationError: no batch reaches some layer.
        QuietbarError: some result is not finite.
    """
    found = layers(model)
    moments = {name: Moments() for name in found}

    def record(layer: nn.Module, _: Any, result: Tensor) -> None:
        assert isinstance(layer, AnalogLayer)
        moments[layer.name].add(result)

    hooks = [layer.register_forward_hook(record) for layer in found.values()]
    try:
        with quiet(model), evaluation_mode(model), torch.no_grad():
            for batch in [batches] if isinstance(batches, Tensor) else batches:
                model(batch[0] if isinstance(batch, (tuple, list)) else batch)
    finally:
        for hook in hooks:
            hook.remove()
    for name, each in moments.items():
        require(each.count > 0, f"calibrate.batches at {name}", each.count, "at least one image that reaches the layer")
        if not math.isfinite(each.squares + each.high - each.low):
            raise QuietbarError(
                f"calibrate: layer {name} gives results that are not finite; look at inputs and weights"
            )
    calibrations = {name: each.calibration for name, each in moments.items()}
    set_calibration(model, calibrations)
    return calibrations


def set_calibration(model: nn.Module, calibrations: dict[str, Calibration]) -> None:
    """Give each analog layer the calibration of its name, e.g. of an earlier :func:`calibrate`."""
    for name, layer in layers(model).items():
        known = ", ".join(calibrations)
        require(name in calibrations, "set_calibration.calibrations", known, f"complete: layer {name} is missing")
        layer.calibration = calibrations[name]
