"""A study's results as Markdown and as a plot, from its JSON alone."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from quietbar.files import atomic_file

from .study import mean

Values = dict[str, Any]
UNIT = "layer(inf)"
"""In the plot, loss sharpness is in units of the layer's largest weight, as the noise is."""


def markdown(results: Values) -> str:
    """The tables: test accuracy, devices, loss sharpness, the grids, and how sharpness goes with robustness."""
    study = results["study"]
    parts = [f"# {study['name']}", _about(results)]
    parts.append(_accuracy_table(results))
    if study["devices"] is not None:
        parts.append(f"## Weights held by `{study['devices']['name']}`\n\n" + _device_table(results))
    parts.append("## Loss sharpness\n\n" + _sharpness_table(results))
    parts.append("## Grids\n\n" + _grid_table(results))
    parts.append("## Sharpness and robustness\n\n" + _correlation_table(results))
    return "\n\n".join(parts) + "\n"


def _about(results: Values) -> str:
    study = results["study"]
    data, noise, training = study["data"], study["noise"], study["training"]
    start = "published weights, fine-tuned" if study["network"]["pretrained"] else "from scratch"
    counts = ", ".join(f"{data[name] or 'all'} {name}" for name in ("train", "validation", "test"))
    state = "" if results["complete"] else "\n\n**Not finished: rows and seeds are missing.**"
    return (
        f"{study['network']['name']} on {data['name']} ({counts} images), {start}; {training['epochs']} epochs unless "
        f"said otherwise, batches of {training['batch']}. Accuracy in % on test images under conductance noise of "
        f"sigma times the layer's largest weight: mean over chips {_list(noise['chips'])}, then mean and deviation "
        f"over training seeds. Strengths chosen by validation accuracy at sigma {_list(noise['choice'])} on chips "
        f"{_list(noise['validation_chips'])}, with seed {study['seeds'][0]}.{state}"
    )


def _finals(results: Values) -> dict[str, list[Values]]:
    """The runs of each method at its chosen strength that have met the test images."""
    finals: dict[str, list[Values]] = {}
    for run in results["runs"]:
        name = run["method"]
        chosen = name in results["chosen"] and results["chosen"][name] == run["strength"]
        if chosen and "test" in run and "diverged" not in run["test"]:
            finals.setdefault(name, []).append(run)
    return finals


def _accuracy_table(results: Values) -> str:
    sweep = results["study"]["noise"]["sweep"]
    head = [
        "method",
        "strength",
        "seeds",
        "gradient evaluations",
        *(f"sigma {sigma:g}" for sigma in sweep),
        "over chips",
    ]
    rows = []
    for name, runs in _finals(results).items():
        levels = [
            _spread([mean(run["test"]["accuracy"][index]["accuracies"]) for run in runs]) for index in range(len(sweep))
        ]
        # At the last level of the choice: how far one chip is from another.
        last = sweep.index(results["study"]["noise"]["choice"][-1])
        chips = mean([_deviation(run["test"]["accuracy"][last]["accuracies"]) for run in runs])
        evaluations = runs[0]["training"]["gradient evaluations"]
        rows.append([name, _strength(runs[0]["strength"]), str(len(runs)), f"{evaluations:,}", *levels, f"{chips:.2f}"])
    return _table(head, rows) + (
        f"\n\nThe last column is the deviation over chips at sigma {results['study']['noise']['choice'][-1]:g}, "
        "mean over seeds. A gradient evaluation is one batch forward and back."
    )


def _device_table(results: Values) -> str:
    times = [_time(seconds) for seconds in results["study"]["devices"]["seconds"]]
    rows = []
    for name, runs in _finals(results).items():
        measured = [run["devices"]["accuracy"] for run in runs if "devices" in run]
        if measured:
            ages = [_spread([mean(ages[index]["accuracies"]) for ages in measured]) for index in range(len(times))]
            rows.append([name, _strength(runs[0]["strength"]), str(len(measured)), *ages])
    return _table(["method", "strength", "seeds", *times], rows) + (
        "\n\nAccuracy in % on test images so long after programming, on the same chips; batch normalization folded."
    )


