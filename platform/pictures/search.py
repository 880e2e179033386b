"""Charts of one sweep: its trials so far, whatever their number and however they ended."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import combinations

from platform.pictures import parameters
from platform.pictures.chart import GREY, Axis, Chart, Numbers, Panel, Series
from platform.pictures.trials import STATES, Search, Trial, value_of
from platform.sweepfile.fields import Metric

POINTS = 50
"""Most points of one trial's curve in a picture."""
ALL_POINTS = 30_000
"""Most points of all curves in a picture together."""

_MOST_PANELS = 12
_MOST_LANES = 40
_FURTHER = 2


def charts(search: Search) -> list[Chart]:
    """All pictures that the sweep's trials allow, most general first."""
    if not search.valued:
        return [*_timeline(search)]
    made = [_history(search), *_curves(search), *_pareto(search)]
    return [*made, *parameters.charts(search), *_timeline(search)]


def _history(search: Search) -> Chart:
    panels = []
    for index, metric in enumerate(search.metrics):
        lowest = min((value_of(t, index) for t in search.valued), key=lambda value: metric.sign * value)
        series, best, best_x, best_y = [], -math.inf, [], []
        for trial in search.valued:
            if trial.state == "complete" and metric.sign * value_of(trial, index) > best:
                best = metric.sign * value_of(trial, index)
                best_x.append(trial.number)
                best_y.append(value_of(trial, index))
        if best_x:
            best_x, best_y = [*best_x, search.trials[-1].number], [*best_y, best_y[-1]]
            series.append(Series(name="best so far", x=best_x, y=best_y, mark="steps", colour=6))
        for state, (mark, colour) in STATES.items():
            of_state = [t for t in search.trials if t.state == state and (t.objective or state == "failed")]
            y = [value_of(t, index) if t.objective else lowest for t in of_state]
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
        for state, (_, colour) in STATES.items():
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
            drawn = sorted((t for t in complete if (t.number in front) is is_front), key=lambda t: value_of(t, one))
            x, y, texts = (
                [value_of(t, one) for t in drawn],
                [value_of(t, other) for t in drawn],
                [t.text for t in drawn],
            )
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


def _timeline(search: Search) -> Iterator[Chart]:
    """The trials in lanes: as many as ever ran at once."""
    trials = [*search.trials, *search.further]
    if not trials:
        return
    now = max([trial.ended or trial.started for trial in trials])
    free: list[float] = []
    lanes: dict[int, int] = {}
    for trial in sorted(trials, key=lambda trial: trial.started):
        lane = next((lane for lane, until in enumerate(free) if until <= trial.started), len(free))
        free[lane : lane + 1] = [trial.ended or math.inf]
        lanes[trial.number] = lane
    series = []
    kinds = [(state, [t for t in search.trials if t.state == state], colour) for state, (_, colour) in STATES.items()]
    for name, of_kind, colour in [*kinds, ("with a further seed", search.further, _FURTHER)]:
        drawn = [t for t in of_kind if lanes[t.number] < _MOST_LANES]
        x: Numbers = [end for t in drawn for end in (t.started, t.ended or now, None)]
        y: Numbers = [end for t in drawn for end in (lanes[t.number], lanes[t.number], None)]
        texts = [t.text for t in drawn for _ in range(3)]
        series += [Series(name=name, x=x, y=y, mark="bar", colour=colour, texts=texts)] if drawn else []
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
