"""`method` and `early_stopping` become Optuna's sampler and pruner with their settings."""

import warnings

import optuna
import pytest

from platform.study import search
from platform.study.cmaes import WarmCmaEs
from platform.study.gp import FeasibleGP
from platform.study.tpe import RememberingTPE
from platform.sweepfile.early_stopping import EARLY_STOPPINGS

SAMPLERS = {
    "tpe": RememberingTPE,
    "random": optuna.samplers.RandomSampler,
    "grid": optuna.samplers.RandomSampler,
    "gp": FeasibleGP,
    "cmaes": WarmCmaEs,
    "nsga2": optuna.samplers.NSGAIISampler,
    "qmc": optuna.samplers.QMCSampler,
}
PRUNERS = {
    "none": optuna.pruners.NopPruner,
    "asha": optuna.pruners.SuccessiveHalvingPruner,
    "hyperband": optuna.pruners.HyperbandPruner,
    "median": optuna.pruners.MedianPruner,
    "percentile": optuna.pruners.PercentilePruner,
    "patient": optuna.pruners.PatientPruner,
}


@pytest.mark.parametrize("method", SAMPLERS)
def test_each_method_has_its_sampler_and_warns_of_nothing(sweep, method):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        here = sweep(f"method={method}", "early_stopping=none", *_two(method), *_grid(method))
        assert type(search.sampler(here.spec, here.space, 0)) is SAMPLERS[method]


@pytest.mark.parametrize("kind", EARLY_STOPPINGS)
def test_each_early_stopping_has_its_pruner(sweep, kind):
    assert type(search.pruner(sweep(f"early_stopping={kind}").spec.early_stopping)) is PRUNERS[kind]


def _two(method: str) -> list[str]:
    names = ("valid/ndcg_10", "valid/hr_10") if method == "nsga2" else ("valid/ndcg_10",)
    metrics = ", ".join(f"{{name: {name}, goal: maximize}}" for name in names)
    return [f"metric=[{metrics}]"]


def _grid(method: str) -> list[str]:
    return ["parameters.x={values: [0.1, 0.2]}"] if method == "grid" else []


@pytest.mark.parametrize("kind", ["asha", "median", "percentile"])
def test_no_trial_is_ended_before_its_min_reports(sweep, kind):
    pruner = search.pruner(sweep(f"early_stopping={{type: {kind}, min_reports: 4}}").spec.early_stopping)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    for value in (1.0,) * 6:
        trial = study.ask()
        for report in range(1, 7):
            trial.report(value, report)
            trial.should_prune()
        study.tell(trial, value)
    bad = study.ask()
    ended = []
    for report in range(1, 7):
        bad.report(0.0, report)
        ended.append(bad.should_prune())
    assert ended[:4] == [False, False, False, True]
