"""Pictures of a sweep (the only file that imports plotly)."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainables.redaction import is_secret, redact

if TYPE_CHECKING:
    import optuna


def learning_curve(lines: Sequence[dict[str, Any]], path: Path) -> None:
    """Write the curves of one trial's `train/*` and `valid/*` metrics over its steps as a page.

    Args:
        lines: the trial's journal (`step`, `metrics`).
        path: the `.html` file to write.
    """
    from plotly import io

    names = sorted({name for line in lines for name in line["metrics"] if name.startswith(("train/", "valid/"))})
    curves = []
    for name in names:
        points = [(line["step"], line["metrics"][name]) for line in lines if name in line["metrics"]]
        x, y = zip(*points, strict=True)
        curves.append({"name": name, "x": x, "y": y, "yaxis": "y2" if name.startswith("train/") else "y"})
    layout = {
        "xaxis": {"title": {"text": "step"}},
        "yaxis": {"title": {"text": "valid"}},
        "yaxis2": {"title": {"text": "train"}, "overlaying": "y", "side": "right"},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    figure = {"data": curves, "layout": layout}  # plain: a Figure would copy its template, which costs most of a trial
    io.write_html(figure, path, include_plotlyjs=_script(), validate=False)


def tables(folder: Path) -> None:
    """Draw every table of numbers in `folder`: of a CSV file of two or more columns, a page beside it of the same name.

    The first column is the horizontal axis, each other column a curve; what is no such table is left alone.
    """
    from plotly import io

    for path in sorted(folder.rglob("*.csv")):
        try:
            with path.open(newline="", encoding="utf-8") as stream:
                header, *lines = [*csv.reader(stream)] or [[]]
            columns = [*zip(*([float(cell) for cell in line] for line in lines), strict=True)]
        except (OSError, ValueError, csv.Error):
            continue
        if len(columns) < 2 or len(columns) != len(header):
            continue
        curves = [{"name": name, "x": columns[0], "y": y} for name, y in zip(header[1:], columns[1:], strict=True)]
        figure = {"data": curves, "layout": {"xaxis": {"title": {"text": header[0]}}, "showlegend": True}}
        io.write_html(figure, path.with_suffix(".html"), include_plotlyjs=_script(), validate=False)


def overview(study: optuna.Study, objective: str, folder: Path) -> list[Path]:
    """Write Optuna's history, slice and intermediate values of a single-objective study; returns the files made."""
    from optuna import visualization
    from plotly import io

    complete = [t for t in study.get_trials(deepcopy=False) if t.value is not None]
    if len(complete) < 2:
        return []
    figures = {
        "history": visualization.plot_optimization_history(study, target_name=objective),
        "intermediate_values": visualization.plot_intermediate_values(study),
    }
    names = {name for trial in complete for name in trial.params if not is_secret(name.partition("@")[0])}
    if names:
        figures["slice"] = visualization.plot_slice(study, sorted(names), target_name=objective)
    files = []
    for name, figure in figures.items():
        path = folder / f"{name}.html"
        shown = json.loads(redact(json.dumps(json.loads(figure.to_json()))))  # whose slashes plotly writes as codes
        io.write_html(shown, path, include_plotlyjs=_script(), validate=False)
        files.append(path)
    return files


def _script() -> str:
    """Address of plotly.js for a page, in full, because "cdn" would hash the whole script again for each page."""
    from plotly.offline import get_plotlyjs_version

    return f"https://cdn.plot.ly/plotly-{get_plotlyjs_version()}.min.js"
