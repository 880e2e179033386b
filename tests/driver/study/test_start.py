"""Values that a study's start fixes: startup trials, the population, Hyperband's brackets."""

import json
from typing import Any

import optuna
import pytest

from platform.errors import InvalidSweep
from platform.storage.trial_end import EndedTrial, State, TrialEnd
from platform.study import search
from platform.study.opening import IDENTITY

END = TrialEnd(State.COMPLETE, "finished", 1.0)
HYPERBAND = "early_stopping={type: hyperband, min_reports: 1, reduction_factor: 2}"
TWO = "metric=[{name: valid/ndcg_10, goal: maximize}, {name: valid/hr_10, goal: minimize}]"


@pytest.mark.parametrize(("trials", "startup", "population"), [(6, 4, 8), (40, 8, 8), (100, 10, 10), (600, 10, 50)])
def test_the_start_is_a_share_of_the_trials_within_bounds(sweep, opened, trials, startup, population):
    spec = opened(sweep(f"num_trials={trials}")).spec
    assert (spec.startup_trials, spec.population) == (startup, population)


@pytest.mark.parametrize(("key", "trials"), [("startup_trials", 45), ("population", 90)])
def test_more_trials_later_leave_the_start_as_it_was_and_another_start_is_refused(sweep, opened, key, trials):
    method = ("method=nsga2", TWO, "early_stopping=none") if key == "population" else ()
    opened(sweep(*method, f"num_trials={trials}"))
    assert getattr(opened(sweep(*method, "num_trials=900")).spec, key) == 9
    assert getattr(opened(sweep(*method, f"{key}=9")).spec, key) == 9
    with pytest.raises(InvalidSweep, match=rf"\({key}: was 9, is 7\)"):
        opened(sweep(*method, f"{key}=7"))


def test_a_study_from_before_these_keys_goes_on_as_it_began(sweep, opened):
    here = sweep(HYPERBAND, "num_trials=20")
    study = opened(here)
    older = json.loads(study.optuna.user_attrs[IDENTITY])
    del older["startup_trials"], older["population"], older["early_stopping"]["max_reports"]
    study.optuna.set_user_attr(IDENTITY, json.dumps(older))
    again = opened(here)
    assert (again.spec.startup_trials, again.spec.population) == (10, 50)
    assert again.spec.early_stopping.max_reports is None
    named = sweep("early_stopping={type: hyperband, min_reports: 1, reduction_factor: 2, max_reports: 9}")
    assert opened(named).spec.early_stopping.max_reports == 9
    assert opened(here).spec.early_stopping.max_reports == 9


def test_brackets_stand_from_the_first_trial_on_and_are_the_same_on_resume(sweep, opened):
    """They used to follow from the first complete trial: here one that patience ended early."""
    here = sweep(HYPERBAND, "parameters.steps={values: [4, 16]}", "num_trials=30")
    study = opened(here)
    assert study.spec.early_stopping.max_reports == 16
    brackets = []
    for _ in range(12):
        asked = study.ask()
        study.judge(asked.number, 1, 0.5)
        brackets.append(bracket(study, asked.number))
        study.tell(EndedTrial(asked.number, END, (0.5,)))
    assert len(set(brackets)) > 1
    again = opened(here)
    assert [bracket(again, number) for number in range(12)] == brackets


def bracket(study, number):
    return study.optuna.pruner._get_bracket_id(study.optuna, study.optuna.trials[number])


@pytest.mark.parametrize("kind", ["median", "percentile", "patient"])
def test_trials_end_once_there_are_min_trials(sweep, opened, kind):
    patience = ", patience: 0" if kind == "patient" else ""
    study = opened(sweep(f"early_stopping={{type: {kind}, min_trials: 2{patience}}}", "method=random"))
    ended = []
    for value in (0.9, 0.8, 0.1):
        asked = study.ask()
        pruned = [study.judge(asked.number, report, value - report / 1000) for report in range(1, 4)]
        ended.append(any(pruned))
        study.tell(EndedTrial(asked.number, END, (value,)))
    assert ended == [False, False, True]


def test_the_private_name_of_hyperband_makes_its_brackets(sweep):
    """`optuna==5.0.*` is pinned for `_try_initialization`, too."""
    assert optuna.pruners.HyperbandPruner(max_resource=9)._pruners == []
    made: Any = search.pruner(sweep("early_stopping={type: hyperband, max_reports: 9}").spec.early_stopping)
    assert len(made._pruners) == 3
