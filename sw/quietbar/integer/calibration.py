"""From real activations to the size of an integer step: histograms of magnitudes, and where to clip them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from quietbar import analog
from quietbar.contract.block import HIDDEN
from quietbar.contract.errors import QuietbarError, require, require_choice
from quietbar.contract.number import IntegerFormat
from quietbar.data.checks import inputs_of, require_batches
from quietbar.denoise import enable, taps
from quietbar.models import evaluation_mode

from .quantize import Scales, hidden_activations

BINS = 4096
CANDIDATES = 128
SMALLEST_CLIP = 1 / 64
"""The least clip that is tried, as a share of the largest magnitude."""

Method = Literal["mse", "percentile", "maximum"]


class CalibrationError(QuietbarError):
    """The calibration data do not determine a scale."""


@dataclass(frozen=True)
class Clipping:
    """How a tensor's largest representable magnitude is chosen.

    Attributes:
        method: ``mse`` takes the clip with the least mean squared error of rounding and clipping together;
            ``percentile`` clips above that share of the magnitudes; ``maximum`` clips nothing.
        percentile: in percent, for that method.
    """

    method: Method = "mse"
    percentile: float = 99.99

    def __post_init__(self) -> None:
        require_choice("clipping.method", self.method, ("mse", "percentile", "maximum"))
        number = isinstance(self.percentile, int | float) and 0 < self.percentile <= 100
        require(number, "clipping.percentile", self.percentile, "above 0 and at most 100")


class MagnitudeObserver:
    """A histogram of the magnitudes of everything shown to it, in `BINS` bins whose width doubles when it must.

    Args:
        name: of the tensor, for errors.
    """

    def __init__(self, name: str) -> None:
        self.name, self.limit = name, 0.0
        self.counts = torch.zeros(BINS, dtype=torch.float64)

    def add(self, values: Tensor) -> None:
        """Count the magnitudes of ``values``, of any shape.

        Raises:
            CalibrationError: a value is not finite.
        """
        if values.numel() == 0:
            return
        magnitudes = values.detach().float().abs().flatten().cpu()
        largest = float(magnitudes.max())
        if not math.isfinite(largest):
            raise CalibrationError(f"{self.name}: an activation of the calibration data is {largest}")
        if self.limit == 0.0:
            self.counts[0] += magnitudes.numel() if largest == 0.0 else 0
            if largest == 0.0:
                return
            self.limit = largest
        while largest > self.limit:
            self.counts = torch.cat([self.counts.view(-1, 2).sum(1), torch.zeros(BINS // 2, dtype=torch.float64)])
            self.limit *= 2
        self.counts += torch.histc(magnitudes, BINS, 0.0, self.limit).double()

    def scale(self, target: IntegerFormat, clipping: Clipping) -> float:
        """The step that fits ``target``'s largest integer to the chosen clip: a float32 number above 0.

        Raises:
            CalibrationError: no value was seen that is not 0.
        """
        if self.limit == 0.0:
            raise CalibrationError(f"{self.name}: all activations of the calibration data are 0")
        clip = {"mse": self._least_error, "percentile": self._percentile, "maximum": self._maximum}[clipping.method]
        return float(torch.tensor(clip(target, clipping) / target.high, dtype=torch.float32))

    @property
    def _centers(self) -> Tensor:
        return (torch.arange(BINS, dtype=torch.float64) + 0.5) * (self.limit / BINS)

    def _maximum(self, target: IntegerFormat, clipping: Clipping) -> float:
        occupied = int(self.counts.nonzero().max()) + 1
        return occupied * self.limit / BINS

    def _percentile(self, target: IntegerFormat, clipping: Clipping) -> float:
        wanted = self.counts.sum() * clipping.percentile / 100
        return float((torch.searchsorted(self.counts.cumsum(0), wanted) + 1) * self.limit / BINS)

    def _least_error(self, target: IntegerFormat, clipping: Clipping) -> float:
        largest = self._maximum(target, clipping)
        clips = largest * SMALLEST_CLIP ** torch.linspace(0, 1, CANDIDATES, dtype=torch.float64)[:, None]
        steps, centers = clips / target.high, self._centers
        # A bin may be wider than a step, so that rounding counts by its mean square; exact zeros have no error.
        rounding = (steps**2 / 12).expand(-1, BINS)
        errors = torch.where(centers < clips, rounding, (centers - clips) ** 2)
        errors[:, 0] = 0.0
        return float(clips[int((errors * self.counts).sum(1).argmin())])


def calibrate(model: nn.Module, calibration: Iterable[Any], clipping: Clipping) -> dict[str, Scales]:
    """The scales of every tap's activations, by tap; arguments and errors as in :func:`quietbar.integer.export`."""
    found = taps(model)
    require(len(found) > 0, "export.model", type(model).__name__, "a model with taps: see quietbar.denoise.insert")
    require_batches("export.calibration", calibration)
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
            for inputs in inputs_of("export.calibration", calibration):
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
