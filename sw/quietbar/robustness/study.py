"""A study from recipe to results: every run a process, nothing run twice, strengths chosen on validation images."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from quietbar.contract.errors import QuietbarError, require, require_integer
from quietbar.data import Dataset, load
from quietbar.experiment.compatibility import require_compatible
from quietbar.experiment.folder import StageResult, say
from quietbar.models import create, load_pretrained

from .processor import processor
from .recipe import StudyMethod, StudyRecipe
from .run import Run, Runner

STUDIES = Path("build/robustness")
"""Where studies are kept, one folder a recipe's name, unless told otherwise."""


def mean(values: Sequence[float]) -> float:
    """Their arithmetic mean."""
    return sum(values) / len(values)


class Study:
    """The runs of a recipe, in a folder that remembers what was done."""

    def __init__(self, recipe: StudyRecipe, folder: Path | None = None, announce: Callable[[str], None] = say) -> None:
        """
        Raises:
            ConfigurationError: the recipe's processor is not here, or a file is where the folder should be.
        """
        processor(recipe.processor)
        self.recipe = recipe
        self.folder = folder if folder is not None else STUDIES / recipe.name
        nearest = next(path for path in (self.folder, *self.folder.absolute().parents) if path.exists())
        require(nearest.is_dir(), "folder", str(self.folder), f"a folder's name: {nearest} is a file")
        self.announce = announce

    @cached_property
    def data(self) -> Dataset:
        """The data set."""
        return load(self.recipe.data.name, self.recipe.data.seed)

    @cached_property
    def runner(self) -> Runner:
        """What knows where a run's results are."""
        return Runner(self.recipe, self.data, self.folder, lambda text: None)

    @property
    def tests(self) -> tuple[str, ...]:
        """The stages that meet test images."""
        return ("test",) if self.recipe.devices is None else ("test", "devices")

    def execute(self, jobs: int = 1) -> dict[str, Any]:
        """Do all that is not done yet and return :meth:`results`.

        First the grids with the first seed; then every method's chosen strength with all seeds, on test images too.

        Args:
            jobs: processes at a time.

        Raises:
            ConfigurationError: before any run: the network is not one for the data's images and classes.
            QuietbarError: a run failed; what the others have finished is kept.
        """
        require_integer("jobs", jobs, 1, 1024)
        first = self.recipe.seeds[0]
        grid = [Run(method, strength, first) for method in self.recipe.methods for strength in method.strengths]
        self._carry_out(grid, ("validation", "sharpness"), jobs)
        final = []
        for seed in self.recipe.seeds:
            for method in self.recipe.methods:
                found, strength = self.chosen(method)
                if found:
                    final.append(Run(method, strength, seed))
        self._carry_out(final, ("validation", "sharpness", *self.tests), jobs)
        return self.results()

    def chosen(self, method: StudyMethod) -> tuple[bool, float | None]:
        """Whether the method's grid is finished (and not all of it diverged), and the strength that it chose.

        The one with the highest mean accuracy on validation images over ``noise.choice`` and the validation chips; of
        several the smallest.
        """
        scores = {}
        for strength in method.strengths:
            stages = self.runner.found(Run(method, strength, self.recipe.seeds[0]))
            if "validation" not in stages:
                return False, None
            if "diverged" not in stages["validation"].values:
                scores[strength] = self._score(stages["validation"])
        if not scores:
            return False, None
        best = max(scores.values())
        return True, min((s for s, score in scores.items() if score == best), key=lambda s: 0.0 if s is None else s)

    def _score(self, validation: StageResult) -> float:
        choice = self.recipe.noise.choice
        return mean([mean(level["accuracies"]) for level in validation.values["accuracy"] if level["sigma"] in choice])

    def results(self) -> dict[str, Any]:
        """What is finished, as plain values: the recipe, every run with its stages' values, and what was chosen."""
        runs, chosen, complete = [], {}, True
        for method in self.recipe.methods:
            found, strength = self.chosen(method)
            complete &= found
            if found:
                chosen[method.name] = strength
            for each in method.strengths:
                for seed in self.recipe.seeds:
                    stages = self.runner.found(Run(method, each, seed))
                    if found and each == strength:
                        complete &= {"sharpness", *self.tests} <= set(stages)
                    if stages:
                        values = {name: stage.values for name, stage in stages.items()}
                        runs.append({"method": method.name, "strength": each, "seed": seed, **values})
        return {
            "study": _plain(asdict(self.recipe)),
            "data": self.data.digest,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "complete": complete,
            "chosen": chosen,
            "runs": runs,
        }

    def _carry_out(self, runs: Sequence[Run], stages: tuple[str, ...], jobs: int) -> None:
        left = [run for run in runs if not set(stages) <= set(self.runner.found(run))]
        if left:
            self._require_compatible()
        with ThreadPoolExecutor(jobs) as pool:
            done = len(runs) - len(left)
            futures = [
                pool.submit(self._start, run, stages, f"[{done + number}/{len(runs)}] {run}")
                for number, run in enumerate(left, 1)
            ]
            try:
                finished, _ = wait(futures, return_when=FIRST_EXCEPTION)
                for future in finished:
                    future.result()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _require_compatible(self) -> None:
        network, classes = self.recipe.network, len(self.data.classes)
        model = load_pretrained(network.name) if network.pretrained else create(network.name, classes)
        require_compatible("network.name", network.name, model, self.data)

    def _start(self, run: Run, stages: tuple[str, ...], label: str) -> None:
        self.announce(label)
        order = {
            "recipe": asdict(self.recipe),
            "folder": str(self.folder),
            "method": run.method.name,
            "strength": run.strength,
            "seed": run.seed,
            "stages": list(stages),
        }
        process = subprocess.run(
            [sys.executable, "-m", "quietbar.robustness.worker"],
            input=json.dumps(order),
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if process.returncode != 0:
            why = (process.stderr.strip().splitlines() or [f"its process ended with status {process.returncode}"])[-1]
            raise QuietbarError(f"run {run}: {why}; call again to go on")


def _plain(value: Any) -> Any:
    """``value`` with infinity, which JSON has not, in words."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return "inf" if value == float("inf") else value
