"""What every method of noise-tolerant training shares: a wrapper over an optimizer, with one calling form for all."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from quietbar.contract.errors import QuietbarError, require, require_integer

from .formulas import all_finite

COUNTERS = ("skipped_steps", "steps", "passes")


class OptimizerWrapper(torch.optim.Optimizer):
    """An optimizer around another one, called in torch's own form with a closure, or call by call.

    The closure clears the gradients, computes the loss and its gradients, and returns the loss::

        loss = optimizer.step(closure)

    Call by call, the same for all methods (those that need one pass leave the middle out)::

        with optimizer.first_pass():
            loss(model(inputs), labels).backward()
        optimizer.first_step()
        if optimizer.needs_second_pass:
            optimizer.zero_grad()
            with optimizer.second_pass():
                loss(model(inputs), labels).backward()
        optimizer.second_step()                       # or scaler.step(optimizer), then scaler.update()

    The base's groups and state are this optimizer's own, so schedulers may be built on either. A step whose gradients
    are not finite changes nothing and is counted. A ``torch.amp.GradScaler`` is used as with any optimizer; in the form
    with a closure, which scales the loss, it is given to ``step``.

    A base may be a wrapper itself, of a method that needs one pass: every pass is then one of the base's, too, and the
    step is made by the base's rule, e.g. with clipping after it.

    Attributes:
        base: the wrapped optimizer.
        model: what is trained, or None.
        steps: number of steps, those left out included.
        skipped_steps: number of steps left out because gradients were not finite.
        passes: number of gradient evaluations that ``step`` made with its closures; calls by hand are not counted.
    """

    SETTINGS: ClassVar[tuple[str, ...]] = ()
    """Attributes that ``state_dict`` keeps."""

    PASSES: ClassVar[int] = 1
    """Gradient evaluations that a step may need; only one can be had within another wrapper's step."""

    # A gradient scaler then always calls step, which puts perturbed weights back even where the step is left out.
    _step_supports_amp_scaling = True

    def __init__(self, base_optimizer: torch.optim.Optimizer, model: nn.Module | None, exclude: str | Sequence[str]):
        allowed = "an optimizer instance, e.g. torch.optim.SGD(model.parameters(), lr=0.1)"
        require(isinstance(base_optimizer, torch.optim.Optimizer), "sharpness.base_optimizer", base_optimizer, allowed)
        needs_closure = isinstance(base_optimizer, torch.optim.LBFGS) or getattr(base_optimizer, "PASSES", 1) > 1
        name = type(base_optimizer).__name__
        allowed = "one that steps without a closure; sharpness-aware ones go around the others"
        require(not needs_closure, "sharpness.base_optimizer", name, allowed)
        require(model is None or isinstance(model, nn.Module), "sharpness.model", model, "a torch.nn.Module or None")
        self.base, self.model = base_optimizer, model
        # The state of an Optimizer without a second copy of groups and state: those are the base's (see below).
        self.__setstate__({})
        patterns = (exclude,) if isinstance(exclude, str) else exclude
        are_texts = isinstance(patterns, Sequence) and all(isinstance(each, str) for each in patterns)
        require(are_texts, "sharpness.exclude", exclude, "a pattern or a list of patterns of parameters' names")
        self.exclude = tuple(patterns)
        self.steps = self.skipped_steps = self.passes = 0
        self._skips = False
        names = self._names()
        for pattern in self.exclude:
            allowed = "a pattern that fits a parameter's name" + ("" if names else ", and a model given as model=")
            fits = any(fnmatchcase(each, pattern) for each in names.values())
            require(fits, "sharpness.exclude", pattern, allowed)

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

    # The passes. Here those of a method that needs one and changes nothing in it but what its base changes.

    @property
    def needs_second_pass(self) -> bool:
        """Whether the step under way, after ``first_step``, needs gradients at the weights as they are now."""
        return False

    @contextlib.contextmanager
    def first_pass(self) -> Iterator[None]:
        """Around the first forward and backward pass."""
        with self.base.first_pass() if isinstance(self.base, OptimizerWrapper) else contextlib.nullcontext():
            yield

    @contextlib.contextmanager
    def second_pass(self) -> Iterator[None]:
        """Around the second forward and backward pass; to the base it is the first, again."""
        with self.base.first_pass() if isinstance(self.base, OptimizerWrapper) else contextlib.nullcontext():
            yield

    def first_step(self) -> None:
        """Between the passes."""

    def restore(self) -> None:
        """Put the weights back to what they were before the step, bit for bit; the gradients stay."""

    def after_step(self) -> None:
        """What follows the base's step."""

    @torch.no_grad()
    def second_step(self) -> None:
        """Restore the weights and step the base with the gradients at hand, if they are finite."""
        self.restore()
        # Schedulers look here for whether an optimizer has stepped.
        self._opt_called = True
        gradients = self._gradients()
        # A gradient scaler sets these two around its call of step.
        scale, found_inf = getattr(self, "grad_scale", None), getattr(self, "found_inf", None)
        overflows = found_inf is not None and float(found_inf) > 0
        if self._skips or overflows or not all_finite(gradients):
            self.skipped_steps += 1
        else:
            if scale is not None:
                torch._foreach_mul_(gradients, 1.0 / float(scale))
            self.base.step()
            self.after_step()
        self._skips = False
        self.steps += 1

    def step(self, closure: Callable[[], Any] | None = None, scaler: torch.amp.GradScaler | None = None) -> Any:
        """One whole step with a closure; without one, :meth:`second_step` (for gradient scalers).

        Args:
            closure: clears the gradients, computes the loss and its gradients, and returns the loss. Called once for
                each pass. Gradient clipping belongs in it.
            scaler: a gradient scaler with which the closure scales the loss; its ``update`` is left to the caller.

        Returns:
            The loss of the first call.
        """
        if closure is None:
            self.second_step()
            return None
        with torch.enable_grad(), self.first_pass():
            loss = closure()
        self.passes += 1
        self.first_step()
        try:
            if self.needs_second_pass:
                with torch.enable_grad(), self.second_pass():
                    closure()
                self.passes += 1
        except BaseException:
            self.restore()
            raise
        if scaler is None:
            self.second_step()
        else:
            scaler.step(self)
        return loss

    # Saving and loading.

    def configure(self, **settings: Any) -> None:
        """Check and take the values of ``SETTINGS``."""

    def state_dict(self) -> dict[str, Any]:
        """The base's state, and under ``"sharpness"`` this optimizer's settings and counts.

        Those of a base that is a wrapper are in there as ``"base"``.
        """
        own = {name: getattr(self, name) for name in (*self.SETTINGS, *COUNTERS)}
        state = self.base.state_dict()
        if isinstance(self.base, OptimizerWrapper):
            own["base"] = state["sharpness"]
        return {**state, "sharpness": own}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """The inverse of :meth:`state_dict`. The state of a bare base optimizer is taken too; settings then stay."""
        self.restore()
        own = dict(state_dict.get("sharpness", {}))
        fields = (*self.SETTINGS, *COUNTERS, *(("base",) if isinstance(self.base, OptimizerWrapper) else ()))
        require(not own or sorted(own) == sorted(fields), "sharpness.state_dict", sorted(own), f"{', '.join(fields)}")
        rest = {name: value for name, value in state_dict.items() if name != "sharpness"}
        self.base.load_state_dict({**rest, "sharpness": own.pop("base")} if "base" in own else rest)
        if own:
            for counter in COUNTERS:
                require_integer(f"sharpness.state_dict.{counter}", own[counter], 0, 1 << 62)
                setattr(self, counter, own.pop(counter))
            self.configure(**own)

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.SETTINGS)
        return f"{type(self).__name__}({settings}{', ' if settings else ''}base={self.base!r})"

    # Parameters and their names.

    def _gradients(self, excluding: Sequence[Tensor] = ()) -> list[Tensor]:
        left_out = {id(each) for each in excluding}
        weights = (each for group in self.param_groups for each in group["params"] if id(each) not in left_out)
        return [dense_gradient(each) for each in weights if each.grad is not None]

    def _names(self) -> dict[int, str]:
        """Names of the parameters by identity: the model's, or those that the base was given."""
        names = {}
        for group in self.param_groups:
            names.update(
                {id(each): name for each, name in zip(group["params"], group.get("param_names", ()), strict=False)}
            )
        if self.model is not None:
            model = self.model.module if isinstance(self.model, DistributedDataParallel) else self.model
            names.update({id(each): name for name, each in model.named_parameters()})
        return names

    def _included(self) -> list[Tensor]:
        """The parameters that ``exclude`` does not name."""
        names = self._names() if self.exclude else {}
        return [
            weight
            for group in self.param_groups
            for weight in group["params"]
            if not any(fnmatchcase(names.get(id(weight), ""), pattern) for pattern in self.exclude)
        ]


def dense_gradient(weight: Tensor) -> Tensor:
    """The gradient of ``weight``; sparse ones are refused."""
    assert weight.grad is not None
    if weight.grad.is_sparse:
        raise QuietbarError(f"a parameter of shape {tuple(weight.shape)} has sparse gradients: use dense ones")
    return weight.grad


def require_number(name: str, value: Any) -> float:
    """``value`` as a float, refused unless it is a finite number of at least 0."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    allowed = "a finite number of at least 0"
    require(is_number and math.isfinite(value) and value >= 0, f"sharpness.{name}", value, allowed)
    return float(value)
