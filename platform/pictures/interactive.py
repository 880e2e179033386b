"""Charts as pages for a browser, by plotly. Nothing is loaded but the script beside the pages, or inside them."""

from __future__ import annotations

import html
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from platform.pictures.chart import PALETTE, Axis, Chart, Panel, Series

_SHADES = "Cividis"
_HEIGHT, _HEAD = 340, 110
_GAP = 0.09
_SYMBOLS = {"dots": "circle", "hollow": "circle-open", "cross": "x"}
_CONFIG = {"displaylogo": False, "responsive": True, "showSendToCloud": False}


def write_pages(charts: Iterable[Chart], folder: Path) -> list[Path]:
    """Write each chart as a page in `folder`, with one plotly.js for all of them; returns the pages."""
    from plotly import io

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for chart in charts:
        paths.append(folder / f"{chart.name}.html")
        draft = folder / f".{chart.name}.draft"
        io.write_html(figure(chart), draft, config=_CONFIG, include_plotlyjs="directory", validate=False)
        draft.rename(paths[-1])
    return paths


def report(path: Path, context: Mapping[str, Any]) -> Path:
    """Write one page that holds everything, plotly.js too, from `report.html` here and the values it names.

    Only scripts with this page's own nonce run, and nothing is loaded: no name or error can add a script or a request.
    """
    import jinja2

    template = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        Path(__file__).with_name("report.html").read_text("utf-8")
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft")
    page = template.render(**context, nonce=secrets.token_urlsafe(), plotly=script(), config=_CONFIG)
    draft.write_text(page, encoding="utf-8")
    draft.rename(path)
    return path


def script() -> str:
    """The source of plotly.js."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def figure(chart: Chart) -> dict[str, Any]:
    """The chart as plotly's JSON; plain, because a Figure copies and checks its template, which costs most of all."""
    layout: dict[str, Any] = {
        "title": {"text": _text(chart.title), "subtitle": {"text": _wrapped(chart.caption)}, "yref": "container"},
        "height": _HEAD + _HEIGHT * chart.rows,
        "margin": {"t": _HEAD, "b": 60},
        "template": {"layout": {"plot_bgcolor": "#f5f5f5", "hovermode": "closest"}},
        "legend": {"tracegroupgap": 0},
        "shapes": [],
    }
    data: list[dict[str, Any]] = []
    for index, panel in enumerate(chart.panels):
        row, column = divmod(index, chart.columns)
        key = str(index + 1) if index else ""
        layout[f"xaxis{key}"] = {**_axis(panel.x), "domain": _domain(column, chart.columns), "anchor": f"y{key}"}
        vertical = _domain(chart.rows - 1 - row, chart.rows)
        layout[f"yaxis{key}"] = {**_axis(panel.y), "domain": vertical, "anchor": f"x{key}"}
        on = {"xaxis": f"x{key}", "yaxis": f"y{key}"}
        named = {trace.get("name") for trace in data}
        data += [trace | on for trace in _traces(panel, named)]
        layout["shapes"] += [
            {"type": "line", "xref": f"x{key}", "yref": f"y{key} domain", "x0": place, "x1": place, "y0": 0, "y1": 1,
             "line": {"dash": "dot", "color": "#666"}} for place in panel.rules
        ]  # fmt: skip
    return {"data": data, "layout": layout}


def _traces(panel: Panel, named: set[Any]) -> list[dict[str, Any]]:
    traces: list[dict[str, Any]] = []
    if panel.surface:
        grid = {"x": panel.surface.x, "y": panel.surface.y, "z": panel.surface.z}
        traces.append({"type": "contour", **grid, "colorscale": _SHADES, "opacity": 0.8, "hoverinfo": "skip"})
    for series in panel.series:
        trace = {"type": "scatter", "x": _times(series.x, panel.x), "y": series.y, "name": _text(series.name)}
        traces.append({**trace, **_look(series), "showlegend": bool(series.name) and trace["name"] not in named})
        traces[-1]["legendgroup"] = trace["name"]
    return traces


def _look(series: Series) -> dict[str, Any]:
    colour = PALETTE[series.colour % len(PALETTE)]
    look: dict[str, Any] = {"mode": "markers"}
    if series.mark in ("line", "steps", "bar"):
        width = {"line": 1.5, "steps": 2, "bar": 9}[series.mark]
        shape = "hv" if series.mark == "steps" else "linear"
        look = {"mode": "lines", "line": {"color": colour, "width": width, "shape": shape}}
    else:
        shades = {"color": series.values, "colorscale": _SHADES, "line": {"width": 1, "color": "#333"}}
        symbol = {"symbol": _SYMBOLS[series.mark], "size": 8}
        look["marker"] = symbol | (shades if len(series.values) else {"color": colour})
    if len(series.texts):
        look["text"] = [_text(text) for text in series.texts]
    if len(series.low):
        middle = series.x if series.spread == "x" else series.y
        up = [None if h is None or m is None else h - m for h, m in zip(series.high, middle, strict=True)]
        down = [None if w is None or m is None else m - w for w, m in zip(series.low, middle, strict=True)]
        look[f"error_{series.spread}"] = {"type": "data", "symmetric": False, "array": up, "arrayminus": down}
    return look


def _axis(axis: Axis) -> dict[str, Any]:
    ticks = {"tickvals": [*range(len(axis.labels))], "ticktext": [_text(label) for label in axis.labels]}
    room = {"range": [-0.4, len(axis.labels) - 0.6]} if axis.labels else {}
    kind = {"type": "log"} if axis.log else {"type": "date"} if axis.is_time else {"type": "linear"}
    return {
        "title": {"text": _text(axis.title)},
        "automargin": True,
        "zeroline": False,
        **kind,
        **room,
        **(ticks if axis.labels else {}),
    }


def _times(values: Any, axis: Axis) -> Any:
    return [None if value is None else 1000 * value for value in values] if axis.is_time else values


def _domain(place: int, count: int) -> list[float]:
    width = (1 - _GAP * (count - 1)) / count
    return [place * (width + _GAP), place * (width + _GAP) + width]


def _text(text: str) -> str:
    """Text that plotly, which reads some tags, shows as it is."""
    return html.escape(text, quote=False).replace("\n", "<br>")


def _wrapped(text: str) -> str:
    import textwrap

    return "<br>".join(textwrap.wrap(_text(text), 130))
