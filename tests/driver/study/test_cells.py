"""Cells of a sweep that compares: equal effort, no sampler that models them, pruning within each."""

from collections import Counter
from collections.abc import Callable

import pytest

from platform.errors import InvalidSweep
from platform.space.cells import Cells
from platform.space.check import open_sweep, space_of
from platform.storage.trial_end import EndedTrial, State, TrialEnd
from platform.study.view import is_peer, lift
from tests.driver.study.test_study import METHODS, finish, height, level, peaked

BY = ("compare={by: [part.name]}", "constraints=['width != 64']")
TWO = ("parameters.x={min: 0.0, max: 1.0}", *BY)


def rising(gain: float) -> Callable[[int], float]:
    return lambda report: 0.1 + (gain if report > 2 else 0.0)


def begun(study):
    return Counter(study.values(trial)["part.name"] for trial in study.trials())


@pytest.mark.parametrize("method", [each for each in METHODS if each != "gp"])
def test_cells_take_turns_whatever_was_stopped_early(sweep, opened, method):
    step = ", step: 0.125" if method == "grid" else ""
    study = opened(sweep(*BY, f"parameters.x={{min: 0.0, max: 1.0{step}}}", f"method={method}", "num_trials=14"))
    for count in range(1, 15):
        asked = study.ask()
        good = asked.values["part.name"] == "curved"
        finish(study, asked, peaked(height(asked.values) - (0.0 if good else 0.5)))
        assert abs(begun(study)["plain"] - begun(study)["curved"]) <= count % 2
    ended = Counter((study.values(trial)["part.name"], trial.state.name) for trial in study.trials())
    assert ended["plain", "COMPLETE"] >= 1  # the worse cell is not judged by the better one
    assert ended["curved", "COMPLETE"] >= 1


def test_cells_go_on_in_turn_after_a_restart(sweep, opened):
    here = sweep(*TWO, "method=random", "early_stopping=none")
    for _ in range(7):
        study = opened(here)
        finish(study, study.ask(), level(0.5))
    assert [study.values(trial)["part.name"] for trial in opened(here).trials()] == ["plain", "curved"] * 3 + ["plain"]


def test_a_cell_that_is_used_up_leaves_its_turns_to_the_others(sweep, opened):
    here = sweep(
        "method=random",
        "early_stopping=none",
        "parameters.x=0.5",
        "parameters.width={values: [16, 32]}",
        "compare={by: [part.name]}",
    )
    study = opened(here)
    while asked := study.ask():
        finish(study, asked, level(0.5))
    assert begun(study) == {"plain": 2, "curved": 10}


@pytest.mark.parametrize("method", ["tpe", "cmaes", "qmc", "gp"])
def test_a_sampler_sees_the_trials_of_its_cell_without_the_cells_own_parameters(sweep, opened, method):
    study = opened(sweep(*TWO, f"method={method}", "early_stopping=none"))
    for _ in range(6):
        finish(study, asked := study.ask(), level(height(asked.values)))
    for cell, names in ((("plain",), {"x", "width"}), (("curved",), {"x", "width", "part.bend"})):
        seen = [t for t in study._seen(len(study.optuna.trials), cell).get_trials() if is_peer(t)]
        assert len(seen) == 3
        assert all(set(trial.params) == set(trial.distributions) == names for trial in seen)
    assert all("part.name" in trial.params for trial in study.optuna.trials)  # the storage keeps the truth


def test_a_choice_that_opens_a_parameter_of_by_belongs_to_the_cell(sweep):
    here = sweep("compare={by: [part.bend]}")
    cells = Cells(here.space, here.spec.compare.by)
    assert cells.axes == ("part.name", "part.bend")
    assert list(cells.values) == [("plain", None), *(("curved", bend) for bend in range(1, 6))]


def test_only_feasible_combinations_are_cells(sweep):
    here = sweep("compare={by: [part.name, width]}", "constraints=['width == 16 or part.name == \"plain\"']")
    cells = Cells(here.space, here.spec.compare.by)
    assert cells.axes == ("width", "part.name")
    assert [tuple(each.values()) for each in cells.values.values()] == [
        (16, "plain"),
        (16, "curved"),
        (32, "plain"),
        (64, "plain"),
    ]


def test_a_number_with_fractions_is_no_cell(sweep):
    here = sweep()
    with pytest.raises(InvalidSweep, match=r"compare.by\[0\]: must be a choice or whole numbers, but x has fractions"):
        open_sweep(here.file, ["compare={by: [x]}"])


def test_a_sweep_without_compare_is_one_cell(sweep):
    assert Cells(space_of(sweep().spec)).values == {(): {}}


def test_a_trial_that_was_stopped_early_is_lifted_by_the_median_gain_of_complete_ones(sweep, opened):
    study = opened(sweep("method=gp", "early_stopping=none"))
    for gain in (0.1, 0.2, 0.9):
        finish(study, study.ask(), rising(gain))
    stopped = study.ask()
    for report in (1, 2):
        study.judge(stopped.number, report, 0.3)
    study.tell(EndedTrial(stopped.number, TrialEnd(State.PRUNED, "", 1.0), None))
    *_, raw = study.optuna.trials
    *_, seen = lift(study.optuna.trials)
    assert seen.state.name == "COMPLETE"
    assert seen.value == pytest.approx(0.5)
    assert raw.state.name == "PRUNED"


@pytest.mark.parametrize("method", ["tpe", "gp", "cmaes"])
def test_trials_that_were_stopped_early_change_the_next_proposals(sweep, opened, tmp_path, method):
    """Failed ones of the same reports, which no sampler sees, do not."""

    def proposals(state):
        space = ("parameters.part.name=plain", "parameters.width={min: 1, max: 64}", "constraints=[]")
        study = opened(sweep(f"method={method}", "early_stopping=none", *space, f"storage={tmp_path}/{state}"))
        for number in range(14):
            asked = study.ask()
            if number % 2:
                finish(study, asked, level(height(asked.values)), reports=2)
            else:
                study.judge(asked.number, 1, height(asked.values))
                study.tell(EndedTrial(asked.number, TrialEnd(state, "", 1.0), None))
        return [study.ask().values for _ in range(2)]

    assert proposals(State.PRUNED) != proposals(State.FAIL)
