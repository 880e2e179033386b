"""TPE with a memory proposes what Optuna's own sampler proposes."""

import random
import warnings

import optuna
import pytest
from optuna.samplers import TPESampler
from optuna.trial import TrialState

from platform.study.tpe import Memory, RememberingTPE

optuna.logging.set_verbosity(optuna.logging.ERROR)


def propose(trial: optuna.Trial, branches: bool) -> dict[str, object]:
    trial.suggest_float("x", 0.0, 1.0)
    trial.suggest_float("rate", 1e-4, 1e-1, log=True)
    trial.suggest_float("dropout", 0.0, 0.5, step=0.1)
    trial.suggest_int("layers", 1, 8)
    kind = trial.suggest_categorical("kind", ["plain", "wide", "deep"])
    if branches and kind != "plain":
        trial.suggest_int(f"{kind}.size", 1, 64, log=True)
    return trial.params


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
@pytest.mark.parametrize("branches", [False, True], ids=["one space", "branches"])
@pytest.mark.parametrize("anew", [False, True], ids=["one sampler", "a new sampler each time"])
def test_it_proposes_what_optuna_does_whatever_became_of_the_trials(direction, branches, anew):
    """Complete, pruned at a report, before any and after a NaN, infeasible, failed, equal values; three still run."""
    memory, draws = Memory(), random.Random(0)

    def samplers(seed: int) -> tuple[TPESampler, TPESampler]:
        settings = {"seed": seed, "multivariate": True, "group": branches, "n_startup_trials": 5}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return TPESampler(**settings), RememberingTPE(memory, **settings)

    studies = [optuna.create_study(direction=direction, sampler=sampler) for sampler in samplers(0)]
    running: list[list[optuna.Trial]] = []
    for number in range(70):
        if anew:
            for study, sampler in zip(studies, samplers(number), strict=True):
                study.sampler = sampler
        trials = [study.ask() for study in studies]
        theirs, ours = (propose(trial, branches) for trial in trials)
        assert ours == theirs, number
        running.append(trials)
        if len(running) > 3:
            end(studies, running.pop(draws.randrange(3)), draws)


def end(studies: list[optuna.Study], trials: list[optuna.Trial], draws: random.Random) -> None:
    how, value = draws.choice(["complete", "complete", "pruned", "nan", "silent", "forbidden", "fail"]), draws.random()
    for study, trial in zip(studies, trials, strict=True):
        if how == "complete":
            study.tell(trial, round(value, 1))
            continue
        if how in ("pruned", "nan"):
            trial.report(float("nan") if how == "nan" else value, 1 + int(3 * value))
        if how == "forbidden":
            trial.set_constraint("x <= 1", value)
        study.tell(trial, state=TrialState.FAIL if how == "fail" else TrialState.PRUNED)


def test_a_space_that_changes_is_read_anew():
    memory = Memory()
    study = optuna.create_study(sampler=RememberingTPE(memory, seed=0, n_startup_trials=2))
    other = optuna.create_study(sampler=TPESampler(seed=0, n_startup_trials=2))
    for number in range(12):
        trials = [each.ask() for each in (study, other)]
        for trial in trials:
            trial.suggest_float("x", 0.0, 1.0 if number < 6 else 2.0)
        assert trials[0].params == trials[1].params
        for each, trial in zip((study, other), trials, strict=True):
            each.tell(trial, trial.params["x"])


def test_under_hyperband_each_bracket_is_sampled_as_optuna_does():
    pair = [
        optuna.create_study(sampler=sampler, pruner=optuna.pruners.HyperbandPruner(max_resource=9), study_name="same")
        for sampler in (TPESampler(seed=0, n_startup_trials=2), RememberingTPE(Memory(), seed=0, n_startup_trials=2))
    ]
    for _ in range(25):
        trials = [study.ask() for study in pair]
        first, second = (propose(trial, False) for trial in trials)
        assert first == second
        for study, trial in zip(pair, trials, strict=True):
            study.tell(trial, trial.params["x"])


def test_several_objectives_are_left_to_optuna():
    pair = [
        optuna.create_study(directions=["minimize", "maximize"], sampler=sampler)
        for sampler in (TPESampler(seed=0), RememberingTPE(Memory(), seed=0))
    ]
    for _ in range(15):
        trials = [study.ask() for study in pair]
        first, second = (propose(trial, False) for trial in trials)
        assert first == second
        for study, trial in zip(pair, trials, strict=True):
            study.tell(trial, [trial.params["x"], trial.params["rate"]])
