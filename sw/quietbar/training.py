"""A training loop that can be killed at any moment and goes on to the same weights, bit for bit."""

from __future__ import annotations

import hashlib
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
from quietbar.data.checks import pairs, require_batches
from quietbar.files import write_atomically
from quietbar.models.accuracy import kept_modes

CHECKPOINT_FORMAT = 1
DIGEST_BYTES = 32  # SHA-256 of the rest of the file comes first

Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]
Schedule = Callable[[float], float]


class TrainingError(QuietbarError):
    """Training cannot go on: a loss or weight is no longer finite, or a checkpoint does not fit."""


class DivergenceError(TrainingError):
    """The loss or a weight is no longer finite."""


class Optimizer(Protocol):
    """What :func:`fit` needs: any ``torch.optim.Optimizer``, or a wrapper such as ``SharpnessAware``.

    ``step`` may call its closure several times; the closure clears the gradients, computes the loss and its gradients,
    and returns the loss.
    """

    @property
    def param_groups(self) -> list[dict[str, Any]]: ...

    def step(self, closure: Callable[[], Tensor], /) -> Any: ...
    def zero_grad(self) -> None: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: dict[str, Any], /) -> None: ...


class RandomSource(Protocol):
    """What draws random numbers and can say where it is: a ``torch.Generator``, or the noise of an analog model.

    The state may consist of tensors, numbers, strings, lists and dictionaries.
    """

    def get_state(self) -> Any: ...
    def set_state(self, state: Any, /) -> Any: ...


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
    generators: Sequence[RandomSource] = (),
    identity: str = "",
    description: str = "training",
    progress: bool = True,
) -> list[Epoch]:
    """Train ``model`` in place and return one :class:`Epoch` for each pass over the data.

    With a ``checkpoint`` that exists, training goes on from there and ends with the weights, bit for bit, of a run that
    was never stopped; of a finished training it loads the result. The checkpoint holds the model's and the optimizer's
    state, torch's random state, that of ``generators``, and the position in the data. Whatever else draws random
    numbers must be in ``generators`` or in the model's state (``get_extra_state``).

    Args:
        model: trained where the optimizer's parameters are; afterwards each module is in the mode it was in before.
        batches: iterated once an epoch; where it has ``at_epoch(epoch, start)``, as ``quietbar.data.Batches``, that
            gives the epoch's order (epochs counted from 0) from batch ``start`` on.
        optimizer: stepped by ``step(closure)``; its learning rates are the peak, scaled by ``schedule``.
        epochs: passes over the data, in all.
        schedule: from the share of the training that is done, in [0, 1), to the factor of the learning rate.
        loss: of ``(model, inputs, labels)``, a scalar.
        prepare: sets the modes of the modules at the start of each epoch, e.g. keeps frozen parts in evaluation mode.
        checkpoint: file to go on from and to write, whole or not at all, after each epoch.
        checkpoint_every: write it after so many batches, too; 0 for epochs only.
        on_epoch: called with the epoch's number (from 1) and mean loss; what it returns is kept in the history. It may
            measure the model but must leave its weights alone.
        generators: random sources, other than torch's own, that training draws from.
        identity: what else makes this training this one, e.g. a recipe's hash; a checkpoint of another one is refused.
        description: words in front of the progress bar.
        progress: whether to show a bar.

    Raises:
        ConfigurationError: an argument is outside what is allowed, there are no batches, or one is none.
        TrainingError: the loss or a weight is not finite (the message names epoch and batch), or the checkpoint is
            damaged or of another training.
    """
    steps = hasattr(optimizer, "param_groups") and hasattr(optimizer, "step")
    require(
        steps, "training.optimizer", optimizer, "an optimizer instance, e.g. torch.optim.SGD(model.parameters(), 0.1)"
    )
    require_integer("training.epochs", epochs, 0, 1_000_000)
    require_integer("training.checkpoint_every", checkpoint_every, 0, 1_000_000_000)
    require_batches("training.batches", batches, again=True)
    count = _length(batches)
    require(count > 0, "training.batches", count, "at least one batch")
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    rates = [float(group["lr"]) for group in optimizer.param_groups]
    path = Path(checkpoint) if checkpoint is not None else None
    settings = _settings(identity, epochs, count, optimizer)
    state = _State([], 0, 0.0, _random_state(generators), _random_state(generators))
    if path is not None and path.exists():
        state = _resume(path, settings, model, optimizer, generators)

    def save() -> None:
        if path is not None:
            state.batch_random = _random_state(generators)
            _write_checkpoint(path, settings, model, optimizer, state)

    def train_epoch(epoch: int) -> None:
        prepare(model)
        rest = _from_batch(batches, epoch, state.batch)
        if state.batch:
            _restore_random_state(state.batch_random, generators)
        silent = None if progress else True
        name = f"{description} {epoch + 1}/{epochs}"
        with tqdm(rest, name, total=count, initial=state.batch, disable=silent, leave=False) as bar:
            for inputs, labels in pairs("training.batches", bar, state.batch):
                _set_rates(optimizer, rates, schedule((epoch * count + state.batch) / (epochs * count)))
                state.batch += 1
                value = _step(model, optimizer, loss, inputs, labels, f"epoch {epoch + 1}, batch {state.batch}")
                state.total += value
                bar.set_postfix(loss=f"{value:.4f}", refresh=False)
                if checkpoint_every and state.batch % checkpoint_every == 0 and state.batch < count:
                    save()
        if state.batch != count:
            raise TrainingError(f"epoch {epoch + 1} gave {state.batch} batches instead of {count}: the data changed")
        if not all(bool(torch.isfinite(parameter).all()) for parameter in parameters):
            raise DivergenceError(f"a weight is no longer finite after epoch {epoch + 1}: lower the learning rate")

    with kept_modes(model):
        try:
            for epoch in range(len(state.history), epochs):
                started = time.monotonic()
                train_epoch(epoch)
                mean = state.total / count
                metrics = (on_epoch(epoch + 1, mean) if on_epoch else None) or {}
                metrics = {name: float(value) for name, value in metrics.items()}
                state.history.append(Epoch(epoch + 1, mean, metrics, time.monotonic() - started))
                state.batch, state.total = 0, 0.0
                state.epoch_random = _random_state(generators)
                save()
        finally:
            _set_rates(optimizer, rates, 1.0)
    return state.history


