"""Finished trials as cells: the best setting by validation, its test values over seeds, published ones beside them."""

import csv
import statistics
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from platform.analysis import compare, comparison
from platform.analysis.comparison import Spread
from platform.errors import InvalidSweep
from platform.storage.lease import hold
from platform.storage.trial_end import EndedTrial, State, TrialEnd
from platform.study.study import Study
from platform.sweepfile.spec import load
from platform.tracking.journal import TrialFiles

SWEEP = """\
name: shapes
trainable: tests.trainables.curve
metric: {name: valid/ndcg_10, goal: GOAL}
method: grid
num_trials: 8
parameters:
  steps: 3
  part.name:
    values: [plain, curved]
    when:
      curved: {part.bend: {values: [1, 2]}}
  x: {values: [0.25, 0.5]}
  seed: {values: [0, 1, 2]}
compare: {by: [part.name]PUBLISHED}
"""


@pytest.fixture
def shapes(tmp_path: Path, write_trial: Callable[..., Path]) -> Callable[..., SimpleNamespace]:
    """Call for a sweep; `trial(shape, x, seed, objective, test)` adds a complete trial to it, `table()` compares."""

    def make(published: str = "", goal: str = "maximize") -> SimpleNamespace:
        file = tmp_path / "shapes.yaml"
        more = ""
        if published:
            (tmp_path / "published.csv").write_text(published)
            more = ", published: published.csv"
        file.write_text(SWEEP.replace("PUBLISHED", more).replace("GOAL", goal))
        spec, folder = load(file), tmp_path / "runs" / "shapes"
        numbers = iter(range(1000))

        def trial(shape: str, x: float, seed: int | None, objective: Any, test: float = 0.5, **more: Any) -> None:
            values: dict[str, Any] = {"steps": 3, "part.name": shape, "x": x}
            values |= {} if seed is None else {"seed": seed}
            values |= {"part.bend": more.pop("bend")} if "bend" in more else {}
            path = objective if isinstance(objective, list) else [objective]
            write_trial(folder, next(numbers), values, path, more.pop("metrics", {"test/ndcg_10": test}), **more)

        return SimpleNamespace(
            spec=spec, folder=folder, file=file, trial=trial, table=lambda: compare.compare([(spec, folder)])
        )

    return make


def test_a_trial_that_lost_a_report_is_left_out_and_named(shapes):
    here = shapes()
    here.trial("plain", 0.25, 0, [0.9, 0.2])
    here.trial("plain", 0.5, 0, 0.4)
    journal = here.folder / "trials" / "0" / "journal.jsonl"
    journal.write_bytes(b"garbage\n" + journal.read_bytes().split(b"\n", 1)[1])
    table = here.table()
    assert [files.number for files in table.cells[0].trials] == [1]
    assert f"shapes: {journal}:1 is no report and is left out, with its trial" in table.notes


def test_trials_of_two_studies_are_refused(shapes):
    here = shapes()
    here.trial("plain", 0.25, 0, 0.5)
    TrialFiles(here.folder, 1).begin({}, "11111111111")
    assert len(here.table().cells) == 1
    TrialFiles(here.folder, 2).begin({}, "22222222222")
    with pytest.raises(
        InvalidSweep, match=r"there is 11111111 in folder 1 and 22222222 in folder 2; move what belongs"
    ):
        here.table()


