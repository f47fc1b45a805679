"""The report of a run: a table, everything in JSON, and plots."""

from __future__ import annotations

import json
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from quietbar import __version__
from quietbar.files import write_atomically

from .exact import Deviation, deviation, probabilities_of
from .run import Plan
from .tally import LAGS, UNIT, VALUES, Tally
from .verdict import BINS, BINS_PER_SIGMA, Row, correlations, grid_probabilities, judge, sixteenths

FORMAT = 1


def number(value: float) -> str:
    """Six digits; counts in full."""
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.6g}"


def table(rows: list[Row]) -> list[list[str]]:
    """Cells of the printed table: statistic, value, limits, verdict."""
    cells = []
    for row in rows:
        limits = f"{number(row.low)} to {number(row.high)}" if row.low else f"up to {number(row.high)}"
        cells.append([row.name, number(row.value), limits, "ok" if row.holds else "OUTSIDE"])
    return cells


def contents(plan: Plan, tally: Tally) -> dict[str, Any]:
    """All results as plain values."""
    samples, squares = correlations(tally)
    exact = deviation(probabilities_of(plan.kind))
    return {
        "format": FORMAT,
        "quietbar": __version__,
        **asdict(plan),
        "command": f"quietbar gaussian-report --kind {plan.kind} --seed {plan.seed} --count {plan.count}",
        "statistics": [row.to_dict() for row in judge(tally)],
        "sixteenths": np.add.reduceat(tally.counts, sixteenths()).tolist(),
        "autocorrelation": [round(each, 6) for each in samples.tolist()],
        "autocorrelation of squares": [round(each, 6) for each in squares.tolist()],
        "largest magnitude": int(np.abs(VALUES[tally.counts > 0]).max()),
        "exact distribution": {**asdict(exact), "chi-square visible from": exact.visible_from},
    }


def exact_lines(exact: Deviation) -> list[str]:
    """What is known of a source's distribution without sampling."""
    tails = ", ".join(f"{each:+.1e}" for each in exact.tails)
    return [
        f"exact distribution: variance {exact.variance:+.2e}, fourth moment {exact.fourth_moment:+.2e}, "
        f"largest difference of the distribution functions {exact.distance:.2e}",
        f"    tails beyond 3, 4, 5, 6, 7 sigma off by {tails}; chi-square shifts by one deviation at "
        f"{exact.visible_from:.1e} samples",
    ]


def write(plan: Plan, tally: Tally, folder: Path) -> list[Path]:
    """Write ``report.json`` and ``report.svg``, each whole or not at all; the plots only where matplotlib is."""
    json_file, plots = folder / "report.json", folder / "report.svg"
    write_atomically(json_file, json.dumps(contents(plan, tally), indent=1) + "\n")
    try:
        drawing = draw(plan, tally)
    except ModuleNotFoundError:
        return [json_file]
    write_atomically(plots, drawing)
    return [json_file, plots]


def draw(plan: Plan, tally: Tally) -> str:
    """Density, residuals by bin, tails and autocorrelation, as SVG; the same text for the same tally."""
    import matplotlib
    from matplotlib.figure import Figure

    total, probabilities = tally.samples, grid_probabilities()
    expected = total * probabilities
    with matplotlib.rc_context({"svg.hashsalt": "quietbar", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure = Figure(figsize=(11, 7), layout="constrained")
        figure.suptitle(f"{plan.kind}, seed {plan.seed}, {total:,} samples")
        density, residuals, tails, lags = figure.subplots(2, 2).flat

        # Lines without marks and outlines instead of bars: a tenth of the file.
        edges = np.arange(-8 * UNIT, 8 * UNIT, UNIT // BINS_PER_SIGMA) - VALUES[0]
        seen, wanted = (np.add.reduceat(each, edges)[:-1] for each in (tally.counts, expected))
        places = (VALUES[edges] - 0.5) / UNIT
        density.stairs(np.where(wanted < 0.5, np.nan, wanted), places, color="0.7", linewidth=3, label="N(0, 1)")
        density.stairs(np.where(seen, seen, np.nan), places, label="found")
        density.set(
            title="samples in bins of 1/16 sigma", xlabel="sigma", yscale="log", xlim=(-6.5, 6.5), ylim=(0.5, None)
        )
        density.legend()

        bins = sixteenths()
        seen, wanted = np.add.reduceat(tally.counts, bins), np.add.reduceat(expected, bins)
        places = (np.arange(BINS + 1) - BINS / 2) / BINS_PER_SIGMA
        residuals.stairs((seen - wanted) / np.sqrt(wanted), places, fill=True)
        residuals.set(title="residual of each bin of the chi-square, standard errors", xlabel="sigma")

        places = np.arange(8, 16 * 7) / 16
        counted = [int(tally.counts[np.abs(VALUES) >= place * UNIT].sum()) for place in places]
        ideal = np.array([expected[np.abs(VALUES) >= place * UNIT].sum() for place in places])
        shown = ideal > 4
        places, ratio, error = places[shown], (counted / ideal)[shown], 3.29 / np.sqrt(ideal[shown])
        tails.fill_between(places, 1 - error, 1 + error, color="0.85", label="99.9 %")
        tails.plot(places, ratio, label="found / ideal")
        tails.set(title="samples beyond so many sigma", xlabel="sigma", ylim=(0.5, 1.5))
        tails.legend()

        for values, name in zip(correlations(tally), ("samples", "squares"), strict=True):
            lags.plot(np.arange(1, LAGS + 1), values, linewidth=1, label=name)
        for limit in (-4, 4):
            lags.axhline(limit, color="0.6", linewidth=0.8)
        lags.set(title="autocorrelation times sqrt(N)", xlabel="lag", ylim=(-5, 5))
        lags.legend()
        buffer = StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()
