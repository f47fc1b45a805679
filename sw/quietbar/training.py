"""A training loop that can be killed at any moment and goes on to the same weights, bit for bit."""

from __future__ import annotations

import io
import itertools
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from quietbar.contract.errors import QuietbarError, require, require_integer
from quietbar.files import atomic_file

CHECKPOINT_FORMAT = 1

Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]
Schedule = Callable[[float], float]


class TrainingError(QuietbarError):
    """Training cannot go on: a loss or weight is no longer finite, or a checkpoint does not fit."""


class Optimizer(Protocol):
    """What :func:`fit` needs: any ``torch.optim.Optimizer``, or a wrapper such as ``SharpnessAware``.

    ``step`` may call its closure several times; the closure clears the gradients, computes the loss and its gradients,
    and returns the loss.
    """

    param_groups: list[dict[str, Any]]

    def step(self, closure: Callable[[], Tensor], /) -> Any: ...
    def zero_grad(self) -> None: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: dict[str, Any], /) -> None: ...


@dataclass(frozen=True)
class Epoch:
    """What one pass over the data came to.

    Attributes:
        number: counted from 1.
        loss: mean of the batches' losses (of the first closure call where the optimizer makes several).
        metrics: what ``on_epoch`` returned.
        seconds: wall-clock time, of this process only where the epoch was resumed.
    """

    number: int
    loss: float
    metrics: Mapping[str, float]
    seconds: float = field(compare=False)