def _time(seconds: float) -> str:
    """In the largest unit that goes into it, months of 30 days."""
    units = (("month", 2_592_000), ("day", 86_400), ("h", 3_600), ("s", 1))
    unit, length = next((each for each in units if seconds >= each[1]), units[-1])
    return f"{seconds / length:g} {unit}"


def _sharpness_table(results: Values) -> str:
    finals = _finals(results)
    units = list(next(iter(finals.values()))[0]["sharpness"]) if finals else []
    rows = [
        [name, *(_spread([run["sharpness"][unit] for run in runs], 4) for unit in units)]
        for name, runs in finals.items()
    ]
    return _table(["method", *(f"in units of {unit}" for unit in units)], rows)


def _grid_table(results: Values) -> str:
    study, rows = results["study"], []
    seed = study["seeds"][0]
    for method in study["methods"]:
        grid = sorted(strength for strength in method["grid"] or [None] if strength is not None)
        for run in results["runs"]:
            if run["method"] != method["name"] or run["seed"] != seed or "validation" not in run:
                continue
            if "diverged" in run["validation"]:
                rows.append([method["name"], _strength(run["strength"]), "diverged", "", ""])
                continue
            clean, score = _clean_and_noisy(results, run)
            is_chosen = method["name"] in results["chosen"] and results["chosen"][method["name"]] == run["strength"]
            at_edge = len(grid) > 1 and run["strength"] in (grid[0], grid[-1])
            mark = ["chosen, at the edge of the grid" if at_edge else "chosen"] if is_chosen and grid else []
            if skipped := run["training"]["skipped steps"]:
                mark.append(f"{skipped} steps skipped")
            figures = [f"{clean:.2f}", f"{score:.2f}", "; ".join(mark)]
            rows.append([method["name"], _strength(run["strength"]), *figures])
    return _table(["method", "strength", "validation, clean", "validation, noisy", ""], rows)


def correlations(results: Values) -> dict[str, dict[str, float]]:
    """By units of sharpness: Spearman's and Pearson's coefficient between it and the validation accuracy lost to noise.

    Over all trained networks of the study, those of the grids included; ``"networks"`` is their number.
    """
    from scipy import stats

    lost, units = lost_and_sharpness(results)
    if len(lost) < 3 or len(set(lost)) < 2:
        return {}  # too few, or no network is more robust than another
    found = {}
    for unit, sharpness in units.items():
        rank, line = stats.spearmanr(sharpness, lost), stats.pearsonr(sharpness, lost)
        found[unit] = {"spearman": float(rank.statistic), "pearson": float(line.statistic), "networks": len(lost)}
    return found


def pooled_correlations(studies: Sequence[Values]) -> dict[str, dict[str, float]]:
    """By units of sharpness: the correlation of ranks over the networks of several studies.

    A network's ranks, in sharpness and in the points it loses, are those within its own study, from 0 to 1: studies
    differ in data, network and noise. (Over one study this is Spearman's coefficient.)
    """
    from scipy import stats

    pairs: dict[str, tuple[list[float], list[float]]] = {}
    for results in studies:
        lost, units = lost_and_sharpness(results)
        for unit, sharpness in units.items():
            for whole, part in zip(pairs.setdefault(unit, ([], [])), (sharpness, lost), strict=True):
                whole.extend((stats.rankdata(part) - 1) / max(len(part) - 1, 1))
    return {
        unit: {"spearman": float(stats.pearsonr(sharpness, lost).statistic), "networks": len(lost)}
        for unit, (sharpness, lost) in pairs.items()
    }


