"""Optuna's CMA-ES, whose first generation begins where trials of earlier sweeps were best.

Optuna estimates the first distribution from the best tenth of source trials (Nomura et al., Warm Starting CMA-ES, AAAI
2021). Later generations take in no more. A tenth of fewer than 20 is one point, which the search would rarely leave:
such trials are left out, and so are those that lack a parameter that is modelled.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import CmaEsSampler
from optuna.trial import FrozenTrial, TrialState

from platform.space.points import FEWEST_SOURCES

SOURCE = "cmaes:source"
"""The system attribute of trials of earlier sweeps."""


def sources(study: Study, search_space: Mapping[str, BaseDistribution]) -> list[FrozenTrial] | None:
    """The source trials of a study, reduced to the parameters that are modelled; None where they are too few."""
    found = []
    for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)):
        if SOURCE in trial.system_attrs and search_space.keys() <= trial.params.keys():
            source = copy.copy(trial)
            source.distributions = {**search_space}
            source.params = {name: trial.params[name] for name in search_space}
            found.append(source)
    return found if len(found) >= FEWEST_SOURCES else None


class WarmCmaEs(CmaEsSampler):
    """CMA-ES with the source trials that the study has."""

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Propose the values of the parameters that are modelled."""
        self._source_trials = sources(study, search_space)
        return super().sample_relative(study, trial, search_space)
