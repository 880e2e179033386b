"""Optuna's Gaussian process with known constraints: it proposes no point that they forbid.

Optuna learns constraints from the values of complete trials. Those of a sweep are known functions, and forbidden points
never run. Optuna's own proposal is taken where it is allowed. Otherwise the search for the best proposal is repeated
over allowed points.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

import numpy as np
from optuna._gp import optim_mixed
from optuna._gp.acqf import BaseAcquisitionFunc
from optuna.samplers import GPSampler
from optuna.trial import FrozenTrial

from platform.space import points
from platform.space.space import Space

_FILLS = 3
"""Settings of parameters that are not modelled, tried before a proposal counts as forbidden."""
_NEAR, _DISTANCES = 64, (0.1, 0.03, 0.01, 0.003)
"""Points tried around the best one, at each of these shares of a range: the best one often lies on a constraint."""


class FeasibleGP(GPSampler):
    """See the module.

    Args:
        space: of the sweep.
        fixed: values that all its trials share and that it does not model.
        settings: of Optuna's sampler.
    """

    def __init__(self, space: Space, fixed: Mapping[str, Any] | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        self._space = space
        self._fixed = dict(fixed or {})
        self._fixed_params = space.to_storage(self._fixed)
        self._fills = _FILLS if any(place.branch for place in space.places) else 1

    def _sample_relative_impl(self, study: Any, completed_trials: list[FrozenTrial], *rest: Any) -> dict[str, Any]:
        """Older studies marked the points that ran as feasible, which is no news to learn."""
        return super()._sample_relative_impl(study, [_unmarked(trial) for trial in completed_trials], *rest)

    def _optimize_acqf(self, acqf: BaseAcquisitionFunc, best_params: np.ndarray | None) -> np.ndarray:
        proposed = super()._optimize_acqf(acqf, best_params)
        if self._feasible(acqf, [proposed]):
            return proposed
        sampled = acqf.search_space.sample_normalized_params(self._n_preliminary_samples, self._rng.rng)
        values = acqf.eval_acqf_no_grad(sampled)
        roulette = values + self._rng.rng.gumbel(size=len(values))
        half = self._n_local_search // 2
        starts = [x for order in (values, roulette) for x in self._feasible(acqf, sampled[np.argsort(-order)], half)]
        if not (starts := starts or self._drawn(acqf, sampled[0], half)):
            return proposed
        found, _ = optim_mixed.local_search_mixed_batched(acqf, np.array(starts), tol=self._tol)
        best = _best(acqf, starts + self._feasible(acqf, found))
        continuous = acqf.search_space.continuous_indices
        for distance in _DISTANCES if len(continuous) else ():
            near = np.repeat(best[None], _NEAR, axis=0)
            near[:, continuous] += distance * self._rng.rng.standard_normal((_NEAR, len(continuous)))
            best = _best(acqf, [best, *self._feasible(acqf, near.clip(0, 1))])
        return best

    def _feasible(self, acqf: BaseAcquisitionFunc, places: Iterable[np.ndarray], most: int | None = None) -> list[Any]:
        """The first places, at most so many, that the constraints allow with some setting of what is not modelled."""
        draws = random.Random(0)  # the sampler's own draws stay Optuna's

        def is_feasible(place: np.ndarray) -> bool:
            params = {**acqf.search_space.get_unnormalized_param(place), **self._fixed_params}
            return any(self._space.feasible(self._space.from_storage(params, draws)) for _ in range(self._fills))

        return list(islice(filter(is_feasible, places), most))

    def _drawn(self, acqf: BaseAcquisitionFunc, place: np.ndarray, count: int) -> list[Any]:
        """Places that the constraints allow, where none of Optuna's own samples, such as `place`, is one."""
        names = acqf.search_space.get_unnormalized_param(place).keys()
        draws = random.Random(self._rng.rng.randint(2**31))
        found = [points.find(self._space, self._space.feasible, draws, self._fixed) for _ in range(count)]
        params: list[Any] = [self._space.to_storage(point) for point in found if point is not None]
        params = [each for each in params if names <= each.keys()]
        return list(acqf.search_space.get_normalized_params(params, params))


def _best(acqf: BaseAcquisitionFunc, places: list[np.ndarray]) -> np.ndarray:
    best: np.ndarray = places[int(np.argmax(acqf.eval_acqf_no_grad(np.array(places))))]
    return best


def _unmarked(trial: FrozenTrial) -> FrozenTrial:
    """A copy of a trial without its constraints."""
    if not trial.constraints:
        return trial
    unmarked = copy.copy(trial)
    unmarked.system_attrs = {
        key: value for key, value in trial.system_attrs.items() if not key.startswith("constraints")
    }
    return unmarked
