"""Ways to find places for blocks, compared: each search's plan at each budget, trained alike, on validation images."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from quietbar import analog, denoise, placement
from quietbar.contract.block import BlockConfig
from quietbar.contract.descriptor import stage_cycles
from quietbar.contract.engine import REFERENCE
from quietbar.contract.errors import ConfigurationError, require, require_choice, require_integer
from quietbar.contract.seeds import check_seed, derive_seed
from quietbar.models import accuracy

from .line import SoftwareLine
from .recipe import HIGH, Recipe
from .results import text_table
from .stages import block_settings, train_blocks, validation_batches

SEARCHES = ("noise", "gradient", "joint", "greedy", "random", "exhaustive")
TRAINING = ("joint", "greedy", "exhaustive")
RANDOM_DRAWS = 3
WIDTHS = (1 / 16, 1 / 8, 1 / 4, 1 / 2)
"""What searches choose the widths of blocks among, as shares of their tap's channels, unless told otherwise."""

NO_PLAN = ("placement.budget", "placement.data")
"""What a search refuses that has no plan: no block fits the budget, or none lowers the loss."""

COSTS = ("overhead", "multiplications", "cycles")
"""Of a plan: parameters as a share of the network's; for a frame of it, multiplications and the reference engine's
cycles."""


@dataclass(frozen=True)
class Freedom:
    """What searches may do.

    Attributes:
        widths: that blocks may have, as shares of their tap's channels. ``joint`` is run at each of them and keeps the
            plan with the least loss, all of one width; the others choose for every block.
        epochs: of the searches that train, each time; left out, as many as the plan's blocks are trained for.
    """

    widths: tuple[float, ...] = WIDTHS
    epochs: int | None = None

    def __post_init__(self) -> None:
        require(len(self.widths) > 0, "placements.widths", self.widths, "one at least")
        for width in self.widths:
            require(0 < width <= 1, "placements.widths", width, "a share above 0 and up to 1")
        if self.epochs is not None:
            require_integer("placements.search_epochs", self.epochs, 1, HIGH)


def with_seed(recipe: Recipe, seed: int) -> Recipe:
    """The recipe with ``seed`` for the blocks and, where it trains a network, for that."""
    check_seed(seed, "placements.seeds")
    training = None if recipe.model.training is None else replace(recipe.model.training, seed=seed)
    return replace(recipe, model=replace(recipe.model, training=training), blocks=replace(recipe.blocks, seed=seed))


def compare(
    lines: Sequence[SoftwareLine], searches: Sequence[str], budgets: Sequence[float], freedom: Freedom = Freedom()
) -> dict[str, Any]:
    """Plans and validation accuracies of every search at every budget, with every seed.

    Args:
        lines: one for each seed (:func:`with_seed`): whose network, noise, block training and chips its plans share.
        searches: some of ``SEARCHES``; of ``random`` there are ``RANDOM_DRAWS`` draws for each seed.
        budgets: shares of the network's parameters.
        freedom: of the searches.

    Returns:
        ``seeds``, ``widths``, ``search epochs``; ``noisy``, for each seed the accuracies in percent without blocks, one
        for each chip; and ``rows``, for each search and budget its ``plans``: seed, taps, ``COSTS``, seconds of the
        search, accuracies. Where a search has no plan for one of the seeds, ``refused`` says why instead.

    Raises:
        ConfigurationError: a search or a budget is not one.
    """
    for search in searches:
        require_choice("placements.searches", search, SEARCHES)
    for budget in budgets:
        require(0 < budget <= 1, "placements.budgets", budget, "a share above 0 and up to 1")
    require(len(lines) > 0, "placements.seeds", len(lines), "one at least")
    found: dict[str, Any] = {
        "seeds": [line.recipe.blocks.seed for line in lines],
        "widths": list(freedom.widths),
        "search epochs": freedom.epochs,
        "noisy": [_accuracies(line, ()) for line in lines],
        "rows": [],
    }
    for budget in budgets:
        for search in searches:
            row: dict[str, Any] = {"search": search, "budget": budget}
            try:
                row["plans"] = [plan for line in lines for plan in _plans(line, search, budget, freedom)]
            except ConfigurationError as error:
                if error.field not in NO_PLAN:
                    raise
                row["refused"] = str(error)
            found["rows"].append(row)
    return found