def lost_and_sharpness(results: Values) -> tuple[list[float], dict[str, list[float]]]:
    """Of every measured network the points of validation accuracy lost to noise, and by units its loss sharpness."""
    runs = _measured(results)
    pairs = [_clean_and_noisy(results, run) for run in runs]
    units = list(runs[0]["sharpness"]) if runs else []
    return [clean - noisy for clean, noisy in pairs], {unit: [run["sharpness"][unit] for run in runs] for unit in units}


def _measured(results: Values, method: str | None = None) -> list[Values]:
    """The runs, or those of a method, whose accuracy and sharpness are known."""
    runs = [run for run in results["runs"] if {"validation", "sharpness"} <= set(run)]
    return [run for run in runs if "accuracy" in run["validation"] and method in (None, run["method"])]


def _clean_and_noisy(results: Values, run: Values) -> tuple[float, float]:
    """Validation accuracy without noise, and its mean over the levels that choose."""
    levels = {level["sigma"]: mean(level["accuracies"]) for level in run["validation"]["accuracy"]}
    return levels[0.0], mean([levels[sigma] for sigma in results["study"]["noise"]["choice"]])


def _correlation_table(results: Values) -> str:
    rows = [
        [unit, f"{values['spearman']:+.2f}", f"{values['pearson']:+.2f}", str(values["networks"])]
        for unit, values in correlations(results).items()
    ]
    return "Loss sharpness against the points of validation accuracy lost to noise:\n\n" + _table(
        ["sharpness in units of", "Spearman", "Pearson", "networks"], rows
    )


def plot(results: Values, path: Path) -> None:
    """Test accuracy over noise, lost accuracy over sharpness, and noisy over clean accuracy, as SVG."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "quietbar"
    from matplotlib import pyplot

    figure, (left, middle, right) = pyplot.subplots(1, 3, figsize=(15, 4.5), layout="constrained")
    sweep = results["study"]["noise"]["sweep"]
    for name, runs in _finals(results).items():
        values = [[mean(level["accuracies"]) for level in run["test"]["accuracy"]] for run in runs]
        means = [mean(column) for column in zip(*values, strict=True)]
        errors = [_deviation(column) for column in zip(*values, strict=True)]
        left.errorbar(sweep, means, errors, capsize=2, marker="o", markersize=3, label=name)
    left.set(xlabel="sigma, in units of the layer's largest weight", ylabel="test accuracy, %")
    if left.has_data():
        left.legend(fontsize=8)
    for method in results["study"]["methods"]:
        runs = _measured(results, method["name"])
        pairs = [_clean_and_noisy(results, run) for run in runs]
        # Sharpness below 0 has no place on the logarithmic axis.
        points = [
            (run["sharpness"][UNIT], clean - noisy)
            for run, (clean, noisy) in zip(runs, pairs, strict=True)
            if run["sharpness"][UNIT] > 0
        ]
        middle.scatter([x for x, _ in points], [y for _, y in points], s=14, label=method["name"])
        right.scatter([x for x, _ in pairs], [y for _, y in pairs], s=14, label=method["name"])
    middle.set(xlabel=f"loss sharpness, in units of {UNIT}", ylabel="validation accuracy lost to noise, points")
    if any(len(each.get_offsets()) for each in middle.collections):
        middle.set_xscale("log")
    levels = _list(results["study"]["noise"]["choice"])
    right.set(xlabel="validation accuracy, %", ylabel=f"validation accuracy at sigma {levels}, %")
    with atomic_file(path) as stream:
        figure.savefig(stream, format="svg", metadata={"Date": None})
    pyplot.close(figure)


def _deviation(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def _spread(values: Sequence[float], digits: int = 2) -> str:
    text = f"{mean(values):.{digits}f}"
    return text + (f" ± {_deviation(values):.{digits}f}" if len(values) > 1 else "")


def _list(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _strength(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    line: Callable[[Sequence[str]], str] = lambda cells: "| " + " | ".join(cells) + " |"  # noqa: E731
    return "\n".join([line(head), "|" + "---|" * len(head), *map(line, rows)])
