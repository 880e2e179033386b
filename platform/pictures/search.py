"""Charts of one sweep: its trials so far, whatever their number and however they ended."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from platform.pictures.chart import GREY, Axis, Chart, Mark, Numbers, Panel, Series, Surface
from platform.pictures.importance import Column, Importance, importance
from platform.sweepfile.fields import Metric
from platform.sweepfile.parameters import Choice, FloatRange, IntRange, Parameter
from platform.sweepfile.published import as_text

POINTS = 50
"""Most points of one trial's curve in a picture."""
ALL_POINTS = 30_000
"""Most points of all curves in a picture together."""

_ENOUGH = 10  # complete trials; with fewer, those stopped early are compared with them
_MOST_PANELS = 12
_MOST_LANES = 40
_GRID = 30
_STATES: Mapping[str, tuple[Mark, int]] = {
    "complete": ("dots", 0),
    "pruned": ("hollow", 4),
    "failed": ("cross", 1),
    "unfinished": ("hollow", GREY),
}
_FIFTHS = ("best fifth", "second", "third", "fourth", "worst fifth")
_FIFTH_COLOURS = (0, 5, 2, 4, GREY)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One trial as pictures need it."""

    number: int
    state: str
    """complete, pruned, failed or unfinished."""
    values: Mapping[str, Any]
    objective: tuple[float, ...] | None
    """Objective values at its best report; None where it has none."""
    curve: Sequence[tuple[float, ...]]
    """Objective values of each report that has them."""
    started: float
    ended: float | None
    reason: str = ""
    """The cause of its end."""

    @property
    def text(self) -> str:
        """The trial in a few words."""
        return f"trial {self.number} ({self.state})"


@dataclass(frozen=True, kw_only=True)
class Search:
    """A sweep as pictures need it."""

    metrics: tuple[Metric, ...]
    swept: Mapping[str, Sequence[Parameter]]
    """Each swept parameter, as each branch that has it declares it."""
    trials: Sequence[Trial]

    @property
    def valued(self) -> list[Trial]:
        """Trials that have an objective value."""
        return [trial for trial in self.trials if trial.objective]

    @property
    def judged(self) -> list[Trial]:
        """Complete trials where there are enough to compare, else all that have a value."""
        complete = [trial for trial in self.valued if trial.state == "complete"]
        return complete if len(complete) >= _ENOUGH else self.valued

    def best(self, index: int = 0) -> Trial | None:
        """The best trial by one metric: a complete one where there is one."""
        complete = [trial for trial in self.valued if trial.state == "complete"] or self.valued
        return max(complete, key=lambda trial: self.metrics[index].sign * _of(trial, index), default=None)


def charts(search: Search) -> list[Chart]:
    """All pictures that the sweep's trials allow, most general first."""
    if not search.valued:
        return [*_timeline(search)]
    columns = {name: _column(search, name) for name in search.swept}
    importances = [importance(columns, _objectives(search, index)) for index in range(len(search.metrics))]
    made = [_history(search), *_curves(search), *_pareto(search), *_slices(search)]
    return [
        *made,
        *_importance(search, importances),
        *_contour(search, importances),
        *_parallel(search),
        *_timeline(search),
    ]


def _of(trial: Trial, index: int) -> float:
    assert trial.objective is not None, "only a trial with values is drawn"
    return trial.objective[index]


def _history(search: Search) -> Chart:
    panels = []
    for index, metric in enumerate(search.metrics):
        lowest = min((_of(t, index) for t in search.valued), key=lambda value: metric.sign * value)
        series, best, best_x, best_y = [], -math.inf, [], []
        for trial in search.valued:
            if trial.state == "complete" and metric.sign * _of(trial, index) > best:
                best = metric.sign * _of(trial, index)
                best_x.append(trial.number)
                best_y.append(_of(trial, index))
        if best_x:
            best_x, best_y = [*best_x, search.trials[-1].number], [*best_y, best_y[-1]]
            series.append(Series(name="best so far", x=best_x, y=best_y, mark="steps", colour=6))
        for state, (mark, colour) in _STATES.items():
            of_state = [t for t in search.trials if t.state == state and (t.objective or state == "failed")]
            y = [_of(t, index) if t.objective else lowest for t in of_state]
            x = [t.number for t in of_state]
            texts = [t.text for t in of_state]
            series += [Series(name=state, x=x, y=y, mark=mark, colour=colour, texts=texts)] if x else []
        panels.append(Panel(x=Axis(title="trial", is_whole=True), y=Axis(title=metric.name), series=tuple(series)))
    caption = (
        "Each trial at its best report. The line is the best of the complete trials so far. A trial that failed "
        "without a value stands at the worst value."
    )
    return Chart(name="history", title="Best so far", caption=caption, panels=tuple(panels))


