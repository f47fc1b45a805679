"""The report of a run: one HTML file that needs nothing beside it."""

from __future__ import annotations

import html
import io
import json
from collections.abc import Sequence
from typing import Any

from .results import Results, SweepPoint

NOISY, DENOISED, CHOSEN, LEFT = "#b3541e", "#1f6f78", "#1f6f78", "#c9c9c9"

STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1d2327; background: #fff;
       margin: 2.5rem auto; max-width: 60rem; padding: 0 1rem; }
h1 { font-size: 1.7rem; margin: 0; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
p.lead { color: #53606a; margin: .3rem 0 1.5rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .6rem; text-align: right; border-bottom: 1px solid #e3e6e8; }
th { font-weight: 600; color: #53606a; } th:first-child, td:first-child { text-align: left; }
tr.off td { color: #8a949b; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .8rem; margin: 1.2rem 0; }
.tile { border: 1px solid #e3e6e8; border-radius: .5rem; padding: .7rem .9rem; }
.tile b { display: block; font-size: 1.4rem; }
.tile > span { color: #53606a; font-size: .9rem; } .bad { color: #a4161a; }
figure { margin: 0; } figure svg { width: 100%; height: auto; } figcaption, .note { color: #53606a; font-size: .9rem; }
pre { background: #f5f6f7; padding: .8rem; border-radius: .5rem; overflow-x: auto; font-size: .85rem; }
"""


def render(results: Results) -> str:
    """The report as HTML text."""
    sections = [
        _head(results),
        _section("Accuracy on test images", _accuracy(results)),
        _section("Accuracy against noise", _sweep(results)),
        _section("Where the blocks went", _placement(results)),
    ]
    if results.comparisons:
        sections.append(_section("Every bit of the RTL, compared", _comparisons(results)))
    if results.blocks:
        sections.append(_section("The blocks in hardware", _blocks(results)))
    sections.append(_section("How to get this again", _provenance(results)))
    title = html.escape(f"quietbar: {results.name}")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>\n<body>'
        + "\n".join(sections)
        + "</body></html>\n"
    )


def _section(title: str, body: str) -> str:
    return f"<h2>{html.escape(title)}</h2>\n{body}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], off: Sequence[bool] = ()) -> str:
    dimmed = list(off) or [False] * len(rows)
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    body = "".join(
        f"<tr{' class=off' if dim else ''}>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
        for row, dim in zip(rows, dimmed, strict=True)
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _head(results: Results) -> str:
    clean, noisy, last = results.columns[0], results.columns[1], results.columns[-1]
    tiles = [
        (f"{clean.mean:.1f} %", "clean accuracy"),
        (f"{noisy.mean:.1f} %", "on the noisy hardware"),
        (f"{last.mean:.1f} %", html.escape(last.name)),
        (f"{results.share:.2f} %", "more parameters"),
    ]
    if results.comparisons:
        mark = ' class="bad"' if results.differing else ""
        tiles.append((f"<span{mark}>{results.differing}</span>", f"of {results.bits:,} RTL bits differ"))
    cells = "".join(f'<div class="tile"><b>{value}</b><span>{label}</span></div>' for value, label in tiles)
    lead = (
        f"{results.network}, {results.variation}, {len(results.chips)} chip instances, "
        f"{results.test_images} test images"
    )
    return (
        f'<h1>{html.escape(results.name)}</h1><p class="lead">{html.escape(lead)}</p><div class="tiles">{cells}</div>'
    )


def _accuracy(results: Results) -> str:
    clean = results.columns[0].mean
    header = ["", "accuracy %", "points from clean", *(f"chip {chip}" for chip in results.chips)]
    rows = []
    for index, column in enumerate(results.columns):
        single = len(column.accuracies) == 1
        chips = [""] * len(results.chips) if single else [f"{value:.2f}" for value in column.accuracies]
        rows.append([column.name, column.text(), "" if index == 0 else f"{column.mean - clean:+.2f}", *chips])
    return _table(header, rows) + '<p class="note">Mean and standard deviation over chip instances.</p>'


def _sweep(results: Results) -> str:
    caption = "Validation images. Bands: one standard deviation over chip instances. Dashed: the level of the table."
    return f"<figure>{_sweep_plot(results.sweep, results.sigma)}<figcaption>{caption}</figcaption></figure>"


def _placement(results: Results) -> str:
    rows = [[tap.name, f"{tap.score:.4g}", str(tap.hidden), str(tap.cost), tap.verdict] for tap in results.placement]
    off = [tap.verdict != "block" for tap in results.placement]
    share = f"{results.block_parameters} of {results.network_parameters} parameters, {results.share:.2f} %"
    plot = _placement_plot([tap.name for tap in results.placement], [tap.score for tap in results.placement], off)
    return (
        _table(["tap", "score", "hidden width", "parameters", "verdict"], rows, off)
        + f'<p class="note">Blocks: {share}.</p><figure>{plot}</figure>'
    )


def _comparisons(results: Results) -> str:
    rows = [
        [entry.name, f"{entry.outputs:,}", f"{entry.bits:,}", f"{entry.differing:,}", f"{entry.cycles:,}"]
        for entry in results.comparisons
    ]
    rows.append(
        ["all", f"{sum(c.outputs for c in results.comparisons):,}", f"{results.bits:,}", f"{results.differing:,}", ""]
    )
    return _table(["", "outputs", "bits compared", "bits differing", "cycles"], rows)


def _blocks(results: Results) -> str:
    rows = [
        [
            block.tap,
            block.shape,
            f"{block.cycles_per_frame:.2f}",
            f"{block.cycles_predicted:.2f}",
            str(block.multipliers),
            f"{100 * block.utilization:.1f} %",
        ]
        for block in results.blocks
    ]
    table = _table(["tap", "shape", "cycles a frame", "predicted", "multipliers", "useful multiplier cycles"], rows)
    if results.target:
        table += f'<p class="note">An engine for all blocks: {html.escape(results.target)}</p>'
    names = sorted({name for block in results.blocks for name in block.resources})
    if not names:
        return table
    counts = [[block.tap, *(str(block.resources.get(name, "")) for name in names)] for block in results.blocks]
    return (
        table
        + '<p class="note">Resources, Lattice ECP5 cells as counted by Yosys:</p>'
        + _table(["tap", *names], counts)
    )


def _provenance(results: Results) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in sorted(results.versions.items()))
    recipe = html.escape(json.dumps(results.recipe, indent=1))
    return (
        f"<pre>{html.escape(results.command)}</pre><p class=note>{html.escape(versions)}</p>"
        f"<details><summary>The recipe</summary><pre>{recipe}</pre></details>"
    )


def _figure(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _svg(figure: Any) -> str:
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "quietbar", "svg.fonttype": "none", "font.family": "sans-serif"}):
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _sweep_plot(points: Sequence[SweepPoint], level: float) -> str:
    import numpy

    figure, axes = _figure(8, 3.6)
    static = not any(point.sigma for point in points)
    levels = [point.factor or 0.0 if static else point.sigma for point in points]
    curves = [
        ("without blocks", NOISY, [point.noisy for point in points]),
        ("with blocks", DENOISED, [point.denoised for point in points]),
    ]
    for label, color, values in curves:
        means = numpy.array([numpy.mean(chips) for chips in values])
        deviations = numpy.array([numpy.std(chips, ddof=1) if len(chips) > 1 else 0.0 for chips in values])
        axes.plot(levels, means, "o-", color=color, label=label)
        axes.fill_between(levels, means - deviations, means + deviations, color=color, alpha=0.15, linewidth=0)
    axes.axvline(1.0 if static else level, color="#53606a", linestyle="--", linewidth=1)
    axes.set_xlabel("mismatch, in units of the table's" if static else "sigma of the temporal noise")
    axes.set_ylabel("accuracy %")
    axes.grid(axis="y", color="#e3e6e8")
    axes.legend(frameon=False)
    return _svg(figure)


def _placement_plot(names: Sequence[str], scores: Sequence[float], off: Sequence[bool]) -> str:
    figure, axes = _figure(8, 0.6 + 0.28 * len(names))
    colors = [LEFT if dim else CHOSEN for dim in off]
    axes.barh(range(len(names)), scores, color=colors)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("score (colored: chosen)")
    return _svg(figure)
