"""A recipe: everything that decides the outcome of an experiment, as one validated TOML file."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from quietbar.configuration import from_mapping
from quietbar.contract.errors import (
    ConfigurationError,
    QuietbarError,
    require,
    require_choice,
    require_integer,
    require_number,
)
from quietbar.contract.seeds import check_seed
from quietbar.denoise import Objective, Precision
from quietbar.noise import Chip, Variation, presets

from .hardware_recipe import HardwareRecipe
from .tiles_recipe import TilesRecipe

HIGH = 1 << 31


def require_name(name: str) -> None:
    """Refuse a name that no folder should have: it is that of a run's or study's."""
    plain = bool(name) and all(letter.isalnum() or letter in "-_." for letter in name)
    require(plain and name[0].isalnum(), "name", name, "made of letters, digits, '-', '_' and '.'")


@dataclass(frozen=True)
class DataRecipe:
    """Which images.

    Attributes:
        name: a data set that ``quietbar.data.load`` knows.
        seed: fixes the split into training and validation images.
    """

    name: str
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed, "data.seed")


@dataclass(frozen=True)
class TrainingRecipe:
    """How a network is trained from scratch.

    Attributes:
        optimizer: SGD with momentum alone (``plain``) or inside a sharpness-aware wrapper.
        rho: radius of the wrapper's perturbation; left out, the variant's default.
        p: SAMSON's norm, 2 or inf.
        epochs, batch, learning_rate, momentum, weight_decay: as usual; the rate falls along half a cosine.
        warmup: share of the training in which the rate rises first, along half a cosine too.
        precision: of the products; in bfloat16 (half the time for a VGG) weights and their updates stay in float32.
        seed: fixes initial weights and batch order.
    """

    optimizer: Literal["plain", "sam", "asam", "samson"] = "samson"
    rho: float | None = None
    p: float = 2.0
    epochs: int = 20
    batch: int = 64
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup: float = 0.0
    precision: Precision = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rho is not None:
            require_number("model.training.rho", self.rho, 0, 1e6)
        require_choice("model.training.p", self.p, (2.0, math.inf))
        require_integer("model.training.epochs", self.epochs, 1, HIGH)
        require_integer("model.training.batch", self.batch, 1, HIGH)
        require_number("model.training.learning_rate", self.learning_rate, 1e-9, 100)
        require_number("model.training.momentum", self.momentum, 0, 1)
        require_number("model.training.weight_decay", self.weight_decay, 0, 1)
        require_number("model.training.warmup", self.warmup, 0, 0.9)
        check_seed(self.seed, "model.training.seed")


@dataclass(frozen=True)
class ModelRecipe:
    """Which network: published weights, or trained here by ``training``.

    Attributes:
        name: one that ``quietbar.models.create`` knows.
        pretrained: whether the published weights are taken.
        training: where they are not.
    """

    name: str
    pretrained: bool = False
    training: TrainingRecipe | None = None

    def __post_init__(self) -> None:
        one = self.pretrained != (self.training is not None)
        require(
            one, "model.pretrained", self.pretrained, "true, or a table model.training must be there: one of the two"
        )


@dataclass(frozen=True)
class NoiseRecipe:
    """The analog hardware's noise.

    Attributes:
        sigma: deviation of the temporal noise of every analog result, relative to ``reference``. Left out, it is found
            on validation images as the level whose accuracy drop is nearest ``drop``.
        drop: the accuracy drop to look for, in points. With ``sigma`` given too, all of the variation (``sigma`` and
            mismatch) is scaled by one factor until it costs this much.
        reference: each layer's own standard deviation or range.
        gain_mismatch, offset_mismatch: per-chip static variation of the columns, relative deviations.
        seconds: age of the chips since programming; left out, that of the first reading.
        nu, noise_growth: what age does to gains and temporal noise; see :class:`quietbar.noise.Variation`.
        conductance: preset of the devices that hold the weights; left out, they hold them exactly. ``drop`` scales
            columns and temporal noise, never the devices.
        sweep: factors of sigma at which accuracy is measured for the report.
        images: validation images used to find the level and to draw the sweep; all where there are fewer.
        calibration: training images on which layers, taps and hidden activations are calibrated, at most all.
    """

    sigma: float | None = None
    drop: float | None = None
    reference: Literal["std", "range"] = "std"
    gain_mismatch: float = 0.0
    offset_mismatch: float = 0.0
    seconds: float | None = None
    nu: float = 0.0
    noise_growth: float = 0.0
    conductance: str | None = None
    sweep: tuple[float, ...] = (0.0, 0.5, 1.0, 1.5, 2.0)
    images: int = 1000
    calibration: int = 500

    def __post_init__(self) -> None:
        either = self.sigma is not None or self.drop is not None
        require(either, "noise.sigma", self.sigma, "given, or noise.drop must be, or both")
        if self.sigma is not None:
            require_number("noise.sigma", self.sigma, 0, 10)
        if self.drop is not None:
            require_number("noise.drop", self.drop, 0.1, 100)
            some = self.sigma != 0 or self.gain_mismatch > 0 or self.offset_mismatch > 0
            require(some, "noise.sigma", self.sigma, "above 0, or a mismatch must be: there is nothing to scale")
        require_number("noise.gain_mismatch", self.gain_mismatch, 0, 1)
        require_number("noise.offset_mismatch", self.offset_mismatch, 0, 1)
        if self.conductance is not None:
            require_choice("noise.conductance", self.conductance, presets.CONDUCTANCES)
        try:
            self.chip(0)
        except ConfigurationError as error:
            name = error.field.rpartition(".")[2]
            raise ConfigurationError(f"noise.{name}", error.value, error.allowed) from None
        for index, factor in enumerate(self.sweep):
            require_number(f"noise.sweep[{index}]", factor, 0, 100)
        require_integer("noise.images", self.images, 1, HIGH)
        require_integer("noise.calibration", self.calibration, 1, HIGH)

    def require_age(self, name: str, seconds: float) -> None:
        """Refuse an age ``name`` that chips of this recipe cannot have, or that would change nothing about them."""
        allowed = "absent, or noise.nu, noise.noise_growth or a noise.conductance that ages given: nothing ages"
        require(self.chip(0).ages, name, seconds, allowed)
        try:
            replace(self, seconds=seconds).chip(0)
        except ConfigurationError as error:
            raise ConfigurationError(name, error.value, error.allowed) from None

    def chip(self, seed: int, level: float = 1.0) -> Chip:
        """Chip instance ``seed`` at a level: sigma itself where the recipe leaves that open, else a factor."""
        factor = 1.0 if self.sigma is None else level
        age: dict[str, Any] = {} if self.seconds is None else {"seconds": self.seconds}
        variation = Variation(
            sigma=level if self.sigma is None else level * self.sigma,
            reference=self.reference,
            gain_mismatch=factor * self.gain_mismatch,
            offset_mismatch=factor * self.offset_mismatch,
            nu=self.nu,
            noise_growth=self.noise_growth,
            **age,
        )
        if self.conductance is None:
            return Chip(seed, variation)
        return Chip(seed, variation, replace(presets.conductance_by_name(self.conductance), **age))


@dataclass(frozen=True)
class PlacementRecipe:
    """Where blocks may go.

    Attributes:
        budget: parameters of all blocks together, as a share of the network's.
        images: training images on which sensitivities are measured, at most all.
        candidates: names of taps to choose among; left out, they are found.
        rule: how a tap's damage is measured, by its noise or by the gradient's norm alone.
        multiplications: that all blocks together may need for a frame; left out, as many as they like.
        cycles: that the reference engine may be busy with all blocks for a frame.
    """

    budget: float = 0.02
    images: int = 500
    candidates: tuple[str, ...] | None = None
    rule: Literal["noise", "gradient"] = "noise"
    multiplications: int | None = None
    cycles: int | None = None

    def __post_init__(self) -> None:
        require(0 < self.budget <= 1, "placement.budget", self.budget, "a share above 0 and up to 1")
        require_integer("placement.images", self.images, 1, HIGH)
        for name in ("multiplications", "cycles"):
            value = getattr(self, name)
            if value is not None:
                require_integer(f"placement.{name}", value, 1, 1 << 62)


@dataclass(frozen=True)
class TuningRecipe:
    """A short further training of the blocks on one chip: its calibration after it was measured.

    Attributes:
        epochs, batch, learning_rate: of the training (Adam, one-cycle), at the chip's own noise level.
        images: training images used; all where there are fewer.
    """

    epochs: int = 2
    batch: int = 50
    learning_rate: float = 2e-3
    images: int = 10_000

    def __post_init__(self) -> None:
        require_integer("blocks.tuning.epochs", self.epochs, 1, HIGH)
        require_integer("blocks.tuning.batch", self.batch, 1, HIGH)
        require_number("blocks.tuning.learning_rate", self.learning_rate, 1e-9, 10)
        require_integer("blocks.tuning.images", self.images, 1, HIGH)


@dataclass(frozen=True)
class BlocksRecipe:
    """The denoising blocks and their training.

    Attributes:
        kernel, mode: as in :class:`quietbar.contract.BlockConfig`.
        epochs, batch, learning_rate: of the blocks' training (Adam, one-cycle).
        images: training images used; all where there are fewer, or where it is left out.
        factors: lowest and highest noise level seen in training, as factors of sigma, and the share of clean batches.
        chips: how many chips the training sees, one a batch; 0 is a single one. None of them is one of the evaluation.
        seed: fixes initial weights, batch order and noise levels.
        precision: of the products while blocks are trained or tuned: bfloat16 takes two thirds of the time.
        objective: what they are trained for, in the tuning too.
        tuning: of a copy of the blocks for each chip of the evaluation; left out, all chips have the same blocks.
    """

    kernel: Literal["depthwise", "dense"] = "depthwise"
    mode: Literal["mean", "sampling"] = "mean"
    epochs: int = 3
    batch: int = 100
    learning_rate: float = 5e-3
    images: int | None = None
    factors: tuple[float, ...] = (0.0, 1.25, 0.1)
    chips: int = 0
    seed: int = 0
    precision: Precision = "float32"
    objective: Objective = field(default_factory=Objective)
    tuning: TuningRecipe | None = None

    def __post_init__(self) -> None:
        require_integer("blocks.epochs", self.epochs, 1, HIGH)
        require_integer("blocks.batch", self.batch, 1, HIGH)
        require_number("blocks.learning_rate", self.learning_rate, 1e-9, 10)
        if self.images is not None:
            require_integer("blocks.images", self.images, 1, HIGH)
        ordered = len(self.factors) == 3 and 0 <= self.factors[0] <= self.factors[1] and 0 <= self.factors[2] <= 1
        require(ordered, "blocks.factors", self.factors, "three numbers: 0 <= lowest <= highest, and a share up to 1")
        require_integer("blocks.chips", self.chips, 0, HIGH)
        check_seed(self.seed, "blocks.seed")


@dataclass(frozen=True)
class EvaluationRecipe:
    """What the final table is measured on.

    Attributes:
        chips: seeds of the chip instances.
        images: test images, the first ones, through every column of the table; all where there are fewer, or where it
            is left out.
        batch: images a forward pass.
        chunk: images between two results that are kept: what an interruption may cost.
        seconds: later ages of the same chips, since programming, at which accuracy is measured too, the blocks as they
            were.
        shared: whether the blocks that all chips share are measured too, where each has its own (``blocks.tuning``).
    """

    chips: tuple[int, ...] = (1, 2, 3)
    images: int | None = None
    batch: int = 100
    chunk: int = 500
    seconds: tuple[float, ...] = ()
    shared: bool = True

    def __post_init__(self) -> None:
        require(len(self.chips) > 0, "evaluation.chips", self.chips, "at least one seed")
        require(len(set(self.chips)) == len(self.chips), "evaluation.chips", self.chips, "different seeds")
        for index, chip in enumerate(self.chips):
            check_seed(chip, f"evaluation.chips[{index}]")
        if self.images is not None:
            require_integer("evaluation.images", self.images, 1, HIGH)
        require_integer("evaluation.batch", self.batch, 1, HIGH)
        whole = isinstance(self.chunk, int) and self.chunk > 0 and self.chunk % self.batch == 0
        require(whole, "evaluation.chunk", self.chunk, f"a multiple of evaluation.batch = {self.batch}")
        require(len(set(self.seconds)) == len(self.seconds), "evaluation.seconds", self.seconds, "different ages")


@dataclass(frozen=True)
class Recipe:
    """One experiment, from data to report.

    Attributes:
        name: of the run and its folder.
        data, model, noise: which images, network and hardware.
        threads: of PyTorch. It is part of the recipe because sums in another order round otherwise; small networks run
            fastest on one.
        placement, blocks, evaluation, hardware: how blocks are placed, trained, measured and built.
        tiles: the network on crossbar tiles, for ``quietbar cosim-mixed``; left out, there is none.
    """

    name: str
    data: DataRecipe
    model: ModelRecipe
    noise: NoiseRecipe
    threads: int = 1
    placement: PlacementRecipe = field(default_factory=PlacementRecipe)
    blocks: BlocksRecipe = field(default_factory=BlocksRecipe)
    evaluation: EvaluationRecipe = field(default_factory=EvaluationRecipe)
    hardware: HardwareRecipe = field(default_factory=HardwareRecipe)
    tiles: TilesRecipe | None = None

    def __post_init__(self) -> None:
        for index, seconds in enumerate(self.evaluation.seconds):
            self.noise.require_age(f"evaluation.seconds[{index}]", seconds)
        require_integer("threads", self.threads, 1, 1024)
        require_name(self.name)


def read_recipe(path: Path | str, overrides: Iterable[str] = ()) -> Recipe:
    """The recipe in a TOML file, with ``overrides`` such as ``"blocks.epochs=1"`` (values in TOML) put in its place.

    Raises:
        QuietbarError: the file is not there or is not TOML.
        ConfigurationError: a key or value is not allowed; the message names it.
    """
    return from_mapping(Recipe, read_values(path, overrides))


def read_values(path: Path | str, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """The plain values of a TOML file, with ``overrides`` put in their place.

    Raises:
        QuietbarError: the file is not there or is not TOML.
        ConfigurationError: an override is not of the form ``section.key=value``.
    """
    path = Path(path)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise QuietbarError(f"recipe {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise QuietbarError(f"recipe {path} is not TOML: {error}") from error
    for override in overrides:
        _apply_override(values, override)
    return values


def _apply_override(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    require(bool(equals) and bool(key.strip()), "--set", override, "of the form section.key=value")
    *sections, name = key.strip().split(".")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    table: Any = values
    for section in sections:
        table = table.setdefault(section, {})
        if not isinstance(table, Mapping):
            raise ConfigurationError("--set", override, f"a key of a table, but {section} is a value")
    table[name] = value