def cross_entropy(model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of the model's class scores (N, classes) against the labels (N)."""
    return nn.functional.cross_entropy(model(inputs), labels)


def constant(progress: float) -> float:
    """The learning rate as given, throughout."""
    return 1.0


def cosine(progress: float) -> float:
    """From the full learning rate down to nothing along half a cosine (Loshchilov and Hutter, arXiv 1608.03983)."""
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def one_cycle(progress: float, warmup: float = 0.3, start: float = 0.04, end: float = 4e-6) -> float:
    """Up to the full learning rate and down to nearly none, both along half a cosine (Smith, arXiv 1708.07120).

    Args:
        progress: share of the training that is done, 0 to 1.
        warmup: share of the training spent on the way up.
        start: factor at the beginning.
        end: factor at the end.
    """
    if progress < warmup:
        return 1.0 + (start - 1.0) * cosine(progress / warmup)
    return end + (1.0 - end) * cosine((progress - warmup) / (1.0 - warmup))


def train_mode(model: nn.Module) -> None:
    """Every module of the model in training mode: the default of ``fit``'s ``prepare``."""
    model.train()


def fit(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    optimizer: Optimizer,
    epochs: int,
    schedule: Schedule = constant,
    *,
    loss: Loss = cross_entropy,
    prepare: Callable[[nn.Module], None] = train_mode,
    checkpoint: Path | str | None = None,
    checkpoint_every: int = 0,
    on_epoch: Callable[[int, float], Mapping[str, float] | None] | None = None,
    generators: Sequence[torch.Generator] = (),
    description: str = "training",
    progress: bool = True,
) -> list[Epoch]:
    """Train ``model`` in place and return one :class:`Epoch` for each pass over the data.

    With a ``checkpoint`` that exists, training goes on from there and ends with the weights, bit for bit, of a run that
    was never stopped; of a finished training it loads the result. The checkpoint holds the model's and the optimizer's
    state, torch's random state, that of ``generators``, and the position in the data. Whatever else draws random
    numbers must be in ``generators`` or in the model's state (``get_extra_state``).

    Args:
        model: trained where the optimizer's parameters are; its frozen parts stay as ``prepare`` leaves them.
        batches: iterated once an epoch; where it has ``at_epoch(epoch, start)``, as ``quietbar.data.Batches``, that
            gives the epoch's order (epochs counted from 0) from batch ``start`` on.
        optimizer: stepped by ``step(closure)``; its learning rates are the peak, scaled by ``schedule``.
        epochs: passes over the data, in all.
        schedule: from the share of the training that is done, in [0, 1), to the factor of the learning rate.
        loss: of ``(model, inputs, labels)``, a scalar.
        prepare: sets the modules' modes, at the start of each epoch.
        checkpoint: file to go on from and to write, whole or not at all, after each epoch.
        checkpoint_every: write it after so many batches, too; 0 for epochs only.
        on_epoch: called with the epoch's number (from 1) and mean loss; what it returns is kept in the history. It may
            measure the model but must leave its weights alone.
        generators: random sources, other than torch's own, that training draws from.
        description: words in front of the progress bar.
        progress: whether to show a bar.

    Raises:
        ConfigurationError: an argument is outside what is allowed, or there are no batches.
        TrainingError: the loss or a weight is not finite (epoch and batch are named), or the checkpoint is damaged or of
            another training.
    """
    require_integer("training.epochs", epochs, 0, 1_000_000)
    require_integer("training.checkpoint_every", checkpoint_every, 0, 1_000_000_000)
    path = Path(checkpoint) if checkpoint is not None else None
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    rates = [float(group["lr"]) for group in optimizer.param_groups]
    count = _length(batches)
    require(count > 0, "training.batches", count, "at least one batch")
    settings = {"epochs": epochs, "batches": count, "rates": rates, "shapes": [list(each.shape) for each in trained]}

    history: list[Epoch] = []
    first_batch, total = 0, 0.0
    epoch_random = batch_random = _random_state(generators)
    if path is not None and path.exists():
        state = _read_checkpoint(path, settings)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        history = [Epoch(**each) for each in state["history"]]
        first_batch, total = state["batch"], state["total"]
        epoch_random, batch_random = state["epoch_random"], state["batch_random"]
        _restore_random_state(epoch_random, generators)

    def save(batch: int) -> None:
        if path is None:
            return
        content = {
            "format": CHECKPOINT_FORMAT,
            "settings": settings,
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "history": [asdict(each) for each in history],
            "batch": batch,
            "total": total,
            "epoch_random": epoch_random,
            "batch_random": _random_state(generators),
        }
        with atomic_file(path) as stream:
            torch.save(content, stream)

    for epoch in range(len(history), epochs):
        started = time.monotonic()
        prepare(model)
        remaining = _from_batch(batches, epoch, first_batch)
        if first_batch:
            _restore_random_state(batch_random, generators)
        bar = tqdm(
            remaining,
            desc=f"{description} {epoch + 1}/{epochs}",
            total=count,
            initial=first_batch,
            disable=None if progress else True,
            leave=False,
        )
        batch = first_batch
        for batch, (inputs, labels) in enumerate(bar, first_batch + 1):
            factor = schedule((epoch * count + batch - 1) / (epochs * count))
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor
            value = _step(model, optimizer, loss, inputs, labels, where=f"epoch {epoch + 1}, batch {batch}")
            total += value
            bar.set_postfix(loss=f"{value:.4f}", refresh=False)
            if checkpoint_every and batch % checkpoint_every == 0 and batch < count:
                save(batch)
        if batch != count:
            raise TrainingError(f"epoch {epoch + 1} gave {batch} batches instead of {count}: the data changed")
        if not all(bool(torch.isfinite(parameter).all()) for parameter in trained):
            raise TrainingError(f"a weight is no longer finite after epoch {epoch + 1}: lower the learning rate")
        mean = total / count
        metrics = dict((on_epoch(epoch + 1, mean) if on_epoch else None) or {})
        history.append(Epoch(epoch + 1, mean, metrics, time.monotonic() - started))
        first_batch, total = 0, 0.0
        epoch_random = _random_state(generators)
        save(0)
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    return history


def _step(model: nn.Module, optimizer: Optimizer, loss: Loss, inputs: Tensor, labels: Tensor, where: str) -> float:
    values: list[float] = []

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(model, inputs, labels)
        values.append(float(value.detach()))
        if not math.isfinite(values[-1]):
            raise TrainingError(f"the loss is {values[-1]} in {where}: lower the learning rate or look at the inputs")
        value.backward()
        return value

    optimizer.step(closure)
    return values[0]


def _length(batches: Iterable[Any]) -> int:
    """Number of batches, by counting where the iterable does not say."""
    try:
        return len(batches)  # type: ignore[arg-type]
    except TypeError:
        return sum(1 for _ in batches)


def _from_batch(batches: Iterable[Any], epoch: int, start: int) -> Iterable[Any]:
    if hasattr(batches, "at_epoch"):
        return batches.at_epoch(epoch, start)
    iterator = iter(batches)
    # A loader may draw its order from torch's random state, so this is done with the state of the epoch's start.
    for _ in itertools.islice(iterator, start):
        pass
    return iterator


def _random_state(generators: Sequence[torch.Generator]) -> dict[str, Any]:
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "generators": [generator.get_state() for generator in generators],
    }


def _restore_random_state(state: dict[str, Any], generators: Sequence[torch.Generator]) -> None:
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
    for generator, saved in zip(generators, state["generators"], strict=True):
        generator.set_state(saved)


def _read_checkpoint(path: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    mend = f"; delete {path} to start again"
    try:
        state = torch.load(io.BytesIO(path.read_bytes()), weights_only=True)
        version = state["format"]
    except Exception as error:
        raise TrainingError(f"checkpoint {path} is damaged{mend}") from error
    if version != CHECKPOINT_FORMAT:
        raise TrainingError(f"checkpoint {path} has format {version}, this version reads {CHECKPOINT_FORMAT}{mend}")
    for name, expected in settings.items():
        if state["settings"][name] != expected:
            raise TrainingError(
                f"checkpoint {path} is of another training: {name} was {state['settings'][name]}, is {expected}{mend}"
            )
    return state
