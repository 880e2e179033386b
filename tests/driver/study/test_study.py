"""The durable study: every method with every early stopping, and what survives a dead driver."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import optuna
import pytest

from platform.errors import SweepError
from platform.space.check import space_of
from platform.space.space import Space
from platform.storage.trial_end import EndedTrial, State, TrialEnd
from platform.study.pruning import Pruned
from platform.study.study import Asked, Study
from platform.sweepfile.early_stopping import EARLY_STOPPINGS
from platform.sweepfile.spec import load

METHODS = ("tpe", "random", "grid", "gp", "cmaes", "qmc")
REPORTS = 9
END = TrialEnd(State.COMPLETE, "finished", 1.0)


def height(values: dict[str, Any]) -> float:
    return 1 - (values["x"] - 0.7) ** 2 - ((values["width"] - 32) / 100) ** 2


def level(value: float) -> Callable[[int], float]:
    return lambda _: value


def peaked(top: float) -> Callable[[int], float]:
    return lambda number: top * (1 - 0.05 * abs(number - 4))


def finish(study: Study, asked: Asked, curve: Callable[[int], float], reports: int = REPORTS) -> Pruned | None:
    """Run one trial to its end, whichever that is."""
    for report in range(1, reports + 1):
        if pruned := study.judge(asked.number, report, curve(report)):
            study.tell(EndedTrial(asked.number, TrialEnd(State.PRUNED, str(pruned), 1.0), None))
            return pruned
    study.tell(EndedTrial(asked.number, END, (curve(reports),)))
    return None


def play(study: Study) -> None:
    """Run what is left of a sweep; curves rise for four reports and sink from there, so that patience ends."""
    while len(study.trials()) < study.spec.num_trials and (asked := study.ask()):
        finish(study, asked, peaked(height(asked.values)))


@pytest.mark.parametrize(
    ("method", "stopping"),
    [
        pytest.param(method, stopping, marks=[pytest.mark.slow] if method == "gp" else [])
        for method in METHODS
        for stopping in EARLY_STOPPINGS
    ],
)
def test_a_sweep_with_a_branch_and_a_constraint_runs_to_its_end(sweep, opened, method, stopping):
    patience = ", patience: 1" if stopping == "patient" else ""
    start = "" if stopping == "none" else ", min_reports: 2"
    count = 12 if method == "gp" else 14  # the Gaussian process takes over after ten and is slow
    here = sweep(
        f"method={method}",
        f"early_stopping={{type: {stopping}{start}{patience}}}",
        "parameters.x={min: 0.0, max: 1.0, step: 0.125}",
        "constraints=['x <= 0.7']",
        f"num_trials={count}",
    )
    study = opened(here)
    play(study)
    trials = study.trials()
    assert len(trials) == count
    for trial in trials:
        values = study.values(trial)
        assert values["x"] <= 0.7
        assert ("part.bend" in values) == (values["part.name"] == "curved")
    states = {trial.state.name for trial in trials}
    assert states == ({"COMPLETE"} if stopping == "none" else {"COMPLETE", "PRUNED"})
    for trial in trials:
        assert list(trial.intermediate_values) == list(range(1, len(trial.intermediate_values) + 1))
        if trial.state.name == "PRUNED":
            assert 2 <= len(trial.intermediate_values) <= REPORTS
            assert trial.user_attrs["end"]["reason"].startswith("at report ")
    (best,) = study.best()
    assert best.value == max(trial.value for trial in trials if trial.state.name == "COMPLETE")


def test_nsga2_runs_two_metrics_to_a_pareto_front(sweep, opened):
    here = sweep(
        "method=nsga2",
        "early_stopping=none",
        "metric=[{name: valid/ndcg_10, goal: maximize}, {name: valid/hr_10, goal: minimize}]",
        "num_trials=12",
    )
    study = opened(here)
    told = {}
    while len(study.trials()) < 12:
        asked = study.ask()
        assert study.judge(asked.number, 1, 0.5) is None
        told[asked.number] = (height(asked.values), asked.values["width"] / 64)
        study.tell(EndedTrial(asked.number, END, told[asked.number]))
    front = {
        number
        for number, (a, b) in told.items()
        if not any((c >= a and d <= b) and (c, d) != (a, b) for c, d in told.values())
    }
    assert {trial.number for trial in study.best()} == front
    assert 1 <= len(front) < 12


def test_infeasible_points_are_told_with_their_constraint_and_neither_counted_nor_shown(sweep, opened):
    study = opened(sweep("method=random", "early_stopping=none", "constraints=['x <= 0.3']", "num_trials=5"))
    play(study)
    assert len(study.trials()) == 5
    hidden = [t for t in study.optuna.get_trials() if t.number not in {shown.number for shown in study.trials()}]
    assert hidden
    for trial in hidden:
        assert trial.state == optuna.trial.TrialState.PRUNED
        assert not trial.intermediate_values
        assert trial.constraints["x <= 0.3"] > 0
    assert not any(trial.constraints for trial in study.trials())


def test_the_trainables_own_constraints_hold_too(sweep, opened):
    study = opened(sweep("method=random", "early_stopping=none", "constraints=['x > 0.85']", "num_trials=6"))
    play(study)
    assert all(study.values(t)["width"] <= 48 or study.values(t)["x"] <= 0.9 for t in study.trials())


def test_a_narrow_region_is_found_where_the_sampler_alone_would_search_long(sweep, opened):
    study = opened(sweep("method=random", "constraints=['x > 0.5 and x < 0.502']"))
    for _ in range(2):
        assert 0.5 < study.ask().values["x"] < 0.502


def test_constraints_that_nothing_meets_end_the_sweep_with_the_rule(sweep, opened):
    here = sweep("constraints=['x > 2']")
    here = replace(here, space=Space.of(here.spec))
    with pytest.raises(SweepError, match=r"constraints: must leave some point to run, but none was found among 20000"):
        opened(here).ask()


def test_initial_points_come_first_and_once(sweep, opened):
    here = sweep("method=random", "initial_points=[{x: 0.25, width: 16}, {x: 0.5}]")
    first, second, third = (opened(here).ask() for _ in range(3))
    assert (first.values["x"], first.values["width"]) == (0.25, 16)
    assert second.values["x"] == 0.5
    assert third.values["x"] not in (0.25, 0.5)


def test_what_an_initial_point_leaves_out_is_drawn_so_that_the_constraints_hold(sweep, opened):
    here = sweep(
        "method=random", "initial_points=[{width: 16}, {width: 64}]", "constraints=['x < 0.02 or width == 32']"
    )
    study = opened(here)
    first, second = study.ask(), study.ask()
    assert [first.values["width"], second.values["width"]] == [16, 64]
    assert max(first.values["x"], second.values["x"]) < 0.02


def test_an_initial_point_that_is_added_later_is_tried_next_and_once(sweep, opened):
    first = opened(sweep("method=random", "initial_points=[{x: 0.25}]"))
    for _ in range(2):
        finish(first, first.ask(), lambda n: 0.1 * n)
    for _ in range(2):
        more = opened(sweep("method=random", "initial_points=[{x: 0.5}, {x: 0.25}]"))
    assert more.ask().values["x"] == 0.5
    assert more.ask().values["x"] not in (0.25, 0.5)


def test_constants_are_part_of_what_is_asked(sweep, opened):
    assert opened(sweep("parameters.steps=7")).ask().values["steps"] == 7


def test_pruned_names_the_rung_and_the_value_that_would_have_gone_on(sweep, opened):
    study = opened(sweep("early_stopping={type: asha, min_reports: 1, reduction_factor: 3}"))
    for value in (0.9, 0.8, 0.7):
        asked = study.ask()
        study.judge(asked.number, 1, value)
    late = study.ask()
    pruned = study.judge(late.number, 1, 0.1)
    assert pruned == Pruned(1, 0, 0.9)
    assert str(pruned) == "at report 1, rung 0, cutoff 0.9"


def test_rungs_survive_reopening(sweep, opened):
    here = sweep("early_stopping={type: asha, min_reports: 1, reduction_factor: 3}")
    study = opened(here)
    for value in (0.9, 0.8, 0.7):
        finish(study, study.ask(), level(value), reports=1)
    again = opened(here)
    assert again.judge(again.ask().number, 1, 0.1) == Pruned(1, 0, 0.9)
    fresh = opened(sweep("early_stopping={type: asha, min_reports: 1, reduction_factor: 3}", "name=fresh"))
    assert fresh.judge(fresh.ask().number, 1, 0.1) is None


def test_smaller_is_better_for_a_metric_to_minimize(sweep, opened):
    minimize = "metric={name: valid/hr_10, goal: minimize}"
    study = opened(sweep(minimize, "early_stopping={type: asha, min_reports: 1, reduction_factor: 3}"))
    for value in (0.1, 0.2, 0.3):
        finish(study, study.ask(), level(value), reports=1)
    assert study.judge(study.ask().number, 1, 0.9) == Pruned(1, 0, 0.1)
    (best,) = study.best()
    assert best.value == 0.1


def test_a_value_that_is_not_finite_is_not_put_down(sweep, opened):
    study = opened(sweep())
    number = study.ask().number
    assert study.judge(number, 1, float("nan")) is None
    assert study.trials()[0].intermediate_values == {}


def test_a_report_that_the_study_has_already_keeps_its_first_value(sweep, opened):
    study = opened(sweep())
    number = study.ask().number
    study.store_value(number, 1, 0.5)
    study.store_value(number, 1, 0.6)
    assert study.trials()[0].intermediate_values == {1: 0.5}


def test_a_trial_left_running_is_taken_up_with_its_number_values_and_reports(sweep, opened):
    here = sweep()
    study = opened(here)
    finish(study, study.ask(), lambda n: 0.1 * n)
    left = study.ask()
    study.judge(left.number, 1, 0.5)
    again = opened(here)
    assert again.resume_running() == [left]
    again.judge(left.number, 2, 0.6)
    again.tell(EndedTrial(left.number, END, (0.6,)))
    assert [t.state.name for t in again.trials()] == ["COMPLETE", "COMPLETE"]
    assert again.trials()[left.number].intermediate_values == {1: 0.5, 2: 0.6}
    assert opened(here).resume_running() == []


def test_a_point_asked_for_but_never_started_is_taken_up_under_its_number(sweep, opened):
    here = sweep("method=random", "initial_points=[{x: 0.25}]")
    opened(here).optuna.ask()  # the driver dies here
    again = opened(here)
    (left,) = again.resume_running()
    assert (left.number, left.values["x"]) == (0, 0.25)
    assert again.ask().values["x"] != 0.25
    assert [trial.number for trial in again.trials()] == [0, 1]


def test_a_forbidden_point_asked_for_but_never_told_is_told_and_not_taken_up(sweep, opened):
    here = sweep("method=random", "constraints=['x <= 0.2']", "initial_points=[{x: 0.1}]")
    first = opened(here)
    first.optuna.enqueue_trial({"x": 0.9, "width": 16, "part.name": "plain"})
    first.ask()
    first.optuna.ask()  # the driver dies here
    again = opened(here)
    assert [asked.number for asked in again.resume_running()] == [0]
    assert again.optuna.trials[1].constraints["x <= 0.2"] > 0


def test_first_points_that_a_dead_driver_did_not_put_down_are_put_down_by_the_next(sweep, opened):
    opened(sweep("initial_points=[{x: 0.25}]"))  # the driver dies before the second
    again = opened(sweep("initial_points=[{x: 0.25}, {x: 0.5}]"))
    assert [again.ask().values["x"] for _ in range(2)] == [0.25, 0.5]


def test_a_verdict_over_which_the_driver_died_is_the_same_when_it_is_given_again(sweep, opened):
    here = sweep("early_stopping={type: asha, min_reports: 1, reduction_factor: 3}")
    study = opened(here)
    for value in (0.9, 0.8, 0.7):
        finish(study, study.ask(), level(value), reports=1)
    late = study.ask()
    verdict = study.judge(late.number, 1, 0.1)  # the driver dies before it tells
    again = opened(here)
    again.resume_running()
    assert again.judge(late.number, 1, 0.1) == verdict == Pruned(1, 0, 0.9)


def test_a_resumed_search_does_not_repeat_its_start_and_a_fresh_one_does(sweep, opened):
    here = sweep("method=random")
    first = opened(here).ask().values
    resumed = opened(here).ask().values
    assert resumed["x"] != first["x"]
    assert opened(sweep("method=random", "name=second")).ask().values == first
    assert opened(sweep("method=random", "name=third", "seed=1")).ask().values["x"] != first["x"]


def test_the_space_of_a_stored_trial_gives_back_what_was_asked(sweep, opened):
    here = sweep("method=random", "num_trials=8", "early_stopping=none")
    study = opened(here)
    asked = {}
    while len(study.trials()) < 8:
        point = study.ask()
        asked[point.number] = point.values
        study.tell(EndedTrial(point.number, END, (0.5,)))
    again = opened(sweep("method=random", "num_trials=8", "early_stopping=none"))
    assert {trial.number: again.values(trial) for trial in again.trials()} == asked
    assert space_of(load(here.file)).canonical() == here.space.canonical()


def test_a_trial_that_another_program_told_the_study_has_ended_by_a_person(sweep, opened):
    study = opened(sweep())
    asked = study.ask()
    assert study.ended() == []
    study.optuna.tell(asked.number, 0.5)
    (trial,) = study.ended()
    assert (trial.number, trial.end.state, trial.end.reason, trial.values) == (
        0,
        State.COMPLETE,
        "user, by another program",
        (0.5,),
    )


def test_a_trial_has_its_cell_its_seed_and_its_page_for_a_dashboard(sweep):
    here = sweep("compare={by: [part.name]}", "seeds={values: [3, 4]}", "constraints=[]")
    page: list[str] = []
    study = Study(here.spec, here.space, here.folder, page=lambda number: f"{page[0]}/{number}" if page else None)
    asked = study.ask()
    assert asked
    (trial,) = study.trials()
    assert "mlflow" not in trial.user_attrs, "the store has not answered yet"
    assert (trial.user_attrs["cell"], trial.user_attrs["seed"]) == (f"part.name={asked.values['part.name']}", 3)
    page.append("http://here")
    finish(study, asked, level(0.5))
    study.ask()
    assert [trial.user_attrs["mlflow"] for trial in study.trials()] == ["http://here/0", "http://here/1"]
