"""No setting is run twice: repeats of complete, pruned, running and failed trials, and retries."""

import pytest
from optuna.trial import TrialState

from platform.errors import InvalidSweep
from platform.storage.trial_end import EndedTrial, State, TrialEnd
from platform.study.settings import RETRIES, SAME_AS
from platform.sweepfile.early_stopping import EARLY_STOPPINGS
from tests.driver.study.test_study import METHODS, finish, height, level

FAILED = TrialEnd(State.FAIL, "exception: KeyError", 1.0)
TWO = (
    "method=random",
    "early_stopping=none",
    "parameters.x={min: 0.25, max: 0.75, step: 0.5}",
    "parameters.width=16",
    "parameters.part.name=plain",
)
"""A space of two settings."""


def repeats(study):
    return [trial for trial in study.optuna.get_trials() if SAME_AS in trial.user_attrs]


def enqueue_again(study, number):
    study.optuna.enqueue_trial(study.optuna.get_trials()[number].params)


def test_a_repeat_of_a_complete_trial_is_told_with_its_value_and_is_no_trial(sweep, opened):
    study = opened(sweep("early_stopping=none"))
    first = study.ask()
    finish(study, first, level(0.7))
    enqueue_again(study, first.number)
    second = study.ask()
    (repeat,) = repeats(study)
    assert (repeat.number, repeat.user_attrs[SAME_AS], repeat.state, repeat.value) == (1, 0, TrialState.COMPLETE, 0.7)
    assert second.number == 2
    assert [trial.number for trial in study.trials()] == [0, 2]


def test_a_repeat_of_a_pruned_trial_is_told_pruned_with_its_reports(sweep, opened):
    study = opened(sweep())
    first = study.ask()
    for report in (1, 2, 3):
        study.judge(first.number, report, 0.1 * report)
    study.tell(EndedTrial(first.number, TrialEnd(State.PRUNED, "", 1.0), None))
    enqueue_again(study, first.number)
    study.ask()
    (repeat,) = repeats(study)
    assert repeat.state == TrialState.PRUNED
    assert repeat.intermediate_values == study.optuna.get_trials()[0].intermediate_values
    assert len(repeat.intermediate_values) == 3


@pytest.mark.parametrize("end", [None, FAILED])
def test_a_repeat_of_a_trial_that_runs_or_failed_is_set_aside_as_failed(sweep, opened, end):
    study = opened(sweep())
    first = study.ask()
    if end:
        study.tell(EndedTrial(first.number, end, None))
    enqueue_again(study, first.number)
    assert study.ask().number == 2
    assert [trial.state for trial in repeats(study)] == [TrialState.FAIL]


def test_a_setting_is_the_whole_config_whatever_the_sweep_names(sweep, opened):
    space = opened(sweep(*TWO)).space
    assert space.setting({"x": 0.5}) == space.setting({"x": 0.5, "width": 32, "part.name": "plain"})
    assert space.setting({"x": 1}) == space.setting({"x": 1.0})
    assert space.setting({"x": 0.5}) != space.setting({"x": 0.5, "width": 16})


@pytest.mark.parametrize("method", METHODS)
def test_a_space_that_is_used_up_ends_the_sweep_once_each_setting_has_run(sweep, opened, method):
    study = opened(sweep(*TWO, f"method={method}"))
    seen = []
    while asked := study.ask():
        seen.append(asked.values["x"])
        finish(study, asked, level(0.5))
    assert sorted(seen) == [0.25, 0.75]


def test_after_five_repeats_in_a_row_a_setting_that_has_not_run_is_drawn(sweep, opened):
    study = opened(sweep(*TWO, "parameters.width={values: [16, 32]}"))
    for _ in range(4):
        finish(study, study.ask(), level(0.5))
    assert study.ask() is None
    assert [trial.number for trial in repeats(study)][-5:] == list(range(study.optuna.trials[-1].number + 1))[-5:]


