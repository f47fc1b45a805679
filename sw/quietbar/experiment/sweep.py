"""Sweeps: recipes times values of their keys (seeds, budgets, ...), spread over the workers of a Dask cluster.

Results are addressed by the hash of recipe, code and data: a sweep's folder has one folder for the code's hash, in it
the stages of :class:`~quietbar.experiment.folder.RunFolder`, whose keys hold settings and the data's digest. So what
was finished is never run again, points share the stages that they have in common, and a point whose worker died is
taken up by another where its last checkpoint was.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

import quietbar
from quietbar.configuration import from_mapping
from quietbar.contract.errors import require
from quietbar.files import write_atomically

from .recipe import Recipe, read_recipe

SOURCES = (".py", ".cpp", ".h")
TABLE = "sweep.json"


@dataclass(frozen=True)
class Point:
    """A recipe with values of its keys.

    Attributes:
        name: the recipe's file, and what was put in its place.
        recipe: the whole.
    """

    name: str
    recipe: Recipe


def code_digest() -> str:
    """Hash of the sources of quietbar and of PyTorch's version: with another one, results may differ."""
    root = Path(quietbar.__file__).parent
    digest = hashlib.sha256(torch.__version__.encode())
    for path in sorted(root.rglob("*")):
        if path.suffix in SOURCES:
            digest.update(f"\0{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def points(recipes: Iterable[Path | str], over: Mapping[str, Sequence[str]], fixed: Sequence[str] = ()) -> list[Point]:
    """Every recipe with every combination of values.

    Args:
        recipes: TOML files.
        over: for keys such as ``"blocks.seed"`` the values that each takes, in TOML.
        fixed: overrides of all points, such as ``"blocks.epochs=1"``.

    Raises:
        QuietbarError, ConfigurationError: one of them is no recipe; the key is named.
    """
    found = []
    for path in recipes:
        for values in itertools.product(*over.values()):
            chosen = [f"{key}={value}" for key, value in zip(over, values, strict=True)]
            found.append(Point(" ".join([str(path), *chosen]), read_recipe(path, [*fixed, *chosen])))
    names = [point.name for point in found]
    require(bool(names), "sweep.points", len(names), "at least one")
    require(len(set(names)) == len(names), "sweep.points", names, "different from each other")
    return found


def run_point(recipe: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """Run the software line of a recipe (its plain values) up to its table; what came of it. Runs on a worker."""
    from .line import SoftwareLine

    line = SoftwareLine(from_mapping(Recipe, recipe), Path(folder))
    accuracies = {name: list(column.accuracies) for name, column in line.columns.items()}
    return {"key": line.accuracy_result.key, "overhead": line.plan.overhead, "accuracies": accuracies}


def sweep(
    wanted: Sequence[Point], folder: Path, client: Any, tell: Callable[[str], None] = lambda line: None
) -> dict[str, Any]:
    """Run points on a cluster whose workers see the same files; their results, also in ``folder / "sweep.json"``.

    Args:
        wanted: the points.
        folder: of all results, also those of other sweeps.
        client: a ``distributed.Client``. What its workers died of is not asked: the cluster gives their points to
            others, up to its limit of ``distributed.scheduler.allowed-failures``.
        tell: is given a line for each finished point.

    Raises:
        Whatever a point raised; the others are kept.
    """
    from distributed import as_completed

    code = code_digest()
    root = str((folder / f"code-{code}").absolute())
    futures = [client.submit(run_point, asdict(point.recipe), root, pure=False) for point in wanted]
    places = {future.key: place for place, future in enumerate(futures)}
    found: dict[int, dict[str, Any]] = {}
    result: dict[str, Any] = {}
    for future in as_completed(futures):
        place = places[future.key]
        found[place] = future.result()
        tell(f"[{len(found)}/{len(wanted)}] {wanted[place].name}")
        rows = [{"point": wanted[at].name, **found[at]} for at in sorted(found)]
        result = {"code": code, "complete": len(found) == len(wanted), "points": rows}
        write_atomically(folder / TABLE, json.dumps(result, indent=1) + "\n")
    return result
