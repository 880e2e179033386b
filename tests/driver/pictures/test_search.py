"""Pictures of a search, whatever its trials: one, none complete, several objectives, branches; all drawn both ways."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace

import pytest

from platform.pictures import interactive, printed
from platform.pictures.chart import Axis
from platform.pictures.search import ALL_POINTS, charts
from platform.pictures.trials import Search, Trial
from platform.sweepfile.fields import Metric
from platform.sweepfile.parameters import Choice, FloatRange, IntRange, Parameter

NDCG = Metric(name="valid/ndcg_10", goal="maximize")
LOSS = Metric(name="valid/loss", goal="minimize")
SWEPT: dict[str, list[Parameter]] = {
    "rate": [FloatRange(min=1e-4, max=1e-1, log=True)],
    "width": [Choice(values=(16, 32))],
    "bend": [IntRange(min=1, max=5)],
}


def trial(number: int, state: str = "complete", *values: float, reports: int = 4) -> Trial:
    objective = values or ((7 * number % 11) / 10, number / 10)
    return Trial(
        number=number,
        state=state,
        values={"rate": 10 ** -(1 + number % 4), "width": 16 * (1 + number % 2)} | ({"bend": number} if number else {}),
        objective=objective if reports else None,
        curve=[tuple(value * n / reports for value in objective) for n in range(1, reports + 1)],
        started=1e9 + number,
        ended=None if state == "unfinished" else 1e9 + number + 1.5,
    )


def search(trials: Sequence[Trial], *metrics: Metric) -> Search:
    return Search(metrics=metrics or (NDCG,), swept=SWEPT, trials=trials)


ALL_STATES = [trial(0, "failed", reports=0), *(trial(n, "pruned", n / 9, reports=2) for n in (1, 2))]
ALL_STATES += [trial(n) for n in range(3, 9)] + [trial(9, "unfinished", 0.1, reports=1)]


@pytest.mark.parametrize(
    ("found", "names"),
    [
        (search([trial(0)]), "history curves slices parallel timeline"),
        (search([trial(n, "pruned", reports=n) for n in (1, 2)]), "history curves slices contour parallel timeline"),
        (search(ALL_STATES), "history curves slices importance contour parallel timeline"),
        (search([trial(n) for n in range(9)], NDCG, LOSS),
         "history curves pareto slices importance contour parallel timeline"),
        (search([trial(0, "failed", reports=0)]), "timeline"),
        (search([]), ""),
    ],
    ids=["one", "pruned", "all-states", "two-objectives", "failed", "none"],
)  # fmt: skip
def test_every_sweep_has_the_pictures_that_its_trials_allow(tmp_path, found, names):
    made = charts(found)
    assert {chart.name for chart in made} - {"importance", "contour"} == set(names.split()) - {"importance", "contour"}
    assert {chart.name for chart in made} <= {*names.split(), "importance", "contour"}
    for chart in made:
        assert all(panel.series for panel in chart.panels)
        json.dumps(interactive.figure(chart), allow_nan=False)


def test_pages_share_one_script_and_load_nothing_else(tmp_path):
    made = charts(search(ALL_STATES))
    pages = interactive.write_pages(made, tmp_path)
    assert {page.stem for page in pages} == {chart.name for chart in made}
    for page in pages:
        assert re.findall(r'(?:src|href)="([^"]*)"', page.read_text()) == ["plotly.min.js"]
    assert (tmp_path / "plotly.min.js").stat().st_size > 1e6


def test_printed_pictures_are_the_same_each_time_and_take_names_as_they_are(tmp_path):
    made = [chart for chart in charts(search(ALL_STATES)) if chart.name == "contour"]
    made[0] = replace(made[0], panels=(replace(made[0].panels[0], x=Axis(title=r"$\frac$ <b>_&")),))
    files = printed.print_charts(made, tmp_path / "one")
    again = printed.print_charts(made, tmp_path / "two")
    assert {path.suffix for path in files} == {".svg", ".pdf"}
    assert [path.read_bytes() for path in files] == [path.read_bytes() for path in again]
    (svg,) = (path for path in files if path.suffix == ".svg")
    assert "mathdefault" not in svg.read_text()
    fonts = b"".join(path.read_bytes() for path in files if path.suffix == ".pdf")
    assert b"/FontFile2" in fonts


def test_the_best_line_knows_complete_trials_only_and_the_goal():
    (panel,) = charts(search([trial(0, "complete", 5.0), trial(1, "pruned", 0.5), trial(2, "complete", 3.0)], LOSS))[
        0
    ].panels
    best = next(series for series in panel.series if series.name == "best so far")
    assert (best.x, best.y) == ([0, 2, 2], [5.0, 3.0, 3.0])


def test_the_front_holds_what_nothing_beats_in_both():
    points = [(0.1, 0.1), (0.5, 0.5), (0.9, 0.9), (0.4, 0.6)]
    made = {c.name: c for c in charts(search([trial(n, "complete", *p) for n, p in enumerate(points)], NDCG, LOSS))}
    front = next(series for series in made["pareto"].panels[0].series if series.name == "Pareto front")
    assert [*zip(front.x, front.y, strict=True)] == points[:3]


def test_curves_of_many_trials_are_thinned_to_the_stated_number():
    many = [trial(n, "pruned", 0.5, reports=40) for n in range(2000)]
    curves = next(chart for chart in charts(search(many)) if chart.name == "curves")
    assert sum(len(series.x) for series in curves.panels[0].series) < ALL_POINTS + 3 * len(many)
    assert f"at most {ALL_POINTS // 2000} points per trial" in curves.caption


def test_runs_with_further_seeds_are_in_the_timeline_alone():
    made = charts(Search(metrics=(NDCG,), swept=SWEPT, trials=[trial(0)], further=[trial(1), trial(2)]))
    assert [series.name for series in made[-1].panels[0].series] == ["complete", "with a further seed"]
    assert [len(series.x) for series in made[-1].panels[0].series] == [3, 6]
    assert made[0].panels[0].series[1].x == [0]


def test_two_trials_at_once_are_two_rows_of_the_timeline():
    timeline = charts(search([trial(n) for n in range(3)]))[-1]
    assert timeline.panels[0].y.labels == ("1", "2")
