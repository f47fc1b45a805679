"""What sharpness-aware training is compared with, in the same calling form: plain, noise injection, weight clipping."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from quietbar.contract.errors import QuietbarError, require, require_choice
from quietbar.contract.seeds import check_seed, derive_seed

from .formulas import clipping_bounds, conductance_noise
from .optimizer import SharpnessAware
from .wrapper import OptimizerWrapper, require_number

UNITS = ("std", "absolute")


class Plain(OptimizerWrapper):
    """The base optimizer and nothing else; only steps with gradients that are not finite are left out and counted."""

    def __init__(self, base_optimizer: torch.optim.Optimizer, *, model: nn.Module | None = None) -> None:
        """
        Args:
            base_optimizer: an instance; it makes the steps.
            model: what is trained; taken for the sake of the common form.
        """
        super().__init__(base_optimizer, model, ())


class NoiseInjection(OptimizerWrapper):
    """Gradients at noisy weights, steps from the clean ones: training on a chip that differs at every step.

    Inside :meth:`first_pass` every tensor of at least two dimensions (what a crossbar holds) has ``sigma`` times its
    largest magnitude times a standard normal number added to each weight. A step costs one pass.

    The noise of a step is fixed by ``seed`` and the number of the step, so that resumed training meets the same.
    """

    SETTINGS: ClassVar[tuple[str, ...]] = ("sigma", "seed")

    def __init__(
        self,
        base_optimizer: torch.optim.Optimizer,
        sigma: float = 0.05,
        *,
        model: nn.Module | None = None,
        exclude: str | Sequence[str] = (),
        seed: int = 0,
    ) -> None:
        """
        Args:
            base_optimizer: an instance; it makes the steps.
            sigma: deviation of the noise, in units of the layer's largest weight.
            model: what is trained; gives parameters their names.
            exclude: shell patterns of the names of parameters that are never noisy. Needs names.
            seed: of the noise. Workers with different seeds average over different noise.

        Raises:
            ConfigurationError: an argument is outside what is allowed.
        """
        super().__init__(base_optimizer, model, exclude)
        self._originals: tuple[list[Tensor], list[Tensor]] | None = None
        self._is_ready = False
        self.configure(sigma, seed)

    def configure(self, sigma: float, seed: int) -> None:  # type: ignore[override]
        """Check and take the settings; the arguments are the constructor's."""
        check_seed(seed, "sharpness.seed")
        self.sigma, self.seed = require_number("sigma", sigma), seed

    @contextlib.contextmanager
    def first_pass(self) -> Iterator[None]:
        """Around the forward and backward pass: the weights are noisy inside, and the same as before afterwards."""
        with torch.no_grad():
            weights = [weight for weight in self._included() if weight.dim() >= 2] if self.sigma > 0 else []
            self._originals = weights, [weight.clone() for weight in weights]
            for device in dict.fromkeys(weight.device for weight in weights):
                generator = torch.Generator(device)
                generator.manual_seed(derive_seed(self.seed, "noise injection", self.steps))
                here = [weight for weight in weights if weight.device == device]
                torch._foreach_add_(here, conductance_noise(here, self.sigma, generator))
        try:
            with super().first_pass():
                yield
        finally:
            self.restore()
        self._is_ready = True

    @torch.no_grad()
    def restore(self) -> None:
        """Take the noise off the weights, bit for bit; the gradients stay."""
        if self._originals is None:
            return
        weights, originals = self._originals
        self._originals = None
        if weights:
            torch._foreach_copy_(weights, originals)

    def second_step(self) -> None:
        """Step the base with the gradients of the noisy weights.

        Raises:
            QuietbarError: the pass was not inside :meth:`first_pass`.
        """
        if not self._is_ready:
            raise QuietbarError("noise injection: run the pass of every step inside `with optimizer.first_pass():`")
        self._is_ready = False
        super().second_step()


class WeightClipping(OptimizerWrapper):
    """Plain steps, after which no weight is larger than a limit: no outlier then stretches the conductances' range.

    Clips every tensor of at least two dimensions (what a crossbar holds) symmetrically about 0.
    """

    SETTINGS: ClassVar[tuple[str, ...]] = ("limit", "unit")

    def __init__(
        self,
        base_optimizer: torch.optim.Optimizer,
        limit: float = 2.5,
        *,
        unit: Literal["std", "absolute"] = "std",
        model: nn.Module | None = None,
        exclude: str | Sequence[str] = (),
    ) -> None:
        """
        Args:
            base_optimizer: an instance; it makes the steps.
            limit: the largest magnitude, above 0.
            unit: of ``limit``: the standard deviation of the tensor's weights, or the weights' own.
            model: what is trained; gives parameters their names.
            exclude: shell patterns of the names of parameters that are never clipped. Needs names.

        Raises:
            ConfigurationError: an argument is outside what is allowed.
        """
        super().__init__(base_optimizer, model, exclude)
        self.configure(limit, unit)

    def configure(self, limit: float, unit: str) -> None:  # type: ignore[override]
        """Check and take the settings; the arguments are the constructor's."""
        require_choice("sharpness.unit", unit, UNITS)
        self.limit, self.unit = require_number("limit", limit), unit
        require(self.limit > 0, "sharpness.limit", limit, "above 0")

    @torch.no_grad()
    def after_step(self) -> None:
        """Clip."""
        weights = [weight for weight in self._included() if weight.dim() >= 2]
        for weight, bound in zip(weights, clipping_bounds(weights, self.limit, self.unit), strict=True):
            weight.clamp_(-bound, bound)


METHODS = ("plain", "sam", "asam", "samson", "layer", "noise", "clipping")

STRENGTHS = {**dict.fromkeys(("sam", "asam", "samson", "layer"), "rho"), "noise": "sigma", "clipping": "limit"}
"""The argument that is a method's strength; plain training has none."""


def method(
    name: str,
    base_optimizer: torch.optim.Optimizer,
    strength: float | None = None,
    *,
    clipping: float | None = None,
    **options: Any,
) -> OptimizerWrapper:
    """The optimizer of a method by its name.

    Args:
        name: one of ``METHODS``.
        base_optimizer: an instance; it makes the steps.
        strength: ``rho``, ``sigma`` or ``limit``, whichever the method has; left out, its default.
        clipping: a limit for :class:`WeightClipping` of every step the base makes, together with the method (any but
            ``"clipping"`` itself); it leaves out what ``exclude`` does.
        options: the method's other arguments, e.g. ``model``.

    Raises:
        ConfigurationError: an argument is outside what is allowed.
    """
    require_choice("method", name, METHODS)
    kind = {"plain": Plain, "noise": NoiseInjection, "clipping": WeightClipping}.get(name, SharpnessAware)
    known = list(inspect.signature(kind).parameters)
    for option, value in options.items():
        require(option in known, f"method.{option}", value, f"absent: {name} knows {', '.join(known)}")
    if clipping is not None:
        require(name != "clipping", "sharpness.clipping", clipping, "left out: its limit is the strength")
        shared = {option: options[option] for option in ("model", "exclude") if option in options}
        base_optimizer = WeightClipping(base_optimizer, clipping, **shared)
    if name == "plain":
        require(strength is None, "method.strength", strength, "left out: plain training has none")
        return Plain(base_optimizer, **options)
    if strength is not None:
        options[STRENGTHS[name]] = strength
    if name == "noise":
        return NoiseInjection(base_optimizer, **options)
    if name == "clipping":
        return WeightClipping(base_optimizer, **options)
    return SharpnessAware(base_optimizer, name, **options)  # type: ignore[arg-type]
