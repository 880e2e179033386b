"""The ledger: each report once, on disk first, judged as it comes."""

import json
import math

import pytest

from platform.tracking.journal import TrialFiles
from tests.driver.ledgers import Ended, goes_on, report, start
from trainables.runtime.task import Task


def journal(folder, number: int = 0) -> list[tuple[int, float | None]]:
    lines = TrialFiles(folder, number).lines()
    assert [line["report"] for line in lines] == list(range(1, len(lines) + 1))
    return [(line["step"], line["metrics"].get("valid/ndcg_10")) for line in lines]


def test_a_task_is_plain_data_that_says_all_a_worker_needs(begin):
    here = begin("parameters.steps=4")
    task = start(here.ledger)
    assert Task.from_dict(json.loads(json.dumps(task.to_dict()))) == task
    assert task.trainable == "tests.trainables.curve"
    assert (task.number, task.attempt, task.cpus, task.gpus) == (0, 0, 1.0, 0.0)
    assert task.values["steps"] == 4
    assert task.folder == str(here.folder / "trials" / "0")
    assert TrialFiles(here.folder, 0).read("trial.json")["values"] == task.values


def test_a_report_is_on_disk_in_the_study_and_on_its_way_when_it_is_acknowledged(begin):
    here = begin()
    start(here.ledger)
    here.shipped.numbers.clear()
    assert report(here.ledger, 0, 3, 0.5)
    assert journal(here.folder) == [(3, 0.5)]
    assert here.study.trials()[0].intermediate_values == {1: 0.5}
    assert here.shipped.numbers == [0]


def test_a_report_without_the_objective_is_kept_but_not_counted_for_early_stopping(begin):
    here = begin()
    start(here.ledger)
    assert goes_on(here.ledger, 0, 1, {"pretrain/train/loss": 2.0})
    assert report(here.ledger, 0, 2, 0.5)
    assert len(journal(here.folder)) == 2
    assert here.study.trials()[0].intermediate_values == {1: 0.5}


def test_the_value_of_a_trial_is_its_best_report_not_its_last(begin):
    here = begin()
    start(here.ledger)
    for step, value in enumerate((0.3, 0.7, 0.6), start=1):
        report(here.ledger, 0, step, value)
    here.ledger.finish(0, {"trial/seconds": 2.0})
    assert here.study.trials()[0].value == 0.7
    assert here.ended == [Ended(0, "COMPLETE", "finished", (0.7,))]
    assert TrialFiles(here.folder, 0).lines()[-1]["metrics"] == {"trial/seconds": 2.0}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_objective_that_is_not_finite_ends_the_trial_at_once_as_failed(begin, value):
    here = begin()
    start(here.ledger)
    assert report(here.ledger, 0, 1, 0.5)
    assert not report(here.ledger, 0, 2, value)
    assert not report(here.ledger, 0, 3, 0.6)
    (trial,) = here.study.trials()
    assert trial.state.name == "FAIL"
    assert here.ended[0].reason == f"non-finite objective: valid/ndcg_10 = {value} at step 2"
    assert journal(here.folder) == [(1, 0.5), (2, None)]
    assert TrialFiles(here.folder, 0).read("end.json")["reason"] == here.ended[0].reason


def test_another_metric_that_is_not_finite_ends_nothing(begin):
    here = begin()
    start(here.ledger)
    assert goes_on(here.ledger, 0, 1, {"train/loss": math.nan, "valid/ndcg_10": 0.5})
    assert TrialFiles(here.folder, 0).lines()[0]["metrics"]["train/loss"] is None


def test_a_trial_that_never_reports_the_objective_fails_with_that_reason(begin):
    here = begin()
    start(here.ledger)
    here.ledger.report(0, 1, {"train/loss": 1.0})
    here.ledger.finish(0, {})
    assert here.ended == [Ended(0, "FAIL", "it never reported valid/ndcg_10; it reported train/loss", None)]


def test_early_stopping_ends_a_trial_as_pruned_and_says_where(begin):
    here = begin("early_stopping={type: asha, min_reports: 1, reduction_factor: 3}")
    for number, value in enumerate((0.9, 0.8, 0.7)):
        start(here.ledger)
        assert report(here.ledger, number, 1, value) == (number == 0)
    assert here.ended[0] == Ended(1, "PRUNED", "early stopping (asha) at report 1, rung 0, cutoff 0.9", (0.8,))
    assert here.study.trials()[1].intermediate_values == {1: 0.8}


def test_steps_that_a_retry_repeats_are_journalled_once(begin):
    here = begin()
    start(here.ledger)
    report(here.ledger, 0, 1, 0.1)
    report(here.ledger, 0, 2, 0.2)
    here.ledger.fail(0, "worker lost", "")
    assert start(here.ledger).attempt == 1
    for step, value in ((1, 0.11), (2, 0.22), (3, 0.3)):
        assert report(here.ledger, 0, step, value)
    assert journal(here.folder) == [(1, 0.1), (2, 0.2), (3, 0.3)]
    assert here.study.trials()[0].intermediate_values == {1: 0.1, 2: 0.2, 3: 0.3}


def test_steps_that_a_new_driver_sees_again_are_journalled_once(begin):
    first = begin()
    start(first.ledger)
    report(first.ledger, 0, 1, 0.1)
    report(first.ledger, 0, 2, 0.2)
    here = begin()
    assert here.ledger.left == 6
    task = start(here.ledger)
    assert (task.number, task.attempt) == (0, 1)
    for step, value in ((2, 0.2), (3, 0.3)):
        assert report(here.ledger, 0, step, value)
    assert journal(here.folder) == [(1, 0.1), (2, 0.2), (3, 0.3)]
    assert here.study.trials()[0].intermediate_values == {1: 0.1, 2: 0.2, 3: 0.3}
    here.ledger.finish(0, {})
    assert here.study.trials()[0].value == 0.3


def test_several_metrics_are_told_together_at_the_report_that_is_best_by_the_first(begin):
    two = "metric=[{name: valid/ndcg_10, goal: maximize}, {name: valid/hr_10, goal: minimize}]"
    here = begin(two, "method=nsga2")
    start(here.ledger)
    for step, (a, b) in enumerate(((0.3, 0.2), (0.7, 0.5), (0.6, 0.1)), start=1):
        assert goes_on(here.ledger, 0, step, {"valid/ndcg_10": a, "valid/hr_10": b})
    here.ledger.finish(0, {})
    assert here.study.trials()[0].values == [0.7, 0.5]


def test_one_of_several_metrics_that_is_not_finite_fails_the_trial(begin):
    two = "metric=[{name: valid/ndcg_10, goal: maximize}, {name: valid/hr_10, goal: minimize}]"
    here = begin(two, "method=nsga2")
    start(here.ledger)
    assert not goes_on(here.ledger, 0, 1, {"valid/ndcg_10": 0.5, "valid/hr_10": math.nan})
    assert here.ended[0].reason == "non-finite objective: valid/ndcg_10 = 0.5, valid/hr_10 = nan at step 1"
