"""Run recipes over values of their keys, such as seeds and budgets, on several workers at a time.

    quietbar sweep recipes/digits.toml --over blocks.seed=0,1,2 --over placement.budget=0.02,0.05 --workers 2

Workers are processes of this machine, or those of a Dask cluster (--scheduler) that see the same files. Nothing runs
twice: results are addressed by the hash of recipe, code and data, and a worker that dies loses nothing. Needs the extra
quietbar[sweep].
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the recipes, the values and the workers."""
    parser.add_argument("recipes", type=Path, nargs="+", metavar="RECIPE", help="TOML files")
    parser.add_argument(
        "--over", action="append", default=[], metavar="KEY=V,V,...", help="values (TOML) of a key; may be repeated"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides", help="for all points; repeatable"
    )
    parser.add_argument("--workers", type=int, default=2, help="processes on this machine (%(default)s)")
    parser.add_argument("--scheduler", help="address of a Dask scheduler, instead of processes here")
    parser.add_argument("--folder", type=Path, default=Path("build/sweep"), help="of all results (%(default)s)")


def split_values(text: str) -> list[str]:
    """Values apart by commas; those within brackets or braces belong to a value."""
    values, depth = [""], 0
    for character in text:
        depth += (character in "[{") - (character in "]}")
        if character == "," and depth == 0:
            values.append("")
        else:
            values[-1] += character
    return values


def execute(arguments: argparse.Namespace) -> int:
    """Run what is not done yet and print a table."""
    from quietbar.contract.errors import QuietbarError, require, require_integer
    from quietbar.experiment.results import text_table
    from quietbar.experiment.sweep import TABLE, points, sweep
    from quietbar.toolchain import pip_command

    require_integer("--workers", arguments.workers, 1, 1024)
    over: dict[str, list[str]] = {}
    for each in arguments.over:
        key, equals, values = each.partition("=")
        require(bool(equals and key and values) and key not in over, "--over", each, "KEY=V,V,..., each key once")
        over[key] = split_values(values)
    wanted = points(arguments.recipes, over, arguments.overrides)
    try:
        import distributed
    except ModuleNotFoundError as error:
        raise QuietbarError(f"distributed is not installed: {pip_command('distributed')}") from error
    where: dict[str, Any] = {"address": arguments.scheduler}
    if arguments.scheduler is None:
        where = {"n_workers": arguments.workers, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.Client(**where) as client:
        found = sweep(wanted, arguments.folder, client, lambda line: print(line, flush=True))
    names = list(found["points"][0]["accuracies"])
    rows = [
        [each["point"], *(f"{sum(column) / len(column):.2f}" for column in each["accuracies"].values())]
        for each in found["points"]
    ]
    print(text_table(["point", *names], rows))
    print(arguments.folder / TABLE)
    return 0