def test_a_cell_holds_the_test_values_of_its_best_setting_on_validation_over_seeds(shapes):
    here = shapes()
    for seed, (objective, test) in enumerate([(0.4, 0.30), (0.5, 0.34), (0.6, 0.38)]):
        here.trial("plain", 0.25, seed, objective, test)
        here.trial("plain", 0.5, seed, objective - 0.1, 0.9)
    here.trial("curved", 0.25, 0, 0.1, 0.125, bend=1)
    table = here.table()
    assert [dict(cell.by) for cell in table.cells] == [{"part.name": "plain"}, {"part.name": "curved"}]
    plain, curved = table.cells
    assert plain.setting == {"x": 0.25}
    assert (plain.settings, plain.fewer_seeds, [files.number for files in plain.trials]) == (2, 0, [0, 2, 4])
    assert plain.objective == Spread(statistics.fmean([0.4, 0.5, 0.6]), statistics.stdev([0.4, 0.5, 0.6]))
    test = plain.metrics["test/ndcg_10"]
    assert (test.mean, test.deviation) == pytest.approx((0.34, 0.04))
    assert curved.setting == {"part.bend": 1, "x": 0.25}
    assert curved.metrics["test/ndcg_10"] == Spread(0.125, None)


def test_the_least_mean_wins_where_the_goal_is_to_minimize(shapes):
    here = shapes(goal="minimize")
    here.trial("plain", 0.25, 0, [0.9, 0.3, 0.7], 0.1)
    here.trial("plain", 0.5, 0, [0.4, 0.5], 0.2)
    (cell,) = here.table().cells
    assert (cell.setting, cell.objective.mean, cell.metrics["test/ndcg_10"].mean) == ({"x": 0.25}, 0.3, 0.1)


@pytest.mark.parametrize(("trials", "wanted"), [(30, 6), (4, 4)])
def test_a_grid_is_as_long_as_its_points_or_num_trials(shapes, trials, wanted):
    here = shapes()
    here.trial("plain", 0.25, 0, 0.4)
    sets = ["method=grid", f"num_trials={trials}", "parameters.part.name=plain", "compare.by=[x]"]
    table = compare.compare([(load(here.file, sets), here.folder)])
    assert f"shapes: 1 of {wanted} trials have ended" in table.notes


def test_a_trial_counts_with_its_best_report_not_its_last(shapes):
    here = shapes()
    here.trial("plain", 0.25, 0, [0.1, 0.8, 0.2])
    here.trial("plain", 0.5, 0, [0.7, 0.7, 0.7])
    (cell,) = here.table().cells
    assert (cell.setting, cell.objective.mean) == ({"x": 0.25}, 0.8)


@pytest.mark.parametrize(
    ("best", "setting", "shown", "choosing", "settings"),
    [
        ("1", 0.25, [0.2, 0.4], 0.9, 2),  # the lucky first seed chooses, and does not count
        ("2", 0.5, [0.6, 0.8], 0.5, 2),
        ("all", 0.5, [0.5, 0.6, 0.8], None, 2),
    ],
)
def test_means_are_over_the_seeds_that_did_not_choose_the_setting(shapes, best, setting, shown, choosing, settings):
    here = shapes()
    for seed, (one, two) in enumerate([(0.9, 0.5), (0.2, 0.6), (0.4, 0.8)]):
        here.trial("plain", 0.25, seed or None, one, one / 2)  # a trial without a seed has 0
        here.trial("plain", 0.5, seed, two, two / 2)
    text = here.file.read_text().replace("  seed: {values: [0, 1, 2]}\n", "")
    here.file.write_text(text + f"seeds: {{values: [0, 1, 2], best: {best}}}\n")
    table = compare.compare([(load(here.file), here.folder)])
    (cell,) = table.cells
    assert (cell.setting, cell.settings, cell.fewer_seeds) == ({"x": setting}, settings, 0)
    assert cell.objective == Spread.of(shown)
    assert cell.metrics["test/ndcg_10"].mean == pytest.approx(statistics.fmean(shown) / 2)
    assert cell.choosing == choosing
    head, line = comparison.lines(table)
    column = "valid/ndcg_10 with the choosing seed"
    assert (line[head.index(column)] if column in head else None) == choosing


def test_a_cell_that_shows_the_choosing_seed_says_so(shapes):
    here = shapes()
    here.trial("plain", 0.25, 0, 0.4)
    spec = load(here.file, ["parameters.seed=0"])
    text = here.file.read_text().replace("  seed: {values: [0, 1, 2]}\n", "")
    here.file.write_text(text + "seeds: {values: [0, 1]}\n")
    note = "1 cells show the seed that chose their setting, as no other is complete: they look too good"
    assert f"shapes: {note}" in compare.compare([(load(here.file), here.folder)]).notes
    assert not [text for text in compare.compare([(spec, here.folder)]).notes if "look too good" in text]


