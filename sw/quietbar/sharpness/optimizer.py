"""Sharpness-aware training as a wrapper over any optimizer."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Literal

import torch
from torch import Tensor, nn

from quietbar.contract.errors import QuietbarError, require, require_choice

from .formulas import asam_operators, global_norm, perturbation, sam_operators, samson_operators
from .passes import frozen_batch_norm_statistics, random_state, set_random_state

VARIANTS = ("sam", "asam", "samson")
NORMS = (2, math.inf)
SCALINGS = ("all", "weights")

SETTINGS = ("variant", "rho", "eta", "p", "scaling", "same_noise")


SAMSON_RHO = {2: 1.0, math.inf: 0.5}
"""By p. Chosen to move the weights of ResNet-20 about as far as ASAM does with rho 0.5."""


def default_rho(variant: str, p: float) -> float:
    """The radius used when none is given: the papers' for SAM and ASAM, ours for SAMSON (see ``docs/sharpness.md``)."""
    return SAMSON_RHO[p] if variant == "samson" else {"sam": 0.05, "asam": 0.5}[variant]


class SharpnessAware(torch.optim.Optimizer):
    """SAM, ASAM or SAMSON: climb to where the loss is worst nearby, take the gradient there, step from where you were.

    In torch's own form, with a closure that clears the gradients, computes the loss and its gradients, and returns it::

        optimizer = SharpnessAware(torch.optim.SGD(model.parameters(), lr=0.1), "samson", model=model)
        loss = optimizer.step(closure)                # calls it twice and returns the first loss

    or call by call::

        with optimizer.first_pass():                  # needed for same_noise only
            loss(model(inputs), labels).backward()
        optimizer.first_step()
        optimizer.zero_grad()
        with optimizer.second_pass():
            loss(model(inputs), labels).backward()
        optimizer.second_step()

    The base's groups and state are this optimizer's own, so schedulers may be built on either. ``rho`` may be changed
    at any time; with ``rho`` 0, ``step`` calls the closure once and does what the base does, bit for bit. A step whose
    gradients are not finite, in either pass, changes nothing and is counted.

    Attributes:
        base: the wrapped optimizer.
        skipped_steps: number of steps left out because gradients were not finite.
        is_perturbed: whether the weights are those between ``first_step`` and ``second_step``.
    """

    def __init__(
        self,
        base_optimizer: torch.optim.Optimizer,
        variant: Literal["sam", "asam", "samson"] = "sam",
        rho: float | None = None,
        eta: float = 0.01,
        p: float = 2,
        *,
        scaling: Literal["all", "weights"] = "all",
        model: nn.Module | None = None,
        exclude: str | Sequence[str] = (),
        same_noise: bool = False,
    ) -> None:
        """
        Args:
            base_optimizer: an instance; it makes the steps.
            variant: the perturbation; :mod:`quietbar.sharpness.formulas` has the equations.
            rho: radius of the neighborhood, in units of ``T_w``; by default 0.05 for SAM, 0.5 for ASAM, and for SAMSON
                1 (p = 2) or 0.5 (p infinite).
            eta: ASAM's constant, in units of the weights. The other two have none.
            p: SAMSON's norm of a layer, 2 or ``float("inf")``.
            scaling: which tensors are perturbed in proportion to ``T_w``: ``"all"``, or ``"weights"``, only those whose
                name holds ``weight`` and the others as by SAM (what ASAM's authors do). Needs names.
            model: what is trained. With it, batch-norm statistics are frozen in the second pass, the noise of its
                analog layers can be replayed, and parameters have names.
            exclude: shell patterns of the names of parameters that are never perturbed. Needs names.
            same_noise: whether the second pass meets the random numbers of the first (dropout, analog noise).

        Raises:
            ConfigurationError: an argument is outside what is allowed.
        """
        allowed = "an optimizer instance, e.g. torch.optim.SGD(model.parameters(), lr=0.1)"
        require(isinstance(base_optimizer, torch.optim.Optimizer), "sharpness.base_optimizer", base_optimizer, allowed)
        refused = isinstance(base_optimizer, (SharpnessAware, torch.optim.LBFGS))
        name = type(base_optimizer).__name__
        require(not refused, "sharpness.base_optimizer", name, "one that steps without a closure")
        require(model is None or isinstance(model, nn.Module), "sharpness.model", model, "a torch.nn.Module or None")
        self.base, self.model = base_optimizer, model
        # The state of an Optimizer without a second copy of groups and state: those are the base's (see below).
        self.__setstate__({})
        self.exclude = (exclude,) if isinstance(exclude, str) else tuple(exclude)
        self.skipped_steps = 0
        self._skips = False
        self._originals: tuple[list[Tensor], list[Tensor]] | None = None
        self._first_random_state: dict[str, Any] | None = None
        self._configure(variant, rho, eta, p, scaling, same_noise)

    def _configure(self, variant: str, rho: float | None, eta: float, p: float, scaling: str, same_noise: bool) -> None:
        require_choice("sharpness.variant", variant, VARIANTS)
        require_choice("sharpness.p", p, NORMS)
        require_choice("sharpness.scaling", scaling, SCALINGS)
        require_choice("sharpness.same_noise", same_noise, (True, False))
        self._check_names(scaling)
        self.rho = default_rho(variant, p) if rho is None else rho
        self.eta = eta
        self.variant, self.p, self.scaling, self.same_noise = variant, p, scaling, same_noise

    @property
    def rho(self) -> float:
        """Radius of the neighborhood, in units of ``T_w``."""
        return self._rho

    @rho.setter
    def rho(self, value: float) -> None:
        _require_number("rho", value)
        self._rho = float(value)

    @property
    def eta(self) -> float:
        """ASAM's constant, in units of the weights."""
        return self._eta

    @eta.setter
    def eta(self, value: float) -> None:
        _require_number("eta", value)
        self._eta = float(value)

    @property
    def is_perturbed(self) -> bool:
        """Whether the weights are those between ``first_step`` and ``second_step``."""
        return self._originals is not None

    # What torch looks for in an optimizer is the base's.

    @property
    def param_groups(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The base's parameter groups."""
        return self.base.param_groups

    @property
    def state(self) -> Any:  # type: ignore[override]
        """The base's state."""
        return self.base.state

    @property
    def defaults(self) -> dict[str, Any]:  # type: ignore[override]
        """The base's defaults."""
        return self.base.defaults

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.base.zero_grad(set_to_none)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        self.base.add_param_group(param_group)

    def __getstate__(self) -> dict[str, Any]:
        # Neither hooks nor a scheduler's patched step can be copied or pickled; torch leaves them out, too.
        return {k: v for k, v in self.__dict__.items() if k != "step" and not k.startswith("_optimizer_")}

    # The two passes.

    @contextlib.contextmanager
    def first_pass(self) -> Iterator[None]:
        """Around the first forward and backward pass: remembers the random numbers when ``same_noise`` is set."""
        if self.same_noise:
            self._first_random_state = random_state(self.model)
        yield

    @contextlib.contextmanager
    def second_pass(self) -> Iterator[None]:
        """Around the second one: batch-norm statistics are frozen; with ``same_noise`` the noise is the first pass's.

        Raises:
            QuietbarError: ``same_noise`` is set, but there was no :meth:`first_pass` to take the noise from.
        """
        if self.same_noise:
            if self._first_random_state is None:
                raise QuietbarError(
                    "same_noise: run the first pass of every step inside `with optimizer.first_pass():`"
                )
            set_random_state(self._first_random_state, self.model)
            self._first_random_state = None
        with frozen_batch_norm_statistics(self.model) if self.model is not None else contextlib.nullcontext():
            yield

    @torch.no_grad()
    def first_step(self) -> None:
        """From the gradients of the weights, move the weights to where the loss is worst nearby.

        Nothing moves when ``rho`` is 0, or when the gradients are not finite (the step is then skipped as a whole).

        Raises:
            QuietbarError: the step before was not finished by :meth:`second_step`.
        """
        if self.is_perturbed:
            raise QuietbarError("first_step was called twice: finish the step with second_step or restore")
        weights, operators = self._operators()
        gradients = [_dense_gradient(weight) for weight in weights]
        self._skips = not math.isfinite(global_norm(self._gradients(), math.inf))
        offsets: list[Tensor] | None = None
        if not self._skips and self.rho > 0 and weights:
            offsets = perturbation(gradients, operators, self.rho)
            self._skips = offsets is None
        moved = weights if offsets else []
        self._originals = moved, [weight.clone() for weight in moved]
        if offsets:
            torch._foreach_add_(moved, offsets)

    @torch.no_grad()
    def restore(self) -> None:
        """Put the weights back to what they were before :meth:`first_step`, bit for bit; the gradients stay.

        Only needed where something else steps the base, as a gradient scaler does: ``scaler.step(optimizer.base)``.
        """
        if self._originals is None:
            return
        weights, originals = self._originals
        self._originals = None
        if weights:
            torch._foreach_copy_(weights, originals)

    @torch.no_grad()
    def second_step(self) -> None:
        """Restore the weights and step the base with the gradients of the perturbed ones.

        Raises:
            QuietbarError: there was no :meth:`first_step`.
        """
        if not self.is_perturbed:
            raise QuietbarError("second_step was called without first_step")
        self.restore()
        # Schedulers look here for whether an optimizer has stepped.
        self._opt_called = True
        if self._skips or not math.isfinite(global_norm(self._gradients(), math.inf)):
            self.skipped_steps += 1
            self._skips = False
        else:
            self.base.step()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One whole step.

        Args:
            closure: clears the gradients, computes the loss and its gradients, and returns the loss. Called twice; once
                when ``rho`` is 0 or the first gradients are not finite. Gradient clipping belongs in it.

        Returns:
            The loss of the first call, at the weights from which the step is made.
        """
        if closure is None:
            raise QuietbarError(
                "SharpnessAware.step needs a closure (it computes loss and gradients twice); "
                "without one call first_step() and second_step()"
            )
        with torch.enable_grad(), self.first_pass():
            loss = closure()
        self.first_step()
        try:
            if not self._skips and self.rho > 0:
                with torch.enable_grad(), self.second_pass():
                    closure()
        except BaseException:
            self.restore()
            raise
        self.second_step()
        return loss

    # Saving and loading.

    def state_dict(self) -> dict[str, Any]:
        """The base's state, and under ``"sharpness"`` this optimizer's settings and count of skipped steps.

        Raises:
            QuietbarError: called between first_step and second_step, when the model's weights are not the real ones.
        """
        if self.is_perturbed:
            raise QuietbarError("state_dict was called between first_step and second_step: the weights are perturbed")
        settings = {name: getattr(self, name) for name in SETTINGS}
        return {**self.base.state_dict(), "sharpness": {**settings, "skipped_steps": self.skipped_steps}}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """The inverse of :meth:`state_dict`. The state of a bare base optimizer is taken too; settings then stay."""
        self.restore()
        own = dict(state_dict.get("sharpness", {}))
        fields = (*SETTINGS, "skipped_steps")
        require(not own or sorted(own) == sorted(fields), "sharpness.state_dict", sorted(own), f"{', '.join(fields)}")
        self.base.load_state_dict({name: value for name, value in state_dict.items() if name != "sharpness"})
        if own:
            self.skipped_steps = own.pop("skipped_steps")
            self._configure(**own)

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={getattr(self, name)!r}" for name in SETTINGS)
        return f"SharpnessAware({settings}, base={self.base!r})"

    # Which tensors are perturbed, and how.

    def _gradients(self) -> list[Tensor]:
        return [
            _dense_gradient(each) for group in self.param_groups for each in group["params"] if each.grad is not None
        ]

    def _names(self) -> dict[int, str]:
        """Names of the parameters by identity: the model's, or those that the base was given."""
        names = {}
        for group in self.param_groups:
            names.update(
                {id(each): name for each, name in zip(group["params"], group.get("param_names", ()), strict=False)}
            )
        if self.model is not None:
            names.update({id(each): name for name, each in self.model.named_parameters()})
        return names

    def _check_names(self, scaling: str) -> None:
        names = self._names()
        for pattern in self.exclude:
            allowed = "a pattern that fits a parameter's name" + ("" if names else ", and a model given as model=")
            fits = any(fnmatchcase(name, pattern) for name in names.values())
            require(fits, "sharpness.exclude", pattern, allowed)
        if scaling == "weights":
            known = all(id(each) in names for group in self.param_groups for each in group["params"])
            require(known, "sharpness.scaling", scaling, "'all', or with every parameter's name: give model=")

    def _operators(self) -> tuple[list[Tensor], list[Tensor]]:
        """The parameters that are perturbed and the ``T_w`` of each."""
        names = self._names() if self.exclude or self.scaling == "weights" else {}
        scaled: list[Tensor] = []
        plain: list[Tensor] = []
        for group in self.param_groups:
            for weight in group["params"]:
                name = names.get(id(weight), "")
                if weight.grad is None or any(fnmatchcase(name, pattern) for pattern in self.exclude):
                    continue
                is_plain = self.variant == "sam" or (self.scaling == "weights" and "weight" not in name)
                (plain if is_plain else scaled).append(weight)
        operators = asam_operators(scaled, self.eta) if self.variant == "asam" else samson_operators(scaled, self.p)
        return [*scaled, *plain], [*operators, *sam_operators(plain)]


def _dense_gradient(weight: Tensor) -> Tensor:
    assert weight.grad is not None
    if weight.grad.is_sparse:
        raise QuietbarError(f"a parameter of shape {tuple(weight.shape)} has sparse gradients: use dense ones")
    return weight.grad


def _require_number(name: str, value: Any) -> None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    allowed = "a finite number of at least 0"
    require(is_number and math.isfinite(value) and value >= 0, f"sharpness.{name}", value, allowed)
