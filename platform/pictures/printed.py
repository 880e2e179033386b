"""Charts for a paper, as SVG and PDF, by matplotlib: one style, widths of a paper's columns, fonts embedded."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from platform.pictures.chart import GREY, PALETTE, Axis, Chart, Panel, Series

COLUMN_INCHES, PAGE_INCHES = 3.35, 6.9
"""Widths of one column and of both, as in the templates of ACM and IEEE."""

_STYLE: dict[Any, Any] = {
    "font.size": 7,
    "axes.titlesize": 7,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.4,
    "legend.fontsize": 6,
    "legend.frameon": False,
    "lines.linewidth": 1.0,
    "text.parse_math": False,  # a name may hold a dollar
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "sweep",  # the same picture twice is the same file
}
_MARKERS = {"dots": "o", "hollow": "o", "cross": "x"}
_SHADES = "cividis"
_MOST_LEGEND = 8
_MANY = 300  # marks; they are then smaller


def print_charts(charts: Iterable[Chart], folder: Path) -> list[Path]:
    """Write each chart as SVG and as PDF in `folder`; returns the files."""
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # it tells of its cache on stderr
    logging.getLogger("fontTools").setLevel(logging.ERROR)
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    with rc_context(_STYLE):
        for chart in charts:
            width = COLUMN_INCHES if chart.columns == 1 and not chart.is_wide else PAGE_INCHES
            size = (width, 2.2 * chart.rows + 0.2)
            drawn = Figure(figsize=size, layout="constrained")
            _draw(drawn, chart)
            for ending, metadata in (("svg", {"Date": None}), ("pdf", {"CreationDate": None})):
                paths.append(folder / f"{chart.name}.{ending}")
                drawn.savefig(paths[-1], metadata=metadata)
    return paths


def _draw(drawn: Any, chart: Chart) -> None:
    grid = drawn.subplots(chart.rows, chart.columns, squeeze=False).ravel()
    for axes, panel in zip(grid, chart.panels, strict=False):
        _panel(axes, panel)
    for axes in grid[len(chart.panels) :]:
        axes.set_axis_off()
    named: dict[str, Any] = {}
    for axes in grid:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            named.setdefault(label, handle)
    if 1 < len(named) <= _MOST_LEGEND:
        drawn.legend(named.values(), named.keys(), loc="outside upper center", ncols=min(4, len(named)))


def _panel(axes: Any, panel: Panel) -> None:
    if panel.surface:
        axes.contourf(panel.surface.x, panel.surface.y, panel.surface.z, cmap=_SHADES, alpha=0.8)
    for series in panel.series:
        _series(axes, series, panel)
    for place in panel.rules:
        axes.axvline(place, color="#666666", linewidth=0.7, linestyle=":")
    for side, axis in (("x", panel.x), ("y", panel.y)):
        _axis(axes, side, axis)


def _series(axes: Any, series: Series, panel: Panel) -> None:
    colour, label = PALETTE[series.colour % len(PALETTE)], series.name or None
    x, y = ([float("nan") if value is None else value for value in values] for values in (series.x, series.y))
    if panel.x.is_time:
        x = [value / 86_400 for value in x]
    front = 1.5 if series.colour == GREY else 3 if series.mark in ("line", "steps", "bar", "hollow") else 4
    size = 3.5 if len(x) < _MANY else 1.5
    match series.mark:
        case "line" | "bar":
            width = 4 if series.mark == "bar" else 0.6 if series.colour == GREY else 1.0
            axes.plot(x, y, color=colour, label=label, zorder=front, linewidth=width, solid_capstyle="butt")
        case "steps":
            axes.plot(x, y, color=colour, label=label, zorder=front, drawstyle="steps-post")
        case _ if len(series.values):
            dots = axes.scatter(x, y, c=series.values, cmap=_SHADES, s=size**2, edgecolors="#333333", linewidths=0.4)
            dots.set_zorder(front)
        case _:
            face = {"markerfacecolor": "none"} if series.mark == "hollow" else {}
            axes.plot(x, y, _MARKERS[series.mark], color=colour, label=label, zorder=front, markersize=size, **face)
    if len(series.low):
        middle = x if series.spread == "x" else y
        ends = [(low, high, at) for low, high, at in zip(series.low, series.high, middle, strict=True)]
        error = [
            [0.0 if low is None else at - low for low, _, at in ends],
            [0.0 if high is None else high - at for _, high, at in ends],
        ]
        axes.errorbar(x, y, **{f"{series.spread}err": error}, fmt="none", color=colour, linewidth=0.8, capsize=2)


def _axis(axes: Any, side: str, axis: Axis) -> None:
    from matplotlib.ticker import LogFormatter, MaxNLocator, NullFormatter

    axes.set(**{f"{side}label": axis.title, **({f"{side}scale": "log"} if axis.log else {})})
    line = {"x": axes.xaxis, "y": axes.yaxis}[side]
    if axis.log:
        line.set_major_formatter(LogFormatter())  # the usual ones write mathematics, which names forbid here
        line.set_minor_formatter(NullFormatter())
    if axis.labels:
        is_long = side == "x" and max(map(len, axis.labels)) > 5 and not any("\n" in label for label in axis.labels)
        slant = {"rotation": 30, "ha": "right"} if is_long else {}
        line.set_ticks(range(len(axis.labels)), axis.labels, **slant)
    elif not axis.log:
        line.set_major_locator(MaxNLocator(5, integer=axis.is_whole))
    if axis.is_time:
        from matplotlib import dates

        where = dates.AutoDateLocator()
        line.set_major_locator(where)
        line.set_major_formatter(dates.ConciseDateFormatter(where))