def test_only_settings_with_the_most_seeds_compete_and_the_others_are_counted(shapes):
    here = shapes()
    for seed in (0, 1):
        here.trial("plain", 0.25, seed, 0.4, 0.2)
    here.trial("plain", 0.5, 0, 0.9, 0.8)
    here.trial("curved", 0.5, 0, 0.9, 0.7, bend=1)
    table = here.table()
    assert [(cell.setting["x"], cell.settings, cell.fewer_seeds) for cell in table.cells] == [(0.25, 1, 1), (0.5, 1, 0)]
    assert table.notes == (
        "shapes: 4 of 8 trials have ended",
        "shapes: 1 settings with fewer seeds than others of their cell did not compete",
        "shapes: cells have between 1 and 2 seeds",
        "shapes: cells differ in settings begun: from 1 to 3",
        "shapes: cells differ in epochs: from 1 to 3",
    )


def test_the_facts_of_each_data_set_stand_beside_the_table_once(shapes):
    here = shapes()
    for seed, facts in enumerate(("office: 0 of 9 interactions repeat", "pantry: 2 of 9 interactions repeat")):
        for shape in ("plain", "curved"):
            here.trial(shape, 0.25, seed, 0.4 + seed, tags={"data.facts": facts})
    assert here.table().notes[1:] == ("office: 0 of 9 interactions repeat",)


def test_the_same_point_proposed_twice_counts_once(shapes):
    here = shapes()
    here.trial("plain", 0.25, None, 0.4, 0.2)
    here.trial("plain", 0.25, None, 0.4, 0.2)
    here.trial("plain", 0.5, None, 0.5, 0.3)
    (cell,) = here.table().cells
    assert (cell.setting, cell.settings, len(cell.trials)) == ({"x": 0.5}, 2, 1)


@pytest.mark.parametrize("state", ["PRUNED", "FAIL", "INTERRUPTED", None])
def test_only_complete_trials_compete(shapes, state):
    here = shapes()
    here.trial("plain", 0.25, 0, 0.4, 0.2)
    here.trial("plain", 0.5, 0, 0.9, 0.8, state=state)
    (cell,) = here.table().cells
    assert (cell.setting, cell.settings) == ({"x": 0.25}, 1)


def test_a_losing_settings_test_values_are_nowhere_in_the_file(shapes, tmp_path):
    here = shapes()
    here.trial("plain", 0.25, 0, 0.4, 0.2)
    here.trial("plain", 0.5, 0, 0.3, 0.987)
    text = comparison.write(here.table(), tmp_path).read_text()
    assert "0.2" in text
    assert "0.987" not in text


def test_cells_stand_in_the_order_of_the_file_whatever_the_order_of_the_trials(shapes):
    here = shapes()
    here.trial("curved", 0.25, 0, 0.9, bend=2)
    here.trial("plain", 0.25, 0, 0.1)
    assert [cell.by["part.name"] for cell in here.table().cells] == ["plain", "curved"]


PUBLISHED = "part.name,trial/seconds,test/ndcg_10,note\nplain,2.5,0.25,copied\ncurved,,,\nround,1,1,\n"


