"""What a study compares, as one validated TOML file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from quietbar import data, models
from quietbar.configuration import from_mapping
from quietbar.contract.errors import ConfigurationError, require, require_choice, require_integer, require_number
from quietbar.contract.seeds import check_seed
from quietbar.experiment.recipe import HIGH, read_values, require_name
from quietbar.noise import Conductance, presets
from quietbar.sharpness import STRENGTHS, method

from .processor import Processor


def _require_seeds(name: str, seeds: tuple[int, ...]) -> None:
    require(len(seeds) > 0, name, list(seeds), "at least one seed")
    require(len(set(seeds)) == len(seeds), name, list(seeds), "different seeds")
    for index, seed in enumerate(seeds):
        check_seed(seed, f"{name}[{index}]")


@dataclass(frozen=True)
class StudyData:
    """Which images; of each split the first so many, or all.

    Attributes:
        name: a data set that ``quietbar.data.load`` knows.
        seed: fixes the split into training and validation images.
        train, validation, test: numbers of images; all where there are fewer.
        augment: whether training images are shifted and mirrored.
    """

    name: str
    seed: int = 0
    train: int | None = None
    validation: int | None = None
    test: int | None = None
    augment: bool = False

    def __post_init__(self) -> None:
        require_choice("data.name", self.name, data.NAMES)
        check_seed(self.seed, "data.seed")
        for name in ("train", "validation", "test"):
            if getattr(self, name) is not None:
                require_integer(f"data.{name}", getattr(self, name), 1, HIGH)


@dataclass(frozen=True)
class StudyNetwork:
    """Which network, with random weights or, to be fine-tuned, with the published ones.

    Attributes:
        name: one that ``quietbar.models.create`` knows.
        pretrained: whether it begins with the published weights.
    """

    name: str
    pretrained: bool = False

    def __post_init__(self) -> None:
        require_choice("network.name", self.name, models.NAMES)
        allowed = f"false: published weights there are of {', '.join(models.PRETRAINED)}"
        require(not self.pretrained or self.name in models.PRETRAINED, "network.pretrained", self.pretrained, allowed)


@dataclass(frozen=True)
class StudyTraining:
    """How every method trains: SGD with Nesterov momentum, the rate falling along half a cosine.

    Attributes:
        epochs, batch, learning_rate, momentum, weight_decay: as usual.
        checkpoint_every: batches between two checkpoints: what an interruption may cost.
    """

    epochs: int = 10
    batch: int = 64
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    checkpoint_every: int = 100

    def __post_init__(self) -> None:
        require_integer("training.epochs", self.epochs, 1, HIGH)
        require_integer("training.batch", self.batch, 1, HIGH)
        require_number("training.learning_rate", self.learning_rate, 1e-9, 100)
        require_number("training.momentum", self.momentum, 1e-9, 1)
        require_number("training.weight_decay", self.weight_decay, 0, 1)
        require_integer("training.checkpoint_every", self.checkpoint_every, 1, HIGH)


@dataclass(frozen=True)
class StudyMethod:
    """One row of the table.

    Attributes:
        name: of the row.
        method: one that ``quietbar.sharpness.method`` knows.
        grid: strengths to choose among on validation images (``rho``, ``sigma`` or ``limit``); none for ``plain``.
        options: the method's other arguments, e.g. ``{ p = inf }``.
        epochs: where they are not those of ``training``.
    """

    name: str
    method: Literal["plain", "sam", "asam", "samson", "layer", "noise", "clipping"]
    grid: tuple[float, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    epochs: int | None = None

    def __post_init__(self) -> None:
        where = f"methods.{self.name}"
        if self.method == "plain":
            require(not self.grid, f"{where}.grid", list(self.grid), "left out: plain training has no strength")
        else:
            require(len(self.grid) > 0, f"{where}.grid", list(self.grid), "at least one strength")
        require(len(set(self.grid)) == len(self.grid), f"{where}.grid", list(self.grid), "different strengths")
        for index, strength in enumerate(self.grid):
            require_number(f"{where}.grid[{index}]", strength, 1e-12, 1e6)
        if self.epochs is not None:
            require_integer(f"{where}.epochs", self.epochs, 1, HIGH)

    @property
    def strengths(self) -> tuple[float | None, ...]:
        """The grid, or None where there is nothing to choose."""
        return self.grid or (None,)

    def check_options(self, model: nn.Module) -> None:
        """Refuse strengths and options that the method would refuse when it is to train ``model``."""
        where = f"methods.{self.name}"
        for option, value in self.options.items():
            given = option in ("base_optimizer", "model", "variant", STRENGTHS.get(self.method))
            require(not given, f"{where}.options.{option}", value, "left out: the study gives it")
        for index, strength in enumerate(self.strengths):
            try:
                method(self.method, torch.optim.SGD(model.parameters()), strength, model=model, **self.options)
            except ConfigurationError as error:
                option = error.field.rpartition(".")[2]
                if option == STRENGTHS.get(self.method):
                    part = f"grid[{index}]"
                else:  # only a method of its own calls the limit of clipping by that name
                    part = "options." + ("clipping" if option == "limit" else option)
                raise ConfigurationError(f"{where}.{part}", error.value, error.allowed) from None


@dataclass(frozen=True)
class StudyNoise:
    """Generic conductance noise: ``sigma`` times the layer's largest weight, on every convolution and linear weight.

    Attributes:
        sweep: the levels ``sigma`` at which accuracy is measured; the first is 0.
        choice: the levels whose mean validation accuracy chooses a method's strength.
        chips: seeds of the chips that test images meet.
        validation_chips: seeds of other chips, which validation images meet.
    """

    sweep: tuple[float, ...] = (0.0, 0.05, 0.1, 0.15, 0.2)
    choice: tuple[float, ...] = (0.1,)
    chips: tuple[int, ...] = (1, 2, 3, 4, 5)
    validation_chips: tuple[int, ...] = (101, 102, 103)

    def __post_init__(self) -> None:
        starts = len(self.sweep) > 0 and self.sweep[0] == 0
        ascending = starts and all(a < b <= 10 for a, b in zip(self.sweep, self.sweep[1:], strict=False))
        require(ascending, "noise.sweep", list(self.sweep), "levels from 0 upwards, ascending, at most 10")
        inside = len(self.choice) > 0 and all(level in self.sweep for level in self.choice)
        require(inside, "noise.choice", list(self.choice), "at least one level of noise.sweep")
        _require_seeds("noise.chips", self.chips)
        _require_seeds("noise.validation_chips", self.validation_chips)
        common = sorted(set(self.chips) & set(self.validation_chips))
        allowed = f"other chips than noise.chips (common: {common})"
        require(not common, "noise.validation_chips", list(self.validation_chips), allowed)


@dataclass(frozen=True)
class StudyDevices:
    """A published model of devices that hold the weights of chosen networks, at several times since programming.

    Batch normalization is folded into the layers; converters are ideal.

    Attributes:
        name: one that ``quietbar.noise.presets.conductance_by_name`` knows.
        seconds: times since programming at which accuracy is measured, ascending.
    """

    name: str
    seconds: tuple[float, ...]

    def __post_init__(self) -> None:
        require(len(self.seconds) > 0, "devices.seconds", list(self.seconds), "at least one time")
        ascending = all(a < b for a, b in zip(self.seconds, self.seconds[1:], strict=False))
        require(ascending, "devices.seconds", list(self.seconds), "ascending")
        for index, seconds in enumerate(self.seconds):
            with _renamed(f"devices.seconds[{index}]", "conductance.seconds"):
                self.conductance(seconds)

    def conductance(self, seconds: float) -> Conductance:
        """The devices so long after programming."""
        with _renamed("devices.name", "preset"):
            found = presets.conductance_by_name(self.name)
        return replace(found, seconds=float(seconds))


@contextlib.contextmanager
def _renamed(name: str, field_name: str) -> Iterator[None]:
    """Inside, a refusal of ``field_name`` becomes one of ``name``, which is what the user wrote."""
    try:
        yield
    except ConfigurationError as error:
        field = name if error.field == field_name else error.field
        raise ConfigurationError(field, error.value, error.allowed) from None


@dataclass(frozen=True)
class StudyRecipe:
    """A comparison of methods of noise-tolerant training.

    Attributes:
        name: of the study and its folder.
        data, network: which images and network.
        methods: the rows.
        training, noise: of all methods.
        seeds: of the training runs: initial weights (where they are random) and order of the images. Strengths are
            chosen with the first.
        devices: what else holds the weights of the chosen networks, on ``noise.chips``; left out, nothing.
        sharpness_images: training images on which loss sharpness is measured.
        threads: of PyTorch, in each of the processes; sums in another order round otherwise.
        processor: what PyTorch computes on; ``"auto"`` is a GPU where there is one.
    """

    name: str
    data: StudyData
    network: StudyNetwork
    methods: tuple[StudyMethod, ...]
    training: StudyTraining = field(default_factory=StudyTraining)
    noise: StudyNoise = field(default_factory=StudyNoise)
    seeds: tuple[int, ...] = (1, 2, 3)
    devices: StudyDevices | None = None
    sharpness_images: int = 1000
    threads: int = 1
    processor: Processor = "cpu"

    def __post_init__(self) -> None:
        require_name(self.name)
        names = [method.name for method in self.methods]
        require(len(names) > 0, "methods", names, "at least one method")
        require(len(set(names)) == len(names), "methods", names, "methods with different names")
        _require_seeds("seeds", self.seeds)
        require_integer("sharpness_images", self.sharpness_images, 1, HIGH)
        require_integer("threads", self.threads, 1, 1024)
        with torch.device("meta"):  # names and shapes of the parameters, and no numbers
            model = models.create(self.network.name)
        for each in self.methods:
            each.check_options(model)


def read_study(path: Path | str, overrides: Iterable[str] = ()) -> StudyRecipe:
    """The study in a TOML file, with ``overrides`` such as ``"training.epochs=1"`` put in their place.

    Raises:
        QuietbarError: the file is not there or is not TOML.
        ConfigurationError: a key or value is not allowed; the message names it.
    """
    return from_mapping(StudyRecipe, read_values(path, overrides))
