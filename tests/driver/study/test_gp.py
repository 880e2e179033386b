"""`method: gp` knows the constraints: it proposes no point that they forbid, and else what Optuna proposes."""

import inspect

import optuna
import pytest
from optuna._gp import optim_mixed
from optuna.samplers import GPSampler

from platform.space.space import Space
from platform.storage.trial_end import EndedTrial, State, TrialEnd
from platform.study.gp import FeasibleGP

GP = ("method=gp", "early_stopping=none", "startup_trials=4", "parameters={width: {min: 1, max: 64}}")


def play(study, trials):
    """Run trials whose best point (x .9, width 60) a constraint forbids; returns their values."""
    asked = []
    for _ in range(trials):
        point = study.ask()
        asked.append(point.values)
        value = 1 - (point.values["x"] - 0.9) ** 2 - ((point.values["width"] - 60) / 64) ** 2
        study.tell(EndedTrial(point.number, TrialEnd(State.COMPLETE, "finished", 1.0), (value,)))
    return asked


@pytest.mark.parametrize(
    ("step", "constraint"), [("", "x + width / 64 <= 1"), (", step: 0.005", "width == 60 and x > 0.48 and x < 0.52")]
)
def test_no_proposal_is_refused_and_the_search_goes_to_the_border(sweep, opened, step, constraint):
    """The second constraint allows seven points of 12,864, which are not among those that Optuna samples."""
    x = f"parameters.x={{min: 0.0, max: 1.0{step}}}"
    study = opened(sweep(*GP, x, f"constraints=['{constraint}']"))
    play(study, 4)
    before = len(study.optuna.trials)
    (point,) = play(study, 1)
    assert len(study.optuna.trials) - before == 1
    assert point["x"] + point["width"] / 64 > 0.9


def test_marks_of_feasible_trials_which_older_studies_have_change_nothing(tmp_path):
    marked, plain = (
        optuna.create_study(direction="maximize", sampler=FeasibleGP(Space({}), seed=0, n_startup_trials=3))
        for _ in range(2)
    )
    for number in range(5):
        trials = [study.ask({"x": optuna.distributions.FloatDistribution(0, 1)}) for study in (marked, plain)]
        assert trials[0].params == trials[1].params
        if number < 4:  # newer trials have none
            trials[0].set_constraint("x <= 1", 0.0)
        for study, trial in zip((marked, plain), trials, strict=True):
            study.tell(trial, trial.params["x"])


def test_the_private_names_of_optuna_are_those_that_are_overridden_and_called():
    """`optuna==5.0.*` is pinned for them."""
    assert list(inspect.signature(GPSampler._optimize_acqf).parameters) == ["self", "acqf", "best_params"]
    taken = list(inspect.signature(GPSampler._sample_relative_impl).parameters)
    assert taken == ["self", "study", "completed_trials", "running_trials", "search_space"]
    assert list(inspect.signature(optim_mixed.local_search_mixed_batched).parameters)[:2] == ["acqf", "xs0"]
