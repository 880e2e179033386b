"""Optuna's TPE with a memory: the same proposals, without reading every finished trial again for each of them.

Optuna's own sampler reads the parameters, constraints and ranks of all trials several times per proposal, in Python. A
finished trial does not change, so its data is kept here in arrays. Optuna itself handles several objectives, and
studies of which Hyperband shows a part.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.samplers._tpe.sampler import _get_infeasible_trial_score, _get_pruned_trial_score, default_gamma
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

Space = Mapping[str, BaseDistribution]
Rank = tuple[int, float, float]


class Memory:
    """Finished trials of a study, as TPE needs them. It outlives the samplers of one study."""

    def __init__(self) -> None:
        self.trials: list[FrozenTrial] = []
        """Complete and pruned ones, in the order in which they were seen to have ended."""
        self._seen: set[int] = set()
        self._ranks = np.empty((0, 3))
        self._numbers = np.empty(0, np.int64)
        self._rows: dict[tuple[tuple[str, BaseDistribution], ...], np.ndarray] = {}

    def look(self, study: Study) -> list[FrozenTrial]:
        """Take in the trials that have ended since the last look; returns those that run."""
        trials = study.get_trials(deepcopy=False)
        looked_at = [trial for trial in trials if trial.number not in self._seen]
        self._seen.update(trial.number for trial in looked_at if trial.state.is_finished())
        ended = [trial for trial in looked_at if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
        if ended:
            self.trials += ended
            self._ranks = np.concatenate([self._ranks, [_rank(trial, study) for trial in ended]])
            self._numbers = np.concatenate([self._numbers, [trial.number for trial in ended]])
        return [trial for trial in looked_at if trial.state == TrialState.RUNNING]

    def split(self, best: int) -> tuple[np.ndarray, np.ndarray]:
        """Places in `trials` of the `best` best ones and of the others, each by number."""
        order = np.lexsort((self._numbers, *self._ranks.T[::-1]))
        below, above = order[:best], order[best:]
        return below[np.argsort(self._numbers[below])], above[np.argsort(self._numbers[above])]

    def numbers(self, places: np.ndarray) -> np.ndarray:
        """Numbers of the trials at these places."""
        found: np.ndarray = self._numbers[places]
        return found

    def rows(self, space: Space) -> np.ndarray:
        """One row for each of `trials`: its parameters as Optuna stores them, NaN where it lacks one of `space`."""
        key = tuple(space.items())
        known = self._rows.get(key, np.empty((0, len(space))))
        if new := [row(trial.params, space) for trial in self.trials[len(known) :]]:
            known = self._rows[key] = np.concatenate([known, new])
        return known


class RememberingTPE(TPESampler):
    """See the module.

    Args:
        memory: of the study that it samples for.
        settings: of Optuna's sampler.
    """

    def __init__(self, memory: Memory, **settings: Any) -> None:
        super().__init__(**settings)
        self._memory = memory

    def _sample(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        if type(study) is not Study or study._is_multi_objective():  # Hyperband shows the trials of one bracket only
            return super()._sample(study, trial, search_space)
        running = [other for other in self._memory.look(study) if other.number != trial.number]
        rows = self._memory.rows(search_space)
        below, above = self._memory.split(default_gamma(len(self._memory.trials)))
        liars = [row(self._get_params(other, study), search_space) for other in running]
        numbers = np.concatenate([self._memory.numbers(above), [other.number for other in running]])
        others = np.concatenate([rows[above], np.reshape(liars, (len(liars), len(search_space)))])
        estimators = [
            self._parzen_estimator_cls(_columns(part, search_space), search_space, self._parzen_estimator_parameters)
            for part in (rows[below], others[np.argsort(numbers)])
        ]
        samples = estimators[0].sample(self._rng.rng, self._n_ei_candidates)
        chosen = self._compare(samples, self._compute_acquisition_func(samples, *estimators))
        return {name: search_space[name].to_external_repr(value) for name, value in chosen.items()}


def row(params: Mapping[str, Any], space: Space) -> list[float]:
    """Parameters as Optuna stores them; NaN throughout where one of `space` is missing."""
    if not space.keys() <= params.keys():
        return [np.nan] * len(space)
    return [distribution.to_internal_repr(params[name]) for name, distribution in space.items()]


def _columns(rows: np.ndarray, space: Space) -> dict[str, np.ndarray]:
    whole = rows[~np.isnan(rows).any(axis=1)]
    return {name: whole[:, place] for place, name in enumerate(space)}


def _rank(trial: FrozenTrial, study: Study) -> Rank:
    """Sort key of finished trials, the best first: complete, pruned by their last report, infeasible."""
    if (violation := _get_infeasible_trial_score(trial)) > 0:
        return 2, violation, 0.0
    if trial.state == TrialState.PRUNED:
        return 1, *_get_pruned_trial_score(trial, study)
    assert trial.value is not None
    return 0, trial.value if study.direction == StudyDirection.MINIMIZE else -trial.value, 0.0
