"""Ways to find places for blocks, compared: each search's plan at each budget, trained alike, on validation images."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from quietbar import analog, denoise, placement
from quietbar.contract.engine import REFERENCE, stage_cycles
from quietbar.contract.errors import ConfigurationError, require, require_choice
from quietbar.contract.seeds import derive_seed
from quietbar.models import accuracy

from .line import SoftwareLine
from .results import text_table
from .stages import train_blocks, validation_batches

SEARCHES = ("noise", "gradient", "joint", "greedy", "random", "exhaustive")
RANDOM_DRAWS = 3
WIDTH = 0.25
"""Width of the blocks, as a share of their tap's channels, where a search does not choose it."""


COSTS = ("overhead", "multiplications", "cycles")
"""Of a plan: parameters as a share of the network's; for a frame of it, multiplications and the reference engine's
cycles."""


def compare(line: SoftwareLine, searches: Sequence[str], budgets: Sequence[float]) -> list[dict[str, Any]]:
    """Plan, blocks and validation accuracy of every search at every budget.

    Args:
        line: whose network, noise, block training and chips they share.
        searches: some of ``SEARCHES``; ``random`` is the mean of ``RANDOM_DRAWS`` draws.
        budgets: shares of the network's parameters.

    Returns:
        A row for each, with its ``COSTS``, the search's seconds and the accuracy in percent on each chip, one after the
        other for each draw. Where no block fits a budget, ``refused`` says so instead.

    Raises:
        ConfigurationError: a search or a budget is not one.
    """
    for search in searches:
        require_choice("placements.searches", search, SEARCHES)
    for budget in budgets:
        require(0 < budget <= 1, "placements.budgets", budget, "a share above 0 and up to 1")
    rows = []
    for budget in budgets:
        for search in searches:
            try:
                draws = [_measured(line, search, budget, draw) for draw in range(_draws(search))]
            except ConfigurationError as error:
                if error.field != "placement.budget":
                    raise
                rows.append({"search": search, "budget": budget, "refused": str(error)})
                continue
            rows.append(
                {
                    "search": search,
                    "budget": budget,
                    **{name: statistics.fmean(draw[name] for draw in draws) for name in COSTS},
                    "taps": [draw["taps"] for draw in draws],
                    "seconds": statistics.fmean(draw["seconds"] for draw in draws),
                    "accuracies": [value for draw in draws for value in draw["accuracies"]],
                }
            )
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as text."""
    lines = []
    for row in rows:
        if "refused" in row:
            lines.append([f"{row['budget']:.1%}", row["search"], "no block fits", "", "", ""])
            continue
        values = row["accuracies"]
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        lines.append(
            [
                f"{row['budget']:.1%}",
                row["search"],
                ", ".join(f"{name}:{hidden}" for name, hidden in row["taps"][0].items()),
                f"{row['overhead']:.2%}",
                f"{row['seconds']:.1f}",
                f"{statistics.fmean(values):.2f} +- {deviation:.2f}",
            ]
        )
    return text_table(["budget", "search", "taps:width", "parameters", "search s", "validation %"], lines)


def _draws(search: str) -> int:
    return RANDOM_DRAWS if search == "random" else 1


def _measured(line: SoftwareLine, search: str, budget: float, draw: int) -> dict[str, Any]:
    recipe, noisy = line.recipe, line.noisy
    settings = {
        "search": search,
        "budget": budget,
        "draw": draw,
        "placement": asdict(recipe.placement),
        "blocks": asdict(recipe.blocks),
        "chips": recipe.evaluation.chips,
    }

    def compute(folder: Path) -> dict[str, Any]:
        analog.set_chip(noisy.model, noisy.chip(derive_seed(0, "placement")))
        started = time.perf_counter()
        plan = _plan(line, search, budget, draw)
        seconds = time.perf_counter() - started
        model = denoise.insert(noisy.model, plan, seed=recipe.blocks.seed)
        train_blocks(model, recipe, line.data, noisy, folder)
        values = []
        for chip in recipe.evaluation.chips:
            analog.set_chip(model, noisy.chip(chip))
            values.append(accuracy(model, validation_batches(recipe, line.data)))
        taps = {tap.name: tap.hidden for tap in plan.selected}
        costs = dict(zip(COSTS, (plan.overhead, plan.multiplications, _cycles(plan)), strict=True))
        return {"taps": taps, **costs, "seconds": seconds, "accuracies": values}

    return line.run.stage("compared", settings, (line.noise_result,), compute).values


def _plan(line: SoftwareLine, search: str, budget: float, draw: int) -> placement.Plan:
    recipe, model, data = line.recipe, line.noisy.model, line.data
    kernel, mode, candidates = recipe.blocks.kernel, recipe.blocks.mode, recipe.placement.candidates
    few = data.batches("train", 50, limit=recipe.placement.images)
    if search in ("noise", "gradient"):
        rule: Any = search
        return placement.search(model, few, budget, candidates, kernel=kernel, mode=mode, rule=rule)
    if search == "random":
        return _random_plan(budget, draw, placement.search(model, few, 1.0, candidates, kernel=kernel, mode=mode))
    by_name = {
        "joint": placement.search_jointly,
        "greedy": placement.search_greedily,
        "exhaustive": placement.search_exhaustively,
    }
    limit = None if recipe.blocks.images is None else min(recipe.blocks.images, len(data.train))
    training = placement.BlockTraining(
        recipe.blocks.epochs,
        recipe.blocks.learning_rate,
        recipe.blocks.objective,
        denoise.NoiseLevels(*recipe.blocks.factors),
    )
    batches = data.batches("train", recipe.blocks.batch, shuffle_seed=recipe.blocks.seed, limit=limit)
    # What searches compare by are training images: validation images are for the comparison of the searches.
    return by_name[search](
        model, batches, few, budget, candidates, width=WIDTH, kernel=kernel, mode=mode, training=training
    )[0]


def _cycles(plan: placement.Plan) -> int:
    blocks = [tap.config for tap in plan.selected]
    return sum(max(stage_cycles(REFERENCE, block).values()) * block.pixels for block in blocks)


def _random_plan(budget: float, draw: int, everything: placement.Plan) -> placement.Plan:
    """Candidates in random order, blocks of one width, as long as they fit."""
    taps = [
        replace(tap, config=replace(tap.config, hidden=max(1, round(WIDTH * tap.config.channels))))
        for tap in everything
    ]
    order = random.Random(derive_seed(draw, "random placement")).sample(range(len(taps)), len(taps))
    left, chosen = int(budget * everything.backbone), set()
    for index in order:
        if taps[index].cost <= left:
            chosen.add(index)
            left -= taps[index].cost
    require(len(chosen) > 0, "placement.budget", budget, "enough for one block")
    found = tuple(replace(tap, selected=index in chosen) for index, tap in enumerate(taps))
    return placement.Plan(found, budget, everything.backbone, 1.0)
