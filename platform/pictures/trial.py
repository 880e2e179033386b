"""Pictures of one trial, as pages with nothing in them but an SVG: MLflow shows a page without the files beside it.

plotly.js would make each page 5 MB. matplotlib takes 40 ms per picture, more than all else at a trial's end.
"""

from __future__ import annotations

import csv
import functools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platform.pictures.chart import PALETTE, Axis, Chart, Numbers, Panel, Series

if TYPE_CHECKING:
    import jinja2

_WIDTH, _HEIGHT = 380, 230
_PAGE = """\
<!DOCTYPE html><meta charset="utf-8"><title>{{ chart.title }}</title>
<style>body { font: 14px sans-serif; margin: 1em } svg { font-size: 11px }</style>
<h3>{{ chart.title }}</h3>
<svg xmlns="http://www.w3.org/2000/svg" width="{{ 500 * panels|length }}" height="{{ tall }}" role="img">
{%- for panel in panels %}
<g transform="translate({{ 70 + 500 * loop.index0 }} 15)">
<rect width="{{ w }}" height="{{ h }}" fill="#f7f7f7" stroke="#ccc"/>
{%- for place, text in panel.across %}
<path d="M{{ place }} 0V{{ h }}" stroke="#ddd"/>
<text x="{{ place }}" y="{{ h + 15 }}" text-anchor="middle">{{ text }}</text>
{%- endfor %}
{%- for place, text in panel.up %}
<path d="M0 {{ place }}H{{ w }}" stroke="#ddd"/><text x="-6" y="{{ place + 4 }}" text-anchor="end">{{ text }}</text>
{%- endfor %}
<text x="{{ w / 2 }}" y="{{ h + 32 }}" text-anchor="middle">{{ panel.x }}</text>
<text x="0" y="-4">{{ panel.y }}</text>
{%- for name, colour, path, dots in panel.series %}
<path d="{{ path }}" fill="none" stroke="{{ colour }}" stroke-width="1.6"/>
{%- for x, y in dots %}<circle cx="{{ x }}" cy="{{ y }}" r="2" fill="{{ colour }}"/>{% endfor %}
<rect x="0" y="{{ h + 42 + 16 * loop.index0 }}" width="12" height="4" fill="{{ colour }}"/>
<text x="18" y="{{ h + 48 + 16 * loop.index0 }}">{{ name }}</text>
{%- endfor %}
</g>
{%- endfor %}
</svg>
<p>{{ chart.caption }}</p>
"""


def learning_curve(lines: Sequence[Mapping[str, Any]]) -> Chart:
    """The losses and the validation metrics of one trial over its steps, on two panels.

    Args:
        lines: the trial's journal (`step`, `metrics`).
    """
    panels = []
    for kind, title in (("train", "loss"), ("valid", "validation")):
        names = sorted({name for line in lines for name in line["metrics"] if kind in name.split("/")[:-1]})
        series = []
        for index, name in enumerate(names):
            points = [(line["step"], line["metrics"][name]) for line in lines if name in line["metrics"]]
            x, y = zip(*points, strict=True)
            series.append(Series(name=name, x=x, y=y, mark="line", colour=index))
        if series:
            panels.append(Panel(x=Axis(title="step"), y=Axis(title=title), series=tuple(series)))
    caption = "Every report of this trial. A step is the trainable's own unit, mostly an epoch."
    return Chart(name="learning_curve", title="Learning curve", caption=caption, panels=tuple(panels))


def table(path: Path) -> Chart | None:
    """The columns of a CSV file over its first; None unless it is a table of numbers of two or more columns.

    A JSON file beside it, of the same name, may hold the words of its picture: `title`, `x`, `y`, `caption`.
    """
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            header, *lines = [*csv.reader(stream)] or [[]]
        columns = [*zip(*([float(cell) for cell in line] for line in lines), strict=True)]
    except (OSError, ValueError, csv.Error):
        return None
    if len(columns) < 2 or len(columns) != len(header):
        return None
    curves = zip(header[1:], columns[1:], strict=True)
    series = tuple(Series(name=n, x=columns[0], y=y, mark="line", colour=i) for i, (n, y) in enumerate(curves))
    plain = {"title": path.stem.replace("_", " ").capitalize(), "x": header[0], "y": ""}
    words = plain | {"caption": f"Drawn from {path.name}."} | _words(path.with_suffix(".json"))
    panel = Panel(x=Axis(title=words["x"]), y=Axis(title=words["y"]), series=series)
    return Chart(name=path.stem, title=words["title"], caption=words["caption"], panels=(panel,))


def _words(path: Path) -> dict[str, str]:
    """Title, axes and caption of a table's picture, where the trainable left them."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return {name: str(text) for name, text in found.items()} if isinstance(found, dict) else {}


def draw(lines: Sequence[Mapping[str, Any]], artifacts: Path) -> None:
    """Write the pages of a trial among its artifacts: its learning curve, and one beside each table of numbers."""
    write_page(learning_curve(lines), artifacts / "learning_curve.html")
    for path in sorted(artifacts.rglob("*.csv")):
        if chart := table(path):
            write_page(chart, path.with_suffix(".html"))


def write_page(chart: Chart, path: Path) -> None:
    """Write a chart of lines as a page that needs no other file and runs no script."""
    most = max((len(panel.series) for panel in chart.panels), default=0)
    page = _template().render(
        chart=chart,
        panels=[_drawn(panel) for panel in chart.panels],
        w=_WIDTH,
        h=_HEIGHT,
        tall=_HEIGHT + 70 + 16 * most,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


@functools.cache
def _template() -> jinja2.Template:
    import jinja2

    return jinja2.Environment(autoescape=True).from_string(_PAGE)


def _drawn(panel: Panel) -> dict[str, Any]:
    """The panel in the page's own units."""
    x_low, x_high = _range([series.x for series in panel.series])
    y_low, y_high = _range([series.y for series in panel.series])

    def across(value: float) -> float:
        return round(_WIDTH * (value - x_low) / (x_high - x_low), 1)

    def up(value: float) -> float:
        return round(_HEIGHT * (1 - (value - y_low) / (y_high - y_low)), 1)

    drawn = []
    for series in panel.series:
        points = [
            (across(x), up(y)) if x is not None and y is not None and math.isfinite(x) and math.isfinite(y) else None
            for x, y in zip(series.x, series.y, strict=True)
        ]
        path, begun = [], False
        for point in points:
            path += [f"{'L' if begun else 'M'}{point[0]} {point[1]}"] if point else []
            begun = point is not None
        colour = PALETTE[series.colour % len(PALETTE)]
        drawn.append((series.name, colour, "".join(path), [p for p in points if p] if len(points) < 20 else []))
    return {
        "x": panel.x.title,
        "y": panel.y.title,
        "across": [(across(value), f"{value:g}") for value in _ticks(x_low, x_high)],
        "up": [(up(value), f"{value:g}") for value in _ticks(y_low, y_high)],
        "series": drawn,
    }


def _range(values: Sequence[Numbers]) -> tuple[float, float]:
    """Lowest and highest finite value, a little apart."""
    finite = [value for column in values for value in column if value is not None and math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=1.0)
    return (low, high) if high > low else (low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2)


def _ticks(low: float, high: float) -> list[float]:
    """Round values between two, three to seven of them."""
    size = 10 ** math.floor(math.log10((high - low) / 3))
    step = next(size * factor for factor in (5, 2, 1) if (high - low) / (size * factor) >= 3)
    return [round(step * place, 12) for place in range(math.ceil(low / step), math.floor(high / step) + 1)]
