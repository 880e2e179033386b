"""The table of a sweep."""

import csv
import io
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import pytest
from rich.console import Console

from platform.analysis import compare, report, trials
from platform.driver import Outcome, Results, parent_end
from platform.runners.ledger import Ledger
from platform.storage.trial_end import EndedTrial, State, TrialEnd
from platform.study.study import Study


@pytest.fixture
def played(sweep) -> Callable[..., SimpleNamespace]:
    """A sweep of five trials: two complete, one pruned, one failed, one running."""

    def play(*overrides: str) -> SimpleNamespace:
        here = sweep("early_stopping=none", "method=random", *overrides)
        study = Study(here.spec, here.space, here.folder)
        ledger = Ledger(here.spec, study, here.folder, here.folder)
        for _ in range(5):
            ledger.next_task(cpus=1, gpus=0)
        objective = here.spec.metrics[0].name
        for number, value in enumerate((0.3, 0.4, 0.8, 0.5, 0.6)):
            ledger.report(number, 1, {objective: value, "test/ndcg_10": 0.01})
        ledger.report(0, 2, {"test/ndcg_10": value / 2})
        ledger.finish(0, {"trial/seconds": 1.0})
        ledger.finish(1, {})
        study.tell(EndedTrial(2, TrialEnd(State.PRUNED, "early stopping", 1e10), None))
        ledger.report(3, 2, {objective: float("nan")})
        return SimpleNamespace(**vars(here), study=study)

    return play


def test_complete_trials_come_first_by_objective_then_the_others_by_number(played):
    here = played()
    rows = trials.rows(here.study, here.folder)
    assert [(row.number, row.state) for row in rows] == [
        (1, "COMPLETE"),
        (0, "COMPLETE"),
        (2, "PRUNED"),
        (3, "FAIL"),
        (4, "RUNNING"),
    ]
    assert [row.objective for row in rows] == [(0.4,), (0.3,), (0.8,), (0.5,), (0.6,)]


def test_those_that_have_ended_are_known_without_a_file_of_theirs(played):
    here = played()
    shutil.rmtree(here.folder / "trials")
    found = [(trial.number, trial.end.state, trial.values) for trial in here.study.ended()]
    assert found == [
        (0, "COMPLETE", (0.3,)),
        (1, "COMPLETE", (0.4,)),
        (2, "PRUNED", (0.8,)),
        (3, "FAIL", None),
    ]


def test_the_smallest_is_best_where_it_is_to_be(played):
    here = played("metric={name: valid/hr_10, goal: minimize}")
    assert [row.number for row in trials.rows(here.study, here.folder)][:2] == [0, 1]


def test_a_row_says_what_was_swept_why_it_ended_and_the_test_values_of_complete_trials_only(played):
    here = played("parameters.steps=4")
    rows = {row.number: row for row in trials.rows(here.study, here.folder)}
    assert set(rows[0].swept) - {"part.bend"} == {"x", "width", "part.name"}
    assert ("part.bend" in rows[0].swept) == (rows[0].swept["part.name"] == "curved")
    assert rows[0].test == {"test/ndcg_10": 0.3}
    assert all(row.test == {} for row in rows.values() if row.state != "COMPLETE")
    assert rows[3].reason == "non-finite objective: valid/ndcg_10 = nan at step 2"
    assert rows[4].reason == ""
    assert rows[4].seconds is None
    assert rows[0].seconds is not None
    assert 0 <= rows[0].seconds < 60


def test_the_table_is_written_with_a_column_for_each_thing(played, tmp_path):
    here = played()
    path = trials.write_csv(trials.rows(here.study, here.folder), ["valid/ndcg_10"], tmp_path / "results.csv")
    with path.open() as stream:
        table = list(csv.DictReader(stream))
    head = ["trial", "state", "reason", "valid/ndcg_10", "part.name", "width", "x", "test/ndcg_10", "seconds"]
    assert [name for name in table[0] if name != "part.bend"] == head
    assert (table[0]["trial"], table[0]["valid/ndcg_10"]) == ("1", "0.4")
    assert table[-1]["seconds"] == ""


