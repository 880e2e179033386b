"""Charts of a sweep's parameters: each alone, how much each matters, two and all together."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from platform.pictures.chart import GREY, Axis, Chart, Panel, Series, Surface
from platform.pictures.importance import Column, Importance, importance
from platform.pictures.trials import STATES, Search, value_of
from platform.sweepfile.parameters import Choice, FloatRange, IntRange
from platform.sweepfile.published import as_text

_MOST_PANELS = 12
_GRID = 30
_FIFTHS = ("best fifth", "second", "third", "fourth", "worst fifth")
_FIFTH_COLOURS = (0, 5, 2, 4, GREY)


def charts(search: Search) -> Iterator[Chart]:
    """The charts that the trials' values allow."""
    columns = {name: _column(search, name) for name in search.swept}
    importances = [importance(columns, _objectives(search, index)) for index in range(len(search.metrics))]
    yield from _slices(search)
    yield from _importance(search, importances)
    yield from _contour(search, importances)
    yield from _parallel(search)


def _slices(search: Search) -> Iterator[Chart]:
    panels = []
    for index, metric in enumerate(search.metrics):
        for name in search.swept:
            axis, place = _scale(search, name)
            series = []
            for state, (mark, colour) in STATES.items():
                drawn = [t for t in search.valued if t.state == state and name in t.values]
                x, y = [place(t.values[name]) for t in drawn], [value_of(t, index) for t in drawn]
                made = Series(name=state, x=x, y=y, mark=mark, colour=colour, texts=[t.text for t in drawn])
                series += [made] if drawn else []
            if series:
                panels.append(Panel(x=axis, y=Axis(title=metric.name), series=tuple(series)))
    if panels:
        caption = "The objective over each parameter, at the best report of each trial."
        shown = tuple(panels[:_MOST_PANELS])
        yield Chart(name="slices", title="Each parameter alone", caption=caption, panels=shown)


def _importance(search: Search, found: Sequence[Importance]) -> Iterator[Chart]:
    panels = []
    for metric, shares in zip(search.metrics, found, strict=True):
        names = sorted(shares, key=lambda name: shares[name].mean)[-_MOST_PANELS:]
        if not names:
            continue
        means = [shares[name].mean for name in names]
        low, high = ([each(shares[n]) for n in names] for each in (lambda s: s.low, lambda s: s.high))
        series = Series(name="", x=means, y=[*range(len(names))], mark="dots", low=low, high=high, spread="x")
        x_axis, y_axis = Axis(title=f"share, {metric.name}"), Axis(title="", labels=tuple(names))
        panels.append(Panel(x=x_axis, y=y_axis, series=(series,)))
    if panels:
        caption = (
            "Share of each parameter in how good a trial is (PED-ANOVA), with the range over ten resamples of the "
            "trials. A wide range means too few trials to tell."
        )
        yield Chart(name="importance", title="Importance of parameters", caption=caption, panels=tuple(panels))


def _contour(search: Search, found: Sequence[Importance]) -> Iterator[Chart]:
    panels = []
    for index, (metric, shares) in enumerate(zip(search.metrics, found, strict=True)):
        often = [n for n in shares if 2 * sum(n in trial.values for trial in search.judged) > len(search.judged)]
        names = sorted(often, key=lambda name: -shares[name].mean)[:2]
        drawn = [trial for trial in search.judged if all(name in trial.values for name in names)]
        if len(names) < 2 or len(drawn) < 2:
            continue
        (x_axis, x_of), (y_axis, y_of) = (_scale(search, name) for name in names)
        x, y = ([place(t.values[n]) for t in drawn] for place, n in zip((x_of, y_of), names, strict=True))
        z = [value_of(trial, index) for trial in drawn]
        texts = [f"{trial.text}: {value:.4g}" for trial, value in zip(drawn, z, strict=True)]
        series = Series(name="", x=x, y=y, mark="dots", values=z, texts=texts)
        surface = _surface(x, y, z, x_axis.log, y_axis.log)
        panels.append(Panel(x=x_axis, y=y_axis, series=(series,), surface=surface))
        caption = f"Brighter is a higher {metric.name}; each mark is a trial, the surface weights them by distance."
    if panels:
        caption = caption if len(panels) == 1 else "Brighter is a higher value, one panel per metric."
        title = "The two most important parameters"
        yield Chart(name="contour", title=title, caption=caption, panels=tuple(panels))


