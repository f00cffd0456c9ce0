"""The plots of ``nttt report``.

They show a metric against shots, and bars for every category.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from no_time_to_train.errors import counted
from no_time_to_train.files.atomic import replacing
from no_time_to_train.reports.published import PublishedValue
from no_time_to_train.reports.summarize import ReportRow, curve_of_paper, headline_metric, shown_metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colors, which color-blind people can tell apart; their yellow is too pale for lines.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = ("o", "s", "^", "v", "P", "X")
_PAPER_COLOR = "#444444"
_MAX_BARS = 40
_LEGEND_CHARACTERS = 56
"""Characters of a legend's line below each panel."""
_LINE_INCHES = 0.23
"""Height of a line of a legend or title."""
_TITLE_CHARACTERS = 78
_DPI = 150
_STYLE: Any = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.7,
}


def plot_shots(rows: Sequence[ReportRow], path: Path) -> None:
    """Plot the headline metric against shots, a line per models and variant.

    Its counterpart for masks is plotted beside it.

    Bars are the sample standard deviation over seeds. Where the paper's curve is known it is drawn, with a band for
    its standard deviation.

    Args:
        rows: of one part of one benchmark.
        path: PNG file.
    """
    metric = headline_metric(rows)
    counterpart = metric.replace("box ", "mask ")
    names = [metric, counterpart] if counterpart != metric and counterpart in shown_metrics(rows) else [metric]
    labels = list(dict.fromkeys(row.label for row in rows))
    wrapped = [textwrap.fill(label, _LEGEND_CHARACTERS * len(names)) for label in labels]
    num_lines = 1 + sum(text.count("\n") + 1 for text in wrapped)
    figure, panels = _figure(len(names), width=4.6 * len(names) + 0.4, height=3.7 + _LINE_INCHES * num_lines)
    for axes, name in zip(panels, names, strict=True):
        curve = curve_of_paper(rows, name)
        if curve:
            _draw_curve_of_paper(axes, curve)
        for number, label in enumerate(labels):
            shown = [row for row in rows if row.label == label and name in row.metrics]
            # Lines stand a little apart, so that bars at the same shots can be told from one another.
            _draw_line(axes, shown, name, wrapped[number], number, apart=1 + 0.03 * (number - (len(labels) - 1) / 2))
        _label_shots(axes, {*curve, *(row.shots for row in rows)})
        axes.set_ylabel(f"{name} (%)", labelpad=7)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", frameon=False)
    figure.suptitle(_title(rows[0]), fontsize=11)
    _save(figure, path)


def plot_categories(row: ReportRow, path: Path) -> None:
    """Plot the headline metric of every category as horizontal bars, best first.

    Of many categories only the lowest are shown.

    Args:
        row: with ``per_category``.
        path: PNG file.
    """
    metric = headline_metric([row])
    values = {name: of_name[metric] for name, of_name in row.per_category.items() if metric in of_name}
    ordered = sorted(values.items(), key=lambda item: item[1].mean)
    shown = ordered[:_MAX_BARS]
    few = f", the lowest {len(shown)} of {len(ordered)} categories" if len(shown) < len(ordered) else ""
    seeds = f"mean and standard deviation of {len(row.seeds)} seeds" if len(row.seeds) > 1 else f"seed {row.seeds[0]}"
    title = f"{_title(row)}, {counted(row.shots, 'shot')}, {seeds}{few}"
    lines = [line for text in (title, row.label) for line in textwrap.wrap(text, _TITLE_CHARACTERS)]
    figure, [axes] = _figure(1, width=6.4, height=0.9 + 0.24 * len(shown) + _LINE_INCHES * len(lines))
    means, bars = [value.mean for _, value in shown], [value.std or 0 for _, value in shown]
    axes.barh(range(len(shown)), means, xerr=bars, color=_COLORS[-1], height=0.72, error_kw={"capsize": 2, "lw": 1})
    axes.set_yticks(range(len(shown)), [f"{name}  {value.mean:.1f}" for name, value in shown])
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(left=0)
    axes.margins(y=0.02)
    axes.set_xlabel(f"{metric} (%)")
    figure.suptitle("\n".join(lines), fontsize=10, x=0.01, ha="left")
    _save(figure, path)


def _draw_curve_of_paper(axes: Axes, curve: Mapping[int, PublishedValue]) -> None:
    shots, means = list(curve), [value.mean for value in curve.values()]
    style: dict[str, Any] = {"color": _PAPER_COLOR, "linestyle": "--", "marker": "D", "markersize": 4}
    axes.plot(shots, means, label="published", linewidth=1.2, **style)
    spread = [value.std for value in curve.values() if value.std is not None]
    if len(spread) == len(means):
        low, high = ([m + sign * s for m, s in zip(means, spread, strict=True)] for sign in (-1, 1))
        axes.fill_between(shots, low, high, color=_PAPER_COLOR, alpha=0.13, linewidth=0)


def _draw_line(axes: Axes, rows: Sequence[ReportRow], metric: str, label: str, number: int, apart: float) -> None:
    if not rows:
        return
    statistics = [row.metrics[metric] for row in rows]
    axes.errorbar(
        [row.shots * apart for row in rows],
        [statistic.mean for statistic in statistics],
        [statistic.std or 0 for statistic in statistics],
        label=label,
        color=_COLORS[number % len(_COLORS)],
        marker=_MARKERS[number % len(_MARKERS)],
        markersize=5,
        linewidth=1.6,
        capsize=3,
    )


def _label_shots(axes: Axes, shots: set[int]) -> None:
    axes.set_xscale("log")
    axes.set_xticks(sorted(shots), [str(number) for number in sorted(shots)])
    axes.minorticks_off()
    axes.set_xlabel("references per category")
    axes.margins(x=0.08, y=0.12)


def _figure(columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """Return a figure of its own: pyplot would keep it, and would look for a screen."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def _title(row: ReportRow) -> str:
    return f"{row.benchmark} {row.part}".strip()


def _save(figure: Figure, path: Path) -> None:
    with replacing(path) as unfinished:
        figure.savefig(unfinished, format="png", dpi=_DPI)