def test_published_values_stand_beside_with_the_difference_in_percent_of_them(shapes, tmp_path):
    here = shapes(PUBLISHED)
    here.trial("plain", 0.25, 0, 0.4, metrics={"test/ndcg_10": 0.3, "test/hr_10": 0.5, "trial/seconds": 2.0})
    here.trial("curved", 0.25, 0, 0.4, 0.3, bend=1)
    table = here.table()
    assert table.metrics == ("trial/seconds", "test/ndcg_10", "test/hr_10")
    assert [(dict(cell.published), cell.note) for cell in table.cells] == [
        ({"trial/seconds": 2.5, "test/ndcg_10": 0.25}, "copied"),
        ({}, ""),
    ]
    assert comparison.difference(table.cells[0].metrics["test/ndcg_10"], 0.25) == pytest.approx(20)
    assert comparison.difference(table.cells[0].metrics["trial/seconds"], 2.5) == pytest.approx(-20)
    with comparison.write(table, tmp_path).open() as stream:
        plain, curved = csv.DictReader(stream)
    assert plain["part.name"] == "plain"
    assert (plain["sweep"], plain["setting"], plain["trials"]) == ("shapes", '{"x": 0.25}', "0")
    assert float(plain["test/ndcg_10 difference_percent"]) == pytest.approx(20)
    assert (plain["test/ndcg_10 published"], plain["test/ndcg_10 sd"], plain["note"]) == ("0.25", "", "copied")
    assert (curved["test/ndcg_10 published"], curved["test/hr_10 mean"]) == ("", "")


def test_the_file_has_no_column_for_what_was_published_where_nothing_was(shapes, tmp_path):
    here = shapes()
    here.trial("plain", 0.25, 0, 0.4)
    head = comparison.write(here.table(), tmp_path).read_text().splitlines()[0].split(",")
    assert head[-4:] == ["valid/ndcg_10 sd", "test/ndcg_10 mean", "test/ndcg_10 sd", "note"]


def test_the_cells_of_two_sweeps_make_one_table_each_named_by_its_own_parameters(shapes, tmp_path, write_trial):
    here = shapes()
    here.trial("plain", 0.25, 0, 0.4)
    floors = tmp_path / "floors.yaml"
    floors.write_text(
        "name: floors\ntrainable: floors\nmetric: {name: valid/ndcg_20, goal: maximize}\nnum_trials: 2\n"
        "parameters: {method: {values: [popularity, transitions]}}\ncompare: {by: [method]}\n"
    )
    folder = tmp_path / "runs" / "floors"
    for number, method in enumerate(("transitions", "popularity")):
        write_trial(folder, number, {"method": method}, [0.1], name="valid/ndcg_20")
    table = compare.compare([(here.spec, here.folder), (load(floors), folder)])
    assert (table.by, table.objective) == (("part.name", "method"), "valid/ndcg_10")
    assert [(cell.sweep, table.label(cell)) for cell in table.cells] == [
        ("shapes", "plain"),
        ("floors", "popularity"),
        ("floors", "transitions"),
    ]
    assert table.notes == (
        "shapes: 1 of 8 trials have ended",
        "floors: settings were chosen by valid/ndcg_20 (maximize)",
    )


def test_labels_leave_out_what_all_cells_share_unless_that_would_make_two_alike(tmp_path):
    def cell(sweep: str, **by: str) -> comparison.Cell:
        return comparison.Cell(sweep, by, {}, 1, 0, Spread(0.5, None), {}, {}, "", ())

    def labels(*cells: comparison.Cell) -> list[str]:
        table = comparison.Comparison("valid/ndcg_10", ("data", "way"), (), cells, ())
        return [table.label(each) for each in cells]

    assert labels(cell("a", data="office", way="none"), cell("a", data="office", way="pad")) == ["none", "pad"]
    assert labels(cell("a", data="office"), cell("a", way="pad")) == ["office", "pad"]
    assert labels(cell("a", data="office", way="pad"), cell("a", way="pad")) == ["office / pad", "pad"]
    assert labels(cell("a", data="office"), cell("b", data="office")) == ["a: office", "b: office"]