def test_a_trainable_that_is_not_repeatable_runs_a_setting_again(sweep, opened, monkeypatch):
    monkeypatch.setattr("tests.trainables.curve.config.REPEATABLE", False, raising=False)
    study = opened(sweep(*TWO))
    for number in range(5):
        assert study.ask().number == number
    assert not repeats(study)


@pytest.mark.parametrize("stopping", EARLY_STOPPINGS)
def test_pruners_do_not_see_repeats(sweep, opened, tmp_path, stopping):
    """The same verdict with seven repeats of the best trial as without."""

    def verdict(copies):
        patience = ", patience: 1" if stopping == "patient" else ""
        here = sweep(f"early_stopping={{type: {stopping}{patience}}}", "method=random", f"storage={tmp_path}/{copies}")
        study = opened(here)
        best = study.ask()
        finish(study, best, level(0.9))
        for top in (0.2, 0.5, 0.8, 0.4, 0.3):
            finish(study, study.ask(), level(top))
        judged = study.ask()
        for _ in range(copies):
            enqueue_again(study, best.number)
        study.ask()
        assert len(repeats(study)) == copies
        return finish(study, judged, level(0.45))

    assert verdict(0) == verdict(7)


def test_samplers_see_a_repeat_as_a_trial_of_its_own(sweep, opened):
    """TPE proposes as in a study in which the repeat was run, and told the same."""
    study = opened(sweep("early_stopping=none"))
    for _ in range(12):
        finish(study, asked := study.ask(), level(height(asked.values)))
    enqueue_again(study, 3)
    study.ask()
    memory = study._samplers._memories[()]
    memory.look(study.optuna)
    assert [trial.number for trial in memory.trials] == list(range(13))


def test_a_resumed_study_knows_the_settings_of_the_one_before(sweep, opened):
    first = opened(sweep(*TWO))
    finish(first, first.ask(), level(0.5))
    again = opened(sweep(*TWO))
    finish(again, again.ask(), level(0.5))
    assert opened(sweep(*TWO)).ask() is None
    assert len(again.trials()) == 2


def fail(study):
    asked = study.ask()
    study.tell(EndedTrial(asked.number, FAILED, None))
    return asked


@pytest.mark.parametrize("method", ["grid", "random"])
def test_a_retried_trial_runs_its_values_under_a_new_number_and_counts_no_more(sweep, opened, method):
    here = sweep(*TWO, f"method={method}")
    study = opened(here)
    failed, other = fail(study), study.ask()
    finish(study, other, level(0.5))
    assert study.ask() is None
    assert opened(here).retry() == [failed.number]
    study = opened(here)
    assert [trial.number for trial in study.trials()] == [other.number]
    again = study.ask()
    assert (again.values, again.retries) == (failed.values, failed.number)
    assert again.number > other.number
    finish(study, again, level(0.6))
    assert study.ask() is None
    ends = {trial.number: trial.end.state for trial in study.ended()}
    assert ends == {failed.number: State.RETRIED, other.number: State.COMPLETE, again.number: State.COMPLETE}
    assert opened(here).retry() == []


def test_a_retry_that_fails_can_be_retried_and_a_killed_driver_runs_it_once(sweep, opened):
    here = sweep(*TWO)
    first = fail(opened(here))
    opened(here).retry([first.number])
    second = opened(here).ask()  # this driver dies here
    study = opened(here)
    (left,) = study.resume_running()
    assert (left.number, left.values, left.retries) == (second.number, first.values, first.number)
    study.tell(EndedTrial(left.number, FAILED, None))
    assert opened(here).retry() == [second.number]
    assert opened(here).ask().retries == second.number


def test_only_failed_trials_can_be_retried(sweep, opened):
    study = opened(sweep(*TWO))
    fail(study)
    finish(study, study.ask(), level(0.5))
    with pytest.raises(InvalidSweep, match="failed trials that are not retried yet, but got 1, 7; there are 0"):
        study.retry([0, 1, 7])
    assert not any(RETRIES in trial.user_attrs for trial in study.optuna.get_trials())
