"""Training of the denoising blocks on a frozen backbone, over a range of noise levels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from quietbar import analog
from quietbar.contract.errors import require, require_choice, require_integer
from quietbar.contract.seeds import derive_seed
from quietbar.data.checks import first_inputs, require_batches
from quietbar.models import evaluation_mode
from quietbar.training import Epoch, fit, one_cycle

from . import workers
from .freezing import block_parameters, frozen_backbone
from .insertion import Tap, require_taps, taps, unchanged_taps, without_blocks
from .levels import FIRST_IMAGE, NoiseLevels, Population, change_chip, chips_of, place, unchanged_noise
from .objective import Objective
from .observation import observed
from .teacher import Teacher

Precision = Literal["float32", "bfloat16"]
"""What products are computed in while blocks are trained."""


def train(
    model: nn.Module,
    data: Iterable[tuple[Tensor, Tensor]],
    epochs: int = 4,
    *,
    learning_rate: float = 5e-3,
    objective: Objective = Objective(),  # noqa: B008 - it is frozen
    levels: NoiseLevels = NoiseLevels(),  # noqa: B008
    population: Population = Population(),  # noqa: B008
    dropping: float = 0.0,
    precision: Precision = "float32",
    teacher: Teacher | None = None,
    seed: int = 0,
    checkpoint: Path | str | None = None,
    checkpoint_every: int = 0,
    on_epoch: Callable[[int, float], Mapping[str, float] | None] | None = None,
    identity: str = "",
    progress: bool = True,
) -> list[Epoch]:
    """Train the denoising blocks of ``model`` in place, by Adam under a one-cycle learning rate; the rest is frozen.

    The backbone runs in evaluation mode; its parameters, batch-norm statistics and other buffers are hashed before and
    after. Every batch meets the chip's noise at a level of its own, or that of a chip of its own (``population``).
    Blocks that are trained already are trained on: a population's blocks become those of one chip by a second, short
    training on it with ``NoiseLevels(1, 1, 0)``. In several processes (:mod:`.workers`) each computes its part of every
    batch; all must give the same arguments. The same arguments give the same blocks, bit for
    bit, whether the run was stopped and resumed or not (:func:`quietbar.training.fit`).

    Args:
        model: from :func:`insert`, on a model from ``quietbar.analog.convert``.
        data: (inputs, labels) batches, iterated once an epoch.
        epochs: passes over the data.
        learning_rate: the peak.
        objective: weights of the losses.
        levels: range of the noise.
        population: other chips to train on instead of the model's own, with its variation.
        dropping: chance that a block is left out of a batch, each on its own, one always staying: blocks that are
            trained so work without one another, and the best of them can be chosen afterwards.
        precision: of the products; in bfloat16 a step takes about two thirds of the time, where the processor has such
            products. Weights and their updates, losses and the scores of ``teacher`` stay in float32.
        teacher: whose scores are distilled; None is the model itself, clean, asked anew each time.
        seed: of the noise levels, and of the draws of blocks in sampling mode.
        checkpoint: file to go on from and to write after each epoch.
        checkpoint_every: write it after so many batches, too.
        on_epoch: called with the epoch's number and loss, the model on its own chip, at its own level and image 0;
            what it returns is kept in the history.
        identity: what else makes this training this one; a checkpoint of another one is refused.
        progress: whether to show a bar.

    Returns:
        One entry for each epoch. ``model`` is left in evaluation mode, its noise as it was.

    Raises:
        ConfigurationError: the model has no taps or no analog layers, or an argument is outside what is allowed.
        BackboneChangedError: something changed the backbone; its tensors are named.
        TrainingError: a loss is not finite, or the checkpoint is not this training's.
    """
    found = require_taps(model, "train")
    analog.layers(model)
    require_batches("train.data", data, again=True)
    require(learning_rate > 0, "train.learning_rate", learning_rate, "a positive number")
    require_integer("train.epochs", epochs, 1, 1_000_000)
    generator = torch.Generator().manual_seed(derive_seed(seed, "denoise", "levels"))
    loss = _Loss(tuple(found.values()), objective, levels, population, dropping, precision, teacher, generator)
    own = chips_of(model)
    enabled_before = {tap: tap.enabled for tap in found.values()}

    def prepare(model: nn.Module) -> None:
        model.eval()
        for tap in found.values():
            tap.block.train()

    def after_epoch(number: int, loss: float) -> Mapping[str, float] | None:
        if on_epoch is None:
            return None
        for tap, enabled in enabled_before.items():
            tap.enabled = enabled
        with unchanged_noise(model):
            place(model, own)
            analog.scale_noise(model, 1.0)
            analog.restart(model)
            return on_epoch(number, loss)

    # The noise is put back before the backbone is looked at: a chip's gains are among its buffers.
    blocks = [tap.block for tap in found.values()]
    with (
        frozen_backbone(model) as hashes,
        unchanged_noise(model),
        unchanged_taps(model),
        torch.random.fork_rng(devices=[]),
        workers.shared(blocks, block_parameters(model)),
    ):
        torch.manual_seed(derive_seed(seed, "denoise", "draws"))
        parameters = block_parameters(model)
        set_steps(model, first_inputs("train.data", data))
        analog.restart(model, FIRST_IMAGE)
        history = fit(
            model,
            data,
            torch.optim.Adam(parameters, lr=learning_rate),
            epochs,
            one_cycle,
            loss=loss,
            prepare=prepare,
            checkpoint=checkpoint,
            checkpoint_every=checkpoint_every,
            on_epoch=after_epoch,
            generators=(generator, analog.NoiseState(model)),
            identity=loss.identity(identity, hashes, learning_rate, seed),
            description="denoising blocks",
            progress=progress,
        )
    model.eval()
    return history


@dataclass(frozen=True)
class _Loss:
    """The loss of a batch on a chip, at a level and with blocks that are drawn for it; fields as of :func:`train`.

    Raises:
        ConfigurationError: a field is outside what is allowed.
    """

    found: tuple[Tap, ...]
    objective: Objective
    levels: NoiseLevels
    population: Population
    dropping: float
    precision: Precision
    teacher: Teacher | None
    generator: torch.Generator

    def __post_init__(self) -> None:
        for name, kind in (("objective", Objective), ("levels", NoiseLevels), ("population", Population)):
            value = getattr(self, name)
            require(isinstance(value, kind), f"train.{name}", value, f"a quietbar.denoise.{kind.__name__}")
        workers.check([tap.config for tap in self.found], self.objective)
        require(0 <= self.dropping < 1, "train.dropping", self.dropping, "a chance of at least 0 and below 1")
        require_choice("train.precision", self.precision, get_args(Precision))

    def identity(self, given: str, hashes: Mapping[str, str], learning_rate: float, seed: int) -> str:
        """A hash of what makes a training this one."""
        drawn = repr(self.objective), repr(self.levels), repr(self.population), self.dropping
        parts = [given, hashes, *drawn, learning_rate, seed]
        parts += [] if self.teacher is None else [self.teacher.digest]
        parts += [] if self.precision == "float32" else [self.precision]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def __call__(self, model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        if self.population.chips:
            change_chip(model, self.population.draw(self.generator))
        if self.dropping:
            _drop(self.found, self.dropping, self.generator)
        analog.scale_noise(model, self.levels.draw(self.generator))
        # Chip, level and blocks were drawn for the whole batch, by all workers alike.
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            return workers.loss_of_whole(self.objective, model, inputs, labels, self.teacher)


def _drop(found: Sequence[Tap], chance: float, generator: torch.Generator) -> None:
    """Switch each block off by ``chance``, but never all of them."""
    stays = int(torch.randint(len(found), (), generator=generator))
    for number, (tap, draw) in enumerate(zip(found, torch.rand(len(found), generator=generator).tolist(), strict=True)):
        tap.enabled = number == stays or draw >= chance


def set_steps(model: nn.Module, inputs: Tensor) -> None:
    """Tell the blocks in sampling mode how large an integer step of their activations will be, roughly."""
    sampling = {name: tap for name, tap in taps(model).items() if tap.config.mode == "sampling"}
    if not sampling:
        return
    hosts = {name: tap.host for name, tap in sampling.items()}
    with evaluation_mode(model), torch.no_grad(), analog.quiet(model), without_blocks(model), observed(hosts) as seen:
        model(inputs)
    for name, tap in sampling.items():
        largest = float(seen[name][0].abs().max())
        require(largest > 0, f"{name}.activations", largest, "other than 0 for the first batch")
        tap.block.set_step(largest / tap.config.activation.high)
