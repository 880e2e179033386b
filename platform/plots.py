"""Pictures of a sweep (the only file that imports plotly)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

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


def overview(study: optuna.Study, objective: str, folder: Path) -> list[Path]:
    """Write Optuna's history, slice and importance plots of a single-objective study; returns the files made."""
    from optuna import visualization

    complete = [t for t in study.get_trials(deepcopy=False) if t.value is not None]
    if len(complete) < 2:
        return []
    figures = {
        "history": visualization.plot_optimization_history(study, target_name=objective),
        "slice": visualization.plot_slice(study, target_name=objective),
        "intermediate_values": visualization.plot_intermediate_values(study),
    }
    files = []
    for name, figure in figures.items():
        path = folder / f"{name}.html"
        figure.write_html(path, include_plotlyjs=_script())
        files.append(path)
    return files


def _script() -> str:
    """Where a page gets plotly.js; said in full, because "cdn" would hash the whole script again for each page."""
    from plotly.offline import get_plotlyjs_version

    return f"https://cdn.plot.ly/plotly-{get_plotlyjs_version()}.min.js"
