"""Importance of parameters: Optuna's PED-ANOVA, with its range over resamples of the trials."""

from __future__ import annotations

import random
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

LEAST = 4
"""Trials that a share needs."""

_RESAMPLES = 10


@dataclass(frozen=True)
class Column:
    """The values of one parameter, one per trial, None for a trial without it."""

    values: Sequence[float | str | None]
    is_log: bool


@dataclass(frozen=True)
class Share:
    """A parameter's share of all importance: its mean over resamples, and the lowest and highest."""

    mean: float
    low: float
    high: float


Importance: TypeAlias = Mapping[str, Share]


def importance(columns: Mapping[str, Column], objective: Sequence[float]) -> Importance:
    """The share of each parameter that varies; empty where there are too few trials or nothing to tell apart.

    Args:
        columns: the parameters by name.
        objective: of each trial, more is better.
    """
    import optuna

    spaces = {name: space for name, column in columns.items() if (space := _distribution(column))}
    if len(objective) < LEAST or len(set(objective)) < 2 or not spaces:
        return {}
    trials = []
    for index, value in enumerate(objective):
        params = {name: columns[name].values[index] for name in spaces if columns[name].values[index] is not None}
        own = {name: spaces[name] for name in params}
        trials.append(optuna.trial.create_trial(params=params, distributions=own, value=value))
    draws = random.Random(0)
    shares: dict[str, list[float]] = {name: [] for name in spaces}
    for _ in range(_RESAMPLES):
        study = _quiet_study(draws.choices(trials, k=len(trials)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a parameter that no trial of this resample has
            found = optuna.importance.get_param_importances(
                study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
            )
        for name in shares:
            shares[name].append(float(found.get(name, 0.0)))
    return {name: Share(sum(each) / len(each), min(each), max(each)) for name, each in shares.items()}


def _quiet_study(trials: Sequence[Any]) -> Any:
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize")
    study.add_trials(trials)
    optuna.logging.set_verbosity(before)
    return study


def _distribution(column: Column) -> Any:
    """Optuna's distribution of the values that trials had; None where they do not vary."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    values = {value for value in column.values if value is not None}
    if len(values) < 2:
        return None
    if any(isinstance(value, str) for value in values):
        return CategoricalDistribution(sorted(map(str, values)))
    return FloatDistribution(min(values), max(values), log=column.is_log)  # type: ignore[arg-type]
