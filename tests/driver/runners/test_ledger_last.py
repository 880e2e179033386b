"""The last report of a trial: it writes its rung, and neither early stopping nor a limit ends the trial at it."""

import math

import pytest

from tests.driver.ledgers import report, start

ASHA = "early_stopping={type: asha, min_reports: 1, reduction_factor: 2}"


def run(ledger, number: int, value: float, *, last: bool) -> bool:
    """Report twice; True if the trial goes on after both."""
    return report(ledger, number, 1, value) and report(ledger, number, 2, value, last)


@pytest.mark.parametrize(("last", "state"), [(True, "COMPLETE"), (False, "PRUNED")])
def test_a_trial_that_ran_to_its_end_is_complete_though_early_stopping_would_end_it(begin, last, state):
    here = begin(ASHA, "num_trials=3")
    for number, values in enumerate([(0.9, 0.9), (0.9, 0.1)]):
        start(here.ledger)
        report(here.ledger, number, 1, values[0])
        if report(here.ledger, number, 2, values[1], last):
            here.ledger.finish(number, {})
    assert [trial.state.name for trial in here.study.trials()] == ["COMPLETE", state]


def test_the_last_report_writes_its_rung_for_others_to_be_judged_by(begin):
    here = begin(ASHA, "num_trials=3")
    for number, value in enumerate((0.5, 0.6)):
        start(here.ledger)
        assert run(here.ledger, number, value, last=True)
        here.ledger.finish(number, {})
    assert [trial.system_attrs["completed_rung_1"] for trial in here.study.trials()] == [0.5, 0.6]


def test_a_driver_that_died_after_the_last_report_does_not_end_the_trial_either(begin):
    here = begin(ASHA, "num_trials=3")
    start(here.ledger)
    assert run(here.ledger, 0, 0.9, last=True)
    here.ledger.finish(0, {})
    start(here.ledger)
    assert report(here.ledger, 1, 1, 0.9)
    assert report(here.ledger, 1, 2, 0.1, last=True)
    again = begin(ASHA, "num_trials=3")
    assert start(again.ledger).number == 1
    again.ledger.finish(1, {})
    assert again.study.trials()[1].state.name == "COMPLETE"


def test_a_last_report_that_is_not_finite_still_fails_the_trial(begin):
    here = begin(ASHA)
    start(here.ledger)
    assert not report(here.ledger, 0, 1, math.nan, last=True)
    assert here.study.trials()[0].state.name == "FAIL"


def test_a_trial_over_its_minutes_at_its_last_report_is_kept(begin):
    here = begin("limits={max_minutes_per_trial: 1}")
    start(here.ledger)
    here.ledger.running[0].started -= 120
    assert report(here.ledger, 0, 1, 0.5, last=True)
    here.ledger.finish(0, {})
    assert here.study.trials()[0].state.name == "COMPLETE"