@dataclass
class _State:
    """How far the training is.

    Attributes:
        history: the epochs that are done.
        batch: batches done in the epoch under way.
        total: sum of their losses.
        epoch_random: random state at the start of the epoch.
        batch_random: random state after the last batch.
    """

    history: list[Epoch]
    batch: int
    total: float
    epoch_random: dict[str, Any]
    batch_random: dict[str, Any]


def _settings(identity: str, epochs: int, batches: int, optimizer: Optimizer) -> dict[str, Any]:
    """What must be alike for a checkpoint to be of this training."""
    groups = optimizer.param_groups
    return {
        "identity": identity,
        "epochs": epochs,
        "batches": batches,
        "optimizer": type(optimizer).__name__,
        "options": [{name: repr(value) for name, value in group.items() if name != "params"} for group in groups],
        "shapes": [list(parameter.shape) for group in groups for parameter in group["params"]],
    }


def _set_rates(optimizer: Optimizer, rates: Sequence[float], factor: float) -> None:
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate * factor


def _step(model: nn.Module, optimizer: Optimizer, loss: Loss, inputs: Tensor, labels: Tensor, where: str) -> float:
    values: list[float] = []

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(model, inputs, labels)
        values.append(float(value.detach()))
        if not math.isfinite(values[-1]):
            raise DivergenceError(f"the loss is {values[-1]} in {where}: lower the learning rate or look at the inputs")
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


def _random_state(generators: Sequence[RandomSource]) -> dict[str, Any]:
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "generators": [generator.get_state() for generator in generators],
    }


def _restore_random_state(state: dict[str, Any], generators: Sequence[RandomSource]) -> None:
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
    for generator, saved in zip(generators, state["generators"], strict=True):
        generator.set_state(saved)


def _write_checkpoint(
    path: Path, settings: Mapping[str, Any], model: nn.Module, optimizer: Optimizer, state: _State
) -> None:
    content = {
        "format": CHECKPOINT_FORMAT,
        "settings": settings,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "state": asdict(state),
    }
    stream = io.BytesIO()
    torch.save(content, stream)
    write_atomically(path, hashlib.sha256(stream.getvalue()).digest() + stream.getvalue())


def _resume(
    path: Path,
    settings: Mapping[str, Any],
    model: nn.Module,
    optimizer: Optimizer,
    generators: Sequence[RandomSource],
) -> _State:
    """Put what the checkpoint holds into the model, the optimizer and the random sources."""
    mend = f"delete {path} to start again"
    stored = path.read_bytes()
    digest, payload = stored[:DIGEST_BYTES], stored[DIGEST_BYTES:]
    # torch.load itself takes tensors with altered bytes.
    if hashlib.sha256(payload).digest() != digest:
        raise TrainingError(f"checkpoint {path} is damaged; {mend}")
    content = torch.load(io.BytesIO(payload), weights_only=True)
    if (version := content["format"]) != CHECKPOINT_FORMAT:
        raise TrainingError(f"checkpoint {path} has format {version}, must be {CHECKPOINT_FORMAT}; {mend}")
    for name, now in settings.items():
        if (then := content["settings"][name]) != now:
            raise TrainingError(f"checkpoint {path} is of another training: {name} was {then}, is {now}; {mend}")
    try:
        model.load_state_dict(content["model"])
        optimizer.load_state_dict(content["optimizer"])
    except (RuntimeError, ValueError, KeyError) as error:
        raise TrainingError(f"checkpoint {path} is of another model: {error}; {mend}") from error
    state = _State(**content["state"])
    state.history = [Epoch(**each) for each in content["state"]["history"]]
    _restore_random_state(state.epoch_random, generators)
    return state
