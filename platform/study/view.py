"""The view of a study that sampler and pruner have: each trial passes through one function, hidden or as a copy.

The storage keeps the raw truth, and a driver that resumes derives the same view. A cell sees its own trials only, and
not the parameters that make it a cell, so that no sampler models them. The Gaussian process reads complete trials
alone: it sees a trial that was stopped early as complete, at its last value plus the gain that complete trials made
from there on.
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable, Container, Sequence
from typing import Any, TypeAlias, cast

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from platform.space.cells import Cell, Cells
from platform.study.settings import FROM, SAME_AS, STARTED

Show: TypeAlias = Callable[[FrozenTrial], FrozenTrial | None]
"""A trial -> what is seen of it; None where it is hidden."""


class _Storage:
    """A study's storage in which trials are as they are shown."""

    def __init__(self, storage: BaseStorage, show: Callable[[Sequence[FrozenTrial]], list[FrozenTrial]]) -> None:
        self._storage = storage
        self._show = show

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """The trials that are seen, in the states in which they are seen."""
        seen = self._show(self._storage.get_all_trials(study_id, deepcopy=False))
        return [copy.deepcopy(t) if deepcopy else t for t in seen if states is None or t.state in states]


class View:
    """What is seen of the trials of a study.

    Args:
        study: Optuna's.
        cells: of the sweep.
        lifted: True if trials that were stopped early are seen as complete.
    """

    def __init__(self, study: optuna.Study, cells: Cells, *, lifted: bool) -> None:
        self._study = study
        self._cells = cells
        self._lifted = lifted
        self._bare: dict[int, FrozenTrial] = {}

    def of(self, cell: Cell, sampler: optuna.samplers.BaseSampler) -> optuna.Study:
        """The study as the sampler of a cell sees it; trials that it asks for are the study's own."""
        if not self._cells.axes and not self._lifted:
            return self._study
        storage = cast(BaseStorage, _Storage(self._study._storage, lambda trials: self._seen(trials, cell)))
        return optuna.Study(self._study.study_name, storage, sampler, self._study.pruner)

    def cell(self, trial: FrozenTrial) -> Cell:
        """The cell of a trial, one that waits included."""
        if not self._cells.axes:
            return ()
        return self._cells.of({**trial.system_attrs.get("fixed_params", {}), **trial.params})

    def _seen(self, trials: Sequence[FrozenTrial], cell: Cell) -> list[FrozenTrial]:
        own = [t if t.state == TrialState.WAITING else self._without_axes(t) for t in trials if self._shows(t, cell)]
        return lift(own) if self._lifted else own

    def _shows(self, trial: FrozenTrial, cell: Cell) -> bool:
        return trial.state == TrialState.WAITING or self.cell(trial) == cell

    def _without_axes(self, trial: FrozenTrial) -> FrozenTrial:
        if not self._cells.axes:
            return trial
        bare = self._bare.get(trial.number)
        if bare is None:
            bare = copy.copy(trial)
            bare.distributions = {n: d for n, d in trial.distributions.items() if n not in self._cells.storage_names}
            bare.params = {n: v for n, v in trial.params.items() if n not in self._cells.storage_names}
            if trial.state.is_finished():
                self._bare[trial.number] = bare
        return bare


def lift(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The trials, those that were stopped early as complete ones of a value that they might have come to.

    That is the last value plus the median gain of complete trials from this report on.
    """
    complete = [t for t in trials if t.state == TrialState.COMPLETE and t.intermediate_values]

    def lifted(trial: FrozenTrial) -> FrozenTrial:
        if trial.state != TrialState.PRUNED or not trial.intermediate_values:
            return trial
        report = max(trial.intermediate_values)
        gains = [t.values[0] - t.intermediate_values[report] for t in complete if report in t.intermediate_values]
        seen = copy.copy(trial)
        seen.state = TrialState.COMPLETE
        seen.values = [trial.intermediate_values[report] + (statistics.median(gains) if gains else 0.0)]
        return seen

    return [lifted(trial) for trial in trials]


def is_peer(trial: FrozenTrial) -> bool:
    """True if a pruner may compare others with a trial: it was run, here or by an earlier sweep, and is no repeat."""
    return bool({STARTED, FROM} & trial.user_attrs.keys()) and SAME_AS not in trial.user_attrs