def test_a_sweep_that_runs_is_read_and_left_as_it_is(sweep, write_trial):
    here = sweep("method=random", "early_stopping=none", "compare={by: [part.name]}")
    with hold(here.spec, here.folder):
        study = Study(here.spec, here.space, here.folder)
        for _ in range(3):
            asked = study.ask()
            assert asked is not None
            write_trial(here.folder, asked.number, asked.values, [0.25 * asked.number], state=None)
        end = TrialEnd.now(State.COMPLETE, "finished")
        study.tell(EndedTrial(1, end, (0.25,)))
        TrialFiles(here.folder, 1).end(end)
        for torn in (here.folder / "study.journal", here.folder / "trials" / "2" / "journal.jsonl"):
            with torn.open("a") as stream:
                stream.write('{"torn')
        before = {path: path.read_bytes() for path in here.folder.rglob("*") if path.is_file()}
        table = compare.compare([(here.spec, here.folder)])
        assert {path: path.read_bytes() for path in here.folder.rglob("*") if path.is_file()} == before
    (cell,) = table.cells
    assert (cell.objective.mean, [files.number for files in cell.trials]) == (0.25, [1])
    assert table.notes == (
        "curve: 1 of 6 trials have ended",
        "curve: cells differ in settings begun: from 1 to 2",
        "curve: cells differ in epochs: from 1 to 2",
        "curve: plain: no trial is complete (none has ended)",
    )


TWO = "part.name,x,test/ndcg_10\nplain,0.25,0.3\nplain,0.75,0.2\nplain,0.5,\ncurved,0.5,0.4\n"


def test_lines_that_only_the_paper_has_stand_below_those_of_the_same_data(shapes, tmp_path):
    here = shapes()
    (tmp_path / "published.csv").write_text(TWO)
    spec = load(here.file, ["compare={by: [part.name, x], published: published.csv}"])
    here.trial("plain", 0.25, 0, 0.4, 0.5)
    table = compare.compare([(spec, here.folder)])
    assert [(dict(line.by), dict(line.published)) for line in table.printed] == [
        ({"part.name": "plain", "x": "0.75"}, {"test/ndcg_10": 0.2})
    ]
    with comparison.write(table, tmp_path).open() as stream:
        ours, printed = csv.DictReader(stream)
    assert (ours["x"], ours["seeds"], ours["test/ndcg_10 published"]) == ("0.25", "1", "0.3")
    assert (printed["x"], printed["seeds"], printed["test/ndcg_10 mean"]) == ("0.75", "0", "")
    assert (printed["test/ndcg_10 published"], printed["note"]) == ("0.2", "published only")


def test_what_one_sweep_of_a_table_measured_is_not_listed_as_printed_by_another(shapes, tmp_path, write_trial):
    text = shapes().file.read_text().replace("by: [part.name]", "by: [part.name, x], published: published.csv")
    (tmp_path / "published.csv").write_text("part.name,x,test/ndcg_10\nplain,0.25,0.1\nplain,0.5,0.2\nplain,0.75,0.3\n")
    sweeps = []
    for number, x in enumerate((0.25, 0.5)):
        file = tmp_path / f"part{number}.yaml"
        file.write_text(text.replace("name: shapes", f"name: part{number}"))
        write_trial(
            tmp_path / "runs" / f"part{number}", 0, {"part.name": "plain", "x": x}, [0.4], {"test/ndcg_10": 0.3}
        )
        sweeps.append((load(file), tmp_path / "runs" / f"part{number}"))
    table = compare.compare(sweeps)
    assert [cell.published for cell in table.cells] == [{"test/ndcg_10": 0.1}, {"test/ndcg_10": 0.2}]
    assert [dict(line.by) for line in table.printed] == [{"part.name": "plain", "x": "0.75"}]


def test_failed_trials_that_are_retried_count_no_more(shapes):
    here = shapes()
    here.trial("plain", 0.25, 0, 0.4)
    for number, again in ((1, {}), (2, {"user": {"retries": 1}}), (3, {})):
        files = TrialFiles(here.folder, number)
        files.begin({"steps": 3, "part.name": "plain", "x": 0.5, "seed": number}, "study", again)
        files.end(TrialEnd.now(State.FAIL, "exception: no"))
    assert "shapes: 3 of 8 trials have ended, 2 of them failed" in here.table().notes