def spread(plans: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """Mean and deviation over the seeds of each seed's mean accuracy, over its chips and draws."""
    by_seed: dict[int, list[float]] = {}
    for plan in plans:
        by_seed.setdefault(plan["seed"], []).append(statistics.fmean(plan["accuracies"]))
    means = [statistics.fmean(values) for values in by_seed.values()]
    return statistics.fmean(means), statistics.stdev(means) if len(means) > 1 else 0.0


def table(found: dict[str, Any]) -> str:
    """What :func:`compare` found, as text: a line for each search and budget, with its first plan."""
    lines = [["", "none", "", "", "", _shown(*spread(_without_blocks(found)))]]
    for row in found["rows"]:
        if "refused" in row:
            lines.append([f"{row['budget']:.1%}", row["search"], "no plan", "", "", ""])
            continue
        plans = row["plans"]
        lines.append(
            [
                f"{row['budget']:.1%}",
                row["search"],
                " ".join(f"{name}:{hidden}" for name, hidden in plans[0]["taps"].items()),
                f"{statistics.fmean(plan['overhead'] for plan in plans):.2%}",
                f"{statistics.fmean(plan['seconds'] for plan in plans):.1f}",
                _shown(*spread(plans)),
            ]
        )
    return text_table(["budget", "search", "first plan", "parameters", "search s", "validation %"], lines)


def _without_blocks(found: dict[str, Any]) -> list[dict[str, Any]]:
    pairs = zip(found["seeds"], found["noisy"], strict=True)
    return [{"seed": seed, "accuracies": accuracies} for seed, accuracies in pairs]


def _shown(mean: float, deviation: float) -> str:
    return f"{mean:.2f} +- {deviation:.2f}"


def _plans(line: SoftwareLine, search: str, budget: float, freedom: Freedom) -> Iterator[dict[str, Any]]:
    for draw in range(RANDOM_DRAWS if search == "random" else 1):
        plan, seconds = _found(line, search, budget, freedom, draw)
        yield {
            "seed": line.recipe.blocks.seed,
            "taps": {tap.name: tap.hidden for tap in plan.selected},
            **dict(zip(COSTS, (plan.overhead, plan.multiplications, _cycles(plan)), strict=True)),
            "seconds": seconds,
            "accuracies": _accuracies(line, plan.selected),
        }


def _found(line: SoftwareLine, search: str, budget: float, freedom: Freedom, draw: int) -> tuple[placement.Plan, float]:
    """The search's plan, and the seconds that it took."""
    recipe = line.recipe
    settings = {
        "search": search,
        "budget": budget,
        "widths": list(freedom.widths),
        "draw": draw,
        "epochs": freedom.epochs if search in TRAINING else None,
        "placement": asdict(recipe.placement),
        "blocks": block_settings(recipe.blocks),
    }

    def compute(folder: Path) -> dict[str, Any]:
        analog.set_chip(line.noisy.model, line.noisy.chip(derive_seed(0, "placement")))
        started = time.perf_counter()
        plan = _plan(line, search, budget, freedom, draw)
        return {"plan": plan.to_dict(), "seconds": time.perf_counter() - started}

    values = line.run.stage("search", settings, (line.noise_result,), compute).values
    return placement.Plan.from_dict(values["plan"]), values["seconds"]


def _accuracies(line: SoftwareLine, taps: Sequence[placement.PlannedTap]) -> list[float]:
    """Validation accuracy on each chip with blocks at ``taps``, trained; searches that agree share one training."""
    recipe, noisy = line.recipe, line.noisy
    settings = {
        "taps": {tap.name: tap.config.to_dict() for tap in taps},
        "blocks": block_settings(recipe.blocks),
        "chips": recipe.evaluation.chips,
    }

    def compute(folder: Path) -> dict[str, Any]:
        model = noisy.model
        if taps:
            analog.set_chip(model, noisy.chip(derive_seed(0, "placement")))
            model = denoise.insert(model, taps, kernel=recipe.blocks.kernel, mode=recipe.blocks.mode,
                                   seed=recipe.blocks.seed)  # fmt: skip
            train_blocks(model, recipe, line.data, noisy, folder)
        values = []
        for chip in recipe.evaluation.chips:
            analog.set_chip(model, noisy.chip(chip))
            values.append(accuracy(model, validation_batches(recipe, line.data)))
        return {"accuracies": values}

    found: list[float] = line.run.stage("compared", settings, (line.noise_result,), compute).values["accuracies"]
    return found


def _plan(line: SoftwareLine, search: str, budget: float, freedom: Freedom, draw: int) -> placement.Plan:
    recipe, model, data = line.recipe, line.noisy.model, line.data
    blocks, candidates = recipe.blocks, recipe.placement.candidates
    few = data.batches("train", 50, limit=recipe.placement.images)
    widths = freedom.widths
    shape: Any = {"kernel": blocks.kernel, "mode": blocks.mode}
    if search in ("noise", "gradient"):
        rule: Any = search
        return placement.search(model, few, budget, candidates, widths=widths, rule=rule, **shape)
    if search == "random":
        everything = placement.search(model, few, 1.0, candidates, widths=widths, **shape)
        return _random_plan(budget, widths, derive_seed(blocks.seed, "random placement", draw), everything)
    limit = None if blocks.images is None else min(blocks.images, len(data.train))
    epochs = blocks.epochs if freedom.epochs is None else freedom.epochs
    training = placement.BlockTraining(
        epochs, blocks.learning_rate, blocks.objective, denoise.NoiseLevels(*blocks.factors), blocks.seed
    )
    batches = data.batches("train", blocks.batch, shuffle_seed=blocks.seed, limit=limit)
    # What searches compare by are training images: validation images are for the comparison of the searches.
    given = (model, batches, few, budget, candidates)
    if search == "joint":
        jointly = placement.search_jointly
        return _best_width(lambda width: jointly(*given, width=width, training=training, **shape)[0], widths)
    by_name = {"exhaustive": placement.search_exhaustively, "greedy": placement.search_greedily}
    return by_name[search](*given, widths=widths, training=training, **shape)[0]


def _best_width(search: Callable[[float], placement.Plan], widths: Sequence[float]) -> placement.Plan:
    """Of the plans at each width the one with the least loss; some widths may have none."""
    plans, refusal = [], None
    for width in widths:
        try:
            plans.append(search(width))
        except ConfigurationError as error:
            if error.field not in NO_PLAN:
                raise
            refusal = error
    if refusal is not None and not plans:
        raise refusal
    return min(plans, key=lambda plan: plan.remaining)


def _cycles(plan: placement.Plan) -> int:
    blocks = [tap.config for tap in plan.selected]
    return sum(max(stage_cycles(REFERENCE, block).values()) * block.pixels for block in blocks)


def _random_plan(budget: float, widths: Sequence[float], seed: int, everything: placement.Plan) -> placement.Plan:
    """Candidates in random order, each with a block of random width, as long as one fits."""
    draw, left = random.Random(seed), int(budget * everything.backbone)
    chosen: dict[str, BlockConfig] = {}
    for tap in draw.sample(everything.taps, len(everything)):
        blocks = [replace(tap.config, hidden=max(1, round(width * tap.config.channels))) for width in widths]
        fitting = [block for block in blocks if block.parameters <= left]
        if fitting:
            chosen[tap.name] = draw.choice(fitting)
            left -= chosen[tap.name].parameters
    require(len(chosen) > 0, "placement.budget", budget, "enough for one block")
    found = tuple(
        replace(tap, config=chosen.get(tap.name, tap.config), selected=tap.name in chosen) for tap in everything
    )
    return placement.Plan(found, budget, everything.backbone, 1.0)