def _curves(search: Search) -> Iterator[Chart]:
    curved = [trial for trial in search.trials if trial.curve]
    if not curved:
        return
    most = max(2, min(POINTS, ALL_POINTS // len(curved)))
    stops = sorted({len(trial.curve) for trial in curved if trial.state == "pruned"})
    panels = []
    for index, metric in enumerate(search.metrics):
        best = search.best(index)
        series = []
        for state, (_, colour) in _STATES.items():
            of_state = [trial for trial in curved if trial.state == state and trial is not best]
            series += (
                [_lines(state, of_state, index, most, GREY if state == "complete" else colour)] if of_state else []
            )
        if best and best.curve:
            series.append(_lines(f"best: trial {best.number}", [best], index, POINTS, 0))
            at = max(range(len(best.curve)), key=lambda n: metric.sign * best.curve[n][index])
            x, y = [at + 1], [best.curve[at][index]]
            series.append(Series(name="its best report", x=x, y=y, mark="dots", texts=[best.text]))
        rules = tuple(map(float, stops)) if len(stops) <= _MOST_PANELS else ()
        panels.append(
            Panel(x=Axis(title="report", is_whole=True), y=Axis(title=metric.name), series=tuple(series), rules=rules)
        )
    caption = f"The objective at each report, at most {most} points per trial."
    caption += " Early stopping ended trials at the dotted reports." if panels[0].rules else ""
    yield Chart(name="curves", title="Learning curves", caption=caption, panels=tuple(panels))


def _lines(name: str, trials: Sequence[Trial], index: int, most: int, colour: int) -> Series:
    """Curves of trials as one interrupted line, thinned evenly; a curve of one point is drawn from 0 on."""
    x: list[float | None] = []
    y: list[float | None] = []
    texts: list[str] = []
    for trial in trials:
        last = len(trial.curve) - 1
        places = sorted({round(last * place / (most - 1)) for place in range(most)})
        x += [place + 1 for place in places] + ([1.3] if last == 0 else []) + [None]
        y += [trial.curve[place][index] for place in places]
        y += ([trial.curve[0][index]] if last == 0 else []) + [None]
        texts += [trial.text] * (len(x) - len(texts))
    return Series(name=name, x=x, y=y, mark="line", colour=colour, texts=texts)


def _pareto(search: Search) -> Iterator[Chart]:
    if len(search.metrics) < 2:
        return
    complete = [trial for trial in search.judged if trial.objective]
    scaled = [tuple(m.sign * v for m, v in zip(search.metrics, t.objective or (), strict=True)) for t in complete]
    front = {t.number for t, own in zip(complete, scaled, strict=True) if not _beaten(own, scaled)}
    panels = []
    for one, other in list(combinations(range(len(search.metrics)), 2))[:_MOST_PANELS]:
        series = []
        for name, mark, colour, is_front in (
            ("other trials", "hollow", GREY, False),
            ("Pareto front", "dots", 0, True),
        ):
            drawn = sorted((t for t in complete if (t.number in front) is is_front), key=lambda t: _of(t, one))
            x, y, texts = [_of(t, one) for t in drawn], [_of(t, other) for t in drawn], [t.text for t in drawn]
            made = Series(name=name, x=x, y=y, mark=mark, colour=colour, texts=texts)  # type: ignore[arg-type]
            series += [made] if drawn else []
        x_axis, y_axis = Axis(title=_aimed(search.metrics[one])), Axis(title=_aimed(search.metrics[other]))
        panels.append(Panel(x=x_axis, y=y_axis, series=tuple(series)))
    caption = "No trial is better than one of the front in all metrics."
    yield Chart(name="pareto", title="Pareto front", caption=caption, panels=tuple(panels))


def _aimed(metric: Metric) -> str:
    return f"{metric.name} ({metric.goal})"


def _beaten(own: tuple[float, ...], others: Sequence[tuple[float, ...]]) -> bool:
    return any(all(o >= v for o, v in zip(other, own, strict=True)) and other != own for other in others)


def _slices(search: Search) -> Iterator[Chart]:
    panels = []
    for index, metric in enumerate(search.metrics):
        for name in search.swept:
            axis, place = _scale(search, name)
            series = []
            for state, (mark, colour) in _STATES.items():
                drawn = [t for t in search.valued if t.state == state and name in t.values]
                x, y = [place(t.values[name]) for t in drawn], [_of(t, index) for t in drawn]
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
        z = [_of(trial, index) for trial in drawn]
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
        ordered = sorted(search.judged, key=lambda trial: -metric.sign * _of(trial, index))
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
                    texts += [f"{trial.text}: {_of(trial, index):.4g}"] * (len(own) + 1)
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


def _timeline(search: Search) -> Iterator[Chart]:
    """The trials in lanes: as many as ever ran at once."""
    if not search.trials:
        return
    now = max([trial.ended or trial.started for trial in search.trials])
    free: list[float] = []
    lanes: dict[int, int] = {}
    for trial in sorted(search.trials, key=lambda trial: trial.started):
        lane = next((lane for lane, until in enumerate(free) if until <= trial.started), len(free))
        free[lane : lane + 1] = [trial.ended or math.inf]
        lanes[trial.number] = lane
    series = []
    for state, (_, colour) in _STATES.items():
        drawn = [t for t in search.trials if t.state == state and lanes[t.number] < _MOST_LANES]
        x: Numbers = [end for t in drawn for end in (t.started, t.ended or now, None)]
        y: Numbers = [end for t in drawn for end in (lanes[t.number], lanes[t.number], None)]
        texts = [t.text for t in drawn for _ in range(3)]
        series += [Series(name=state, x=x, y=y, mark="bar", colour=colour, texts=texts)] if drawn else []
    labels = tuple(str(lane + 1) for lane in range(min(len(free), _MOST_LANES)))
    x_axis, y_axis = Axis(title="time (UTC)", is_time=True), Axis(title="worker", labels=labels)
    caption = "A bar per trial from start to end; one row per worker that was busy at the same time."
    yield Chart(
        name="timeline",
        title="Timeline",
        caption=caption,
        panels=(Panel(x=x_axis, y=y_axis, series=tuple(series)),),
        is_wide=True,
    )


def _column(search: Search, name: str) -> Column:
    axis, place = _scale(search, name)
    values = [trial.values.get(name) for trial in search.judged]
    placed = [None if v is None else as_text(v) if axis.labels else place(v) for v in values]
    return Column(placed, axis.log)


def _objectives(search: Search, index: int) -> list[float]:
    return [search.metrics[index].sign * _of(trial, index) for trial in search.judged]


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
