"""Charts of sweeps and of their comparison, from the trials' own files: a sweep that runs can be drawn too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from platform.analysis.comparison import Cell, Comparison, Spread
from platform.analysis.pairs import LEVEL, PairedTests
from platform.analysis.tables import shown_metrics
from platform.pictures.chart import Axis, Chart, Panel, Series
from platform.pictures.trials import Search, Trial
from platform.space.space import Space
from platform.storage.trial_end import State
from platform.storage.trial_record import TrialRecord
from platform.sweepfile.parameters import Choice, Occurrence, Parameter
from platform.sweepfile.spec import SweepSpec
from platform.tracking.journal import TrialFiles, all_trials
from trainables.redaction import redact, redact_values

_WORDS = {
    State.COMPLETE: "complete",
    State.PRUNED: "pruned",
    State.FAIL: "failed",
    State.CANCELLED: "cancelled",
}
_MOST_LINES = 40


def search(spec: SweepSpec, folder: Path) -> Search:
    """The trials of the sweep in `folder` that have started."""
    space = Space.of(spec)
    swept = {name: [_redacted(here) for here in space.places if here.name == name] for name in space.swept}
    settings, further = list[Trial](), list[Trial]()
    for files in all_trials(folder):
        if record := files.record():
            (settings if record.of is None else further).append(_trial(spec, files, record, set(swept)))
    return Search(metrics=spec.metrics, swept=swept, trials=settings, further=further)


def _redacted(here: Occurrence) -> Parameter:
    """A parameter whose choices hold no secret, as the values of trials do not either."""
    if not isinstance(here.parameter, Choice):
        return here.parameter
    return Choice(tuple(redact_values({here.name: value})[here.name] for value in here.parameter.values))


def _trial(spec: SweepSpec, files: TrialFiles, record: TrialRecord, swept: set[str]) -> Trial:
    end = files.read_end()
    names = [metric.name for metric in spec.metrics]
    reports = [[line["metrics"].get(name) for name in names] for line in files.lines()]
    curve = [tuple(values) for values in reports if None not in values]
    return Trial(
        number=files.number,
        state=_WORDS.get(end.state, "unfinished") if end else "unfinished",
        values=redact_values({name: value for name, value in record.values.items() if name in swept}),
        objective=max(curve, key=lambda values: spec.metrics[0].sign * values[0], default=None),
        curve=curve,
        started=record.started,
        ended=end.time if end else None,
        reason=redact(end.reason) if end else "",
    )


def comparison(compared: Comparison, tests: PairedTests) -> list[Chart]:
    """Charts of a table: its cells with intervals over seeds and printed values, and differences with theirs."""
    return [*_cells(compared), *_differences(tests)]


def interval(spread: Spread, seeds: int) -> tuple[float | None, float | None]:
    """Ends of the 95 % interval of a mean over seeds (Student's t); None for one seed."""
    from scipy.special import stdtrit

    if spread.deviation is None or seeds < 2:
        return None, None
    half = float(stdtrit(seeds - 1, (1 + LEVEL) / 2)) * spread.deviation / seeds**0.5
    return spread.mean - half, spread.mean + half


def _cells(compared: Comparison) -> Iterator[Chart]:
    cells = compared.cells[:_MOST_LINES][::-1]
    labels = tuple(compared.label(cell) for cell in cells)
    panels = [_panel(name, cells, labels) for name in shown_metrics(compared)]
    if panels:
        caption = "Mean of each cell's best setting over its seeds, with Student's 95 % interval of the mean."
        caption += " Hollow marks are the published values." if any(cell.published for cell in cells) else ""
        yield Chart(name="cells", title="Test values", caption=caption, panels=tuple(panels))


def _panel(name: str, cells: Sequence[Cell], labels: tuple[str, ...]) -> Panel:
    ours = [(place, cell) for place, cell in enumerate(cells) if name in cell.metrics]
    ends = [interval(cell.metrics[name], len(cell.trials)) for _, cell in ours]
    low, high = [low for low, _ in ends], [high for _, high in ends]
    x, y = [cell.metrics[name].mean for _, cell in ours], [place for place, _ in ours]
    series = [Series(name="ours", x=x, y=y, mark="dots", low=low, high=high, spread="x")]
    printed = [(cell.published[name], place) for place, cell in enumerate(cells) if name in cell.published]
    if printed:
        x, y = [value for value, _ in printed], [place for _, place in printed]
        series.append(Series(name="published", x=x, y=y, mark="hollow", colour=1))
    return Panel(x=Axis(title=name), y=Axis(title="", labels=labels), series=tuple(series))


def _differences(tests: PairedTests) -> Iterator[Chart]:
    pairs = tests.pairs[:_MOST_LINES][::-1]
    if not pairs:
        return
    series = Series(
        name="",
        x=[pair.difference for pair in pairs],
        y=[*range(len(pairs))],
        mark="dots",
        low=[pair.low for pair in pairs],
        high=[pair.high for pair in pairs],
        spread="x",
        texts=["" if pair.p_holm is None else f"p {pair.p_holm:.2g} (Holm)" for pair in pairs],
    )
    labels = tuple(f"{pair.first} - {pair.second}" for pair in pairs)
    x_axis, y_axis = Axis(title=f"difference of test/ndcg_{tests.k}"), Axis(title="", labels=labels)
    caption = "Difference of two cells over the same test rows, with the 95 % bootstrap interval over users."
    panel = Panel(x=x_axis, y=y_axis, series=(series,), rules=(0.0,))
    yield Chart(name="differences", title="Paired differences", caption=caption, panels=(panel,), is_wide=True)