def test_a_test_value_that_is_not_finite_is_left_out_of_the_table_the_result_and_the_summary(begin):
    here = begin("num_trials=1")
    here.ledger.next_task(cpus=1, gpus=0)
    here.ledger.report(0, 1, {"valid/ndcg_10": 0.5, "test/ndcg_10": 0.25, "test/hr_10": math.nan})
    here.ledger.report(0, 2, {"test/ndcg_10": math.inf})
    here.ledger.finish(0, {})
    table = trials.rows(here.study, here.folder)
    assert table[0].test == {"test/ndcg_10": 0.25}
    page = io.StringIO()
    console = Console(file=page, width=160)
    report.result(console, here.study.spec, table, None, "")
    assert "trial 0: test/ndcg_10 0.2500\n" in page.getvalue()
    end = parent_end(here.study.spec, Outcome("FINISHED", None, 0), Results(table, None, ()))
    assert end.metrics == {"best/valid/ndcg_10": 0.5, "best/test/ndcg_10": 0.25}


def test_a_table_whose_writing_is_cut_short_leaves_the_one_before(played, tmp_path):
    class Cut:
        def __str__(self) -> str:
            raise KeyboardInterrupt

    here = played()
    table = trials.rows(here.study, here.folder)
    path = trials.write_csv(table, ["valid/ndcg_10"], tmp_path / "results.csv")
    before = path.read_text()
    with pytest.raises(KeyboardInterrupt):
        trials.write_csv([replace(table[0], swept={"x": Cut()}), *table], ["valid/ndcg_10"], path)
    assert path.read_text() == before


def test_no_text_of_a_table_runs_as_a_formula(played, tmp_path):
    row = trials.rows((here := played()).study, here.folder)[0]
    texts = ["=1+1", "+1", "-1 of", "@SUM(A1)", "\t=1", "\r=1", "a=1", "-", ""]
    swept = {f"x{index}": text for index, text in enumerate(texts)} | {"=y": -0.5, "z": True}
    path = trials.write_csv([replace(row, swept=swept, reason="=cmd")], ["valid/ndcg_10"], tmp_path / "results.csv")
    with path.open(newline="") as stream:
        (line,) = csv.DictReader(stream)
    assert [line[f"x{index}"] for index in range(9)] == [
        "'=1+1", "'+1", "'-1 of", "'@SUM(A1)", "'\t=1", "'\r=1", "a=1", "'-", "",
    ]  # fmt: skip
    assert (line["'=y"], line["z"], line["reason"]) == ("-0.5", "True", "'=cmd")


def test_of_several_seeds_the_best_setting_stands_first_and_the_parent_run_has_its_means(begin):
    driver = begin("seeds={values: [0, 3, 4]}", "num_trials=2")
    for value in (0.3, 0.4, 0.9, 0.7):  # two settings, then the better one with two seeds more
        task = driver.ledger.next_task(cpus=1, gpus=0)
        driver.ledger.report(task.number, 1, {"valid/ndcg_10": value, "test/ndcg_10": value / 2, "trial/x": 1.0})
        driver.ledger.finish(task.number, {})
    rows, spec = trials.rows(driver.study, driver.folder), driver.study.spec
    assert [(row.number, row.swept["seed"]) for row in rows] == [(1, 0), (2, 3), (3, 4), (0, 0)]
    winner = compare.winner(spec, driver.folder)
    end = parent_end(spec, Outcome("FINISHED", None, 0), Results(rows, None, (), winner))
    assert end.metrics == pytest.approx({"best/valid/ndcg_10": 0.8, "best/test/ndcg_10": 0.4})
    assert (end.tags["best.trial"], end.tags["best.seed"]) == ("1", "0")