def _surface(x: Sequence[float], y: Sequence[float], z: Sequence[float], x_log: bool, y_log: bool) -> Surface:
    """Values over the points' rectangle, each the mean of all points weighted by a power of their distance."""
    import numpy as np

    places, grids = [], []
    for values, is_log in ((x, x_log), (y, y_log)):
        scaled = np.log(values) if is_log else np.asarray(values, dtype=float)
        places.append((scaled - scaled.min()) / (np.ptp(scaled) or 1.0))
        grid = np.linspace(scaled.min(), scaled.max(), _GRID)
        grids.append((np.exp(grid) if is_log else grid).tolist())
    side = np.linspace(0, 1, _GRID)
    squared = (side[None, :, None] - places[0]) ** 2 + (side[:, None, None] - places[1]) ** 2
    weights = 1 / (squared + 1e-4) ** 2
    return Surface(x=grids[0], y=grids[1], z=((weights * np.asarray(z)).sum(2) / weights.sum(2)).tolist())


def _parallel(search: Search) -> Iterator[Chart]:
    names = [name for name in search.swept if any(name in trial.values for trial in search.judged)]
    if len(names) < 2:
        return
    panels = []
    for index, metric in enumerate(search.metrics):
        ordered = sorted(search.judged, key=lambda trial: -metric.sign * value_of(trial, index))
        spans = {name: _span(search, name) for name in names}
        series = []
        for fifth, title in reversed([*enumerate(_FIFTHS)]):  # the best lie on top
            x: list[float | None] = []
            y: list[float | None] = []
            texts: list[str] = []
            for rank, trial in enumerate(ordered):
                if 5 * rank // len(ordered) == fifth:
                    own = [(at, spans[n](trial.values[n])) for at, n in enumerate(names) if n in trial.values]
                    x += [*(at for at, _ in own), None]
                    y += [*(value for _, value in own), None]
                    texts += [f"{trial.text}: {value_of(trial, index):.4g}"] * (len(own) + 1)
            series += (
                [Series(name=title, x=x, y=y, mark="line", colour=_FIFTH_COLOURS[fifth], texts=texts)] if x else []
            )
        labels = tuple(_with_ends(search, name) for name in names)
        y_axis = Axis(title=f"by {metric.name}", labels=("lowest", "highest"))
        panels.append(Panel(x=Axis(title="", labels=labels), y=y_axis, series=tuple(series)))
    caption = "One line per trial. Below each parameter stand its lowest and its highest value, log scales kept."
    yield Chart(name="parallel", title="All parameters together", caption=caption, panels=tuple(panels), is_wide=True)


def _with_ends(search: Search, name: str) -> str:
    axis, place = _scale(search, name)
    values = sorted((t.values[name] for t in search.judged if name in t.values), key=place)
    low, high = (f"{v:.3g}" if isinstance(v, float) else as_text(v) for v in (values[0], values[-1]))
    return f"{name}\n{low} to {high}{', log' if axis.log else ''}"


def _span(search: Search, name: str) -> Callable[[Any], float]:
    """Place of a value between the lowest (0) and the highest (1) that a trial had."""
    axis, place = _scale(search, name)
    scale = math.log if axis.log else float
    values = [scale(place(trial.values[name])) for trial in search.judged if name in trial.values]
    low, high = min(values), max(values)
    return lambda value: (scale(place(value)) - low) / (high - low) if high > low else 0.5


def _column(search: Search, name: str) -> Column:
    axis, place = _scale(search, name)
    values = [trial.values.get(name) for trial in search.judged]
    placed = [None if v is None else as_text(v) if axis.labels else place(v) for v in values]
    return Column(placed, axis.log)


def _objectives(search: Search, index: int) -> list[float]:
    return [search.metrics[index].sign * value_of(trial, index) for trial in search.judged]


def _scale(search: Search, name: str) -> tuple[Axis, Callable[[Any], float]]:
    """The axis of a parameter and the place of a value on it: a range's numbers, a choice's place in the file."""
    declared = search.swept[name]
    if all(isinstance(parameter, IntRange | FloatRange) for parameter in declared):
        is_log = any(parameter.log for parameter in declared if isinstance(parameter, IntRange | FloatRange))
        is_whole = all(isinstance(parameter, IntRange) for parameter in declared)
        return Axis(title=name, log=is_log, is_whole=is_whole), float
    listed = [as_text(v) for each in declared if isinstance(each, Choice) for v in each.values]
    seen = sorted({as_text(trial.values[name]) for trial in search.trials if name in trial.values})
    labels = tuple(dict.fromkeys([*listed, *seen]))
    return Axis(title=name, labels=labels), lambda value: labels.index(as_text(value))
