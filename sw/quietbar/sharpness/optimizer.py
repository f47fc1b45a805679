"""Sharpness-aware training as a wrapper over any optimizer."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from quietbar.contract.errors import QuietbarError, require, require_choice, require_integer

from .formulas import (
    Tensors,
    all_finite,
    asam_operators,
    layer_operators,
    perturbation,
    sam_operators,
    samson_operators,
)
from .passes import frozen_batch_norm_statistics, random_state, set_random_state
from .wrapper import OptimizerWrapper, dense_gradient, require_number

VARIANTS = ("sam", "asam", "samson", "layer")
NORMS = (2, math.inf)
SCALINGS = ("all", "weights")
WORKERS = ("together", "alone")


DEFAULT_RHO = {
    "sam": {2: 0.05, math.inf: 0.05},
    "asam": {2: 0.5, math.inf: 0.5},
    "samson": {2: 1.0, math.inf: 0.5},
    "layer": {2: 0.02, math.inf: 0.1},
}
"""By variant and p: the papers' for SAM and ASAM; for the others, ours (``docs/sharpness.md``)."""


def default_rho(variant: str, p: float) -> float:
    """The radius used when none is given."""
    return DEFAULT_RHO[variant][p]


class SharpnessAware(OptimizerWrapper):
    """SAM and its kin: climb to where the loss is worst nearby, take the gradient there, step from where you were.

    In torch's own form, with a closure that clears the gradients, computes the loss and its gradients, and returns it::

        optimizer = SharpnessAware(torch.optim.SGD(model.parameters(), lr=0.1), "samson", model=model)
        loss = optimizer.step(closure)                # calls it twice and returns the first loss

    or call by call::

        with optimizer.first_pass():                  # needed for same_noise and for workers that climb alone
            loss(model(inputs), labels).backward()
        optimizer.first_step()
        optimizer.zero_grad()
        with optimizer.second_pass():
            loss(model(inputs), labels).backward()
        optimizer.second_step()                       # or scaler.step(optimizer)

    The base's groups and state are this optimizer's own, so schedulers may be built on either. ``rho`` may be changed
    at any time; with ``rho`` 0, ``step`` calls the closure once and does what the base does, bit for bit. A step whose
    gradients are not finite, in either pass, changes nothing and is counted.

    Under ``DistributedDataParallel`` (given as ``model``) the workers climb ``"together"``, from the mean of their
    gradients, or each ``"alone"`` from its own, and average the gradients they find there: the m-sharpness of Foret et
    al., m being a worker's share of the batch. Either way all make the same step. ``"alone"`` saves one of the two
    reductions.

    Attributes:
        base: the wrapped optimizer.
        steps: number of steps, those left out included.
        skipped_steps: number of steps left out because gradients were not finite.
        is_perturbed: whether the weights are those between ``first_step`` and ``second_step``.
    """

    SETTINGS: ClassVar[tuple[str, ...]] = ("variant", "rho", "eta", "p", "scaling", "same_noise", "every")
    PASSES: ClassVar[int] = 2

    def __init__(
        self,
        base_optimizer: torch.optim.Optimizer,
        variant: Literal["sam", "asam", "samson", "layer"] = "sam",
        rho: float | None = None,
        eta: float = 0.01,
        p: float = 2,
        *,
        scaling: Literal["all", "weights"] = "all",
        model: nn.Module | None = None,
        exclude: str | Sequence[str] = (),
        same_noise: bool = False,
        every: int = 1,
        workers: Literal["together", "alone"] = "together",
    ) -> None:
        """
        Args:
            base_optimizer: an instance; it makes the steps.
            variant: the perturbation; :mod:`quietbar.sharpness.formulas` has the equations.
            rho: radius of the neighborhood, in units of ``T_w``; by default that of ``DEFAULT_RHO``.
            eta: ASAM's constant, in units of the weights. The others have none.
            p: the norm of a layer in SAMSON and ``"layer"``, 2 or ``float("inf")``.
            scaling: which tensors are perturbed in proportion to ``T_w``: ``"all"``, or ``"weights"``, only those whose
                name holds ``weight`` and the others as by SAM (what ASAM's authors do). Needs names.
            model: what is trained. With it, batch-norm statistics are frozen in the second pass, the noise of its
                analog layers can be replayed, and parameters have names.
            exclude: shell patterns of the names of parameters that are never perturbed. Needs names.
            same_noise: whether the second pass meets the random numbers of the first (dropout, analog noise).
            every: climb at every so many steps, the first among them; the others are the base's and cost one pass.
            workers: how several processes climb; ``"alone"`` needs a ``DistributedDataParallel`` as ``model``.

        Raises:
            ConfigurationError: an argument is outside what is allowed.
        """
        super().__init__(base_optimizer, model, exclude)
        self._originals: tuple[list[Tensor], list[Tensor]] | None = None
        self._first_random_state: dict[str, Any] | None = None
        self._is_alone = False
        require_choice("sharpness.workers", workers, WORKERS)
        distributed = isinstance(model, DistributedDataParallel)
        allowed = "'together', or with a torch.nn.parallel.DistributedDataParallel: give it as model="
        require(workers == "together" or distributed, "sharpness.workers", workers, allowed)
        self.workers = workers
        self.configure(variant, rho, eta, p, scaling, same_noise, every)

    def configure(  # type: ignore[override]
        self, variant: str, rho: float | None, eta: float, p: float, scaling: str, same_noise: bool, every: int
    ) -> None:
        """Check and take the settings; the arguments are the constructor's."""
        require_choice("sharpness.variant", variant, VARIANTS)
        require_choice("sharpness.p", p, NORMS)
        require_choice("sharpness.scaling", scaling, SCALINGS)
        require_choice("sharpness.same_noise", same_noise, (True, False))
        require_integer("sharpness.every", every, 1, 1 << 31)
        if scaling == "weights":
            names = self._names()
            known = all(id(each) in names for group in self.param_groups for each in group["params"])
            require(known, "sharpness.scaling", scaling, "'all', or with every parameter's name: give model=")
        self.rho = default_rho(variant, p) if rho is None else rho
        self.eta = eta
        self.variant, self.p, self.scaling = variant, p, scaling
        self.same_noise, self.every = same_noise, every

    @property
    def rho(self) -> float:
        """Radius of the neighborhood, in units of ``T_w``."""
        return self._rho

    @rho.setter
    def rho(self, value: float) -> None:
        self._rho = require_number("rho", value)

    @property
    def eta(self) -> float:
        """ASAM's constant, in units of the weights."""
        return self._eta

    @eta.setter
    def eta(self, value: float) -> None:
        self._eta = require_number("eta", value)

    @property
    def is_perturbed(self) -> bool:
        """Whether the weights are those between ``first_step`` and ``second_step``."""
        return self._originals is not None

    @property
    def climbs(self) -> bool:
        """Whether the step that comes, or is under way, climbs: ``rho`` is not 0 and it is one of ``every``."""
        return self.rho > 0 and self.steps % self.every == 0

    @property
    def needs_second_pass(self) -> bool:
        """Whether the step under way, after ``first_step``, needs gradients at the weights as they are now."""
        return self.climbs and self.is_perturbed and not self._skips

    # The two passes.

    @contextlib.contextmanager
    def first_pass(self) -> Iterator[None]:
        """Around the first forward and backward pass: remembers the random numbers where ``same_noise`` is set, and
        keeps gradients to the worker where workers climb alone.
        """
        if self.same_noise:
            self._first_random_state = random_state(self.model)
        self._is_alone = self.workers == "alone" and self.climbs
        with super().first_pass():
            if self._is_alone:
                assert isinstance(self.model, DistributedDataParallel)
                with self.model.no_sync():
                    yield
            else:
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
        frozen = frozen_batch_norm_statistics(self.model) if self.model is not None else contextlib.nullcontext()
        with super().second_pass(), frozen:
            yield
        if self._skips:
            self._spoil_gradients()

    @torch.no_grad()
    def first_step(self) -> None:
        """From the gradients of the weights, move the weights to where the loss is worst nearby.

        Nothing moves when the step does not climb, or when the gradients are not finite (the step is then skipped as a
        whole, on all workers).

        Raises:
            QuietbarError: the step before was not finished by :meth:`second_step`, or workers climb alone and the first
                pass was not inside :meth:`first_pass`.
        """
        if self.is_perturbed:
            raise QuietbarError("first_step was called twice: finish the step with second_step or restore")
        if self.workers == "alone" and self.climbs and not self._is_alone:
            raise QuietbarError("workers alone: run the first pass of every step inside `with optimizer.first_pass():`")
        weights: list[Tensor] = []
        offsets: list[Tensor] | None = None
        if self.climbs:  # where not, second_step looks at these gradients
            weights, operators = self._operators()
            offsets = perturbation([dense_gradient(weight) for weight in weights], operators, self.rho)
            self._skips = offsets is None or not all_finite(self._gradients(excluding=weights))
        if self._is_alone:
            self._skips = self._any_worker(self._skips)
            self._is_alone = False
        if self._skips:
            self._spoil_gradients()
        if self._skips or not offsets:
            self._originals = [], []
        else:
            self._originals = weights, [weight.clone() for weight in weights]
            torch._foreach_add_(weights, offsets)

    @torch.no_grad()
    def restore(self) -> None:
        """Put the weights back to what they were before :meth:`first_step`, bit for bit; the gradients stay."""
        if self._originals is None:
            return
        weights, originals = self._originals
        self._originals = None
        if weights:
            torch._foreach_copy_(weights, originals)

    def second_step(self) -> None:
        """Restore the weights and step the base with the gradients of the perturbed ones.

        Raises:
            QuietbarError: there was no :meth:`first_step`.
        """
        if not self.is_perturbed:
            raise QuietbarError("second_step was called without first_step")
        super().second_step()

    def step(self, closure: Callable[[], Any] | None = None, scaler: torch.amp.GradScaler | None = None) -> Any:
        """One whole step with a closure; without one, the end of a step whose passes are done (for gradient scalers).

        Args:
            closure: clears the gradients, computes the loss and its gradients, and returns the loss. Called twice; once
                when the step does not climb or the first gradients are not finite. Gradient clipping belongs in it.
            scaler: a ``torch.amp.GradScaler`` with which the closure scales the loss; ``scaler.update()`` is left to
                the caller.

        Returns:
            The loss of the first call, at the weights from which the step is made.
        """
        if closure is None and not self.is_perturbed:
            raise QuietbarError(
                "SharpnessAware.step needs a closure (it computes loss and gradients twice); "
                "without one call first_step() and second_step()"
            )
        return super().step(closure, scaler)

    def state_dict(self) -> dict[str, Any]:
        """The base's state, and under ``"sharpness"`` this optimizer's settings and counts.

        Raises:
            QuietbarError: called between first_step and second_step, when the model's weights are not the real ones.
        """
        if self.is_perturbed:
            raise QuietbarError("state_dict was called between first_step and second_step: the weights are perturbed")
        return super().state_dict()

    # Which tensors are perturbed, and how.

    def _operators(self) -> tuple[list[Tensor], list[Tensor]]:
        """The parameters that are perturbed and the ``T_w`` of each."""
        names = self._names() if self.scaling == "weights" else {}
        scaled: list[Tensor] = []
        plain: list[Tensor] = []
        for weight in self._included():
            if weight.grad is None:
                continue
            is_plain = self.variant == "sam" or (self.scaling == "weights" and "weight" not in names[id(weight)])
            (plain if is_plain else scaled).append(weight)
        return [*scaled, *plain], [*self._scale(scaled), *sam_operators(plain)]

    def _scale(self, weights: Tensors) -> list[Tensor]:
        """The ``T_w`` of the variants that have one."""
        if self.variant == "asam":
            return asam_operators(weights, self.eta)
        if self.variant == "layer":
            return layer_operators(weights, self.p)
        return samson_operators(weights, self.p)

    def _spoil_gradients(self) -> None:
        """Make a gradient NaN, so that a gradient scaler learns of an overflow that only the first pass, or only
        another worker, has met. The step is left out in any case.
        """
        for gradient in self._gradients()[:1]:
            gradient.fill_(math.nan)

    def _any_worker(self, value: bool) -> bool:
        """Whether ``value`` holds on any worker: all must skip a step, or none."""
        assert isinstance(self.model, DistributedDataParallel)
        flag = torch.tensor([float(value)], device=self.param_groups[0]["params"][0].device)
        torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX, group=self.model.process_group)
        return bool(flag.item())
