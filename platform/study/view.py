"""The view of a study that sampler and pruner have: each trial passes through one function, hidden or as a copy.

The storage keeps the raw truth, and a driver that resumes derives the same view. A cell sees its own trials only, and
not the parameters that make it a cell, so that no sampler models them. The Gaussian process reads complete trials
alone: it sees a trial that was stopped early as complete, at its last value plus the gain that complete trials made
from there on. Runs with further seeds are hidden. Where every setting has them, it is seen at its mean.
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable, Container, Iterator, Sequence
from typing import Any, TypeAlias, cast

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from platform.space.cells import Cell, Cells
from platform.study.settings import FROM, OF, SAME_AS, SEED, STARTED
from platform.sweepfile.fields import Seeds

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
    """The trials of a study as they are seen.

    Args:
        study: Optuna's.
        cells: of the sweep.
        lifted: True if trials that were stopped early are seen as complete.
        seeds: of training; None where the search's own is the only one.
    """

    def __init__(self, study: optuna.Study, cells: Cells, *, lifted: bool, seeds: Seeds | None = None) -> None:
        self._study = study
        self._cells = cells
        self._lifted = lifted
        self._seeds = seeds
        self._has_seeds = bool(seeds) or any(OF in trial.user_attrs for trial in study.get_trials(deepcopy=False))
        self._bare: dict[int, FrozenTrial] = {}

    def of(self, cell: Cell, sampler: optuna.samplers.BaseSampler) -> optuna.Study:
        """The study as the sampler of a cell sees it; trials that it asks for are the study's own."""
        if not self._cells.axes and not self._lifted and not self._has_seeds:
            return self._study
        return self._through(lambda trials: self._seen(trials, cell), sampler)

    def of_seeds(self) -> optuna.Study:
        """The study as a run with a further seed is asked of it: nothing else waits, and nothing is proposed."""
        return self._through(lambda trials: [t for t in trials if OF in t.user_attrs], optuna.samplers.RandomSampler(0))

    def _through(
        self, show: Callable[[Sequence[FrozenTrial]], list[FrozenTrial]], sampler: optuna.samplers.BaseSampler
    ) -> optuna.Study:
        storage = cast(BaseStorage, _Storage(self._study._storage, show))
        return optuna.Study(self._study.study_name, storage, sampler, self._study.pruner)

    def cell(self, trial: FrozenTrial) -> Cell:
        """The cell of a trial, one that waits included."""
        if not self._cells.axes:
            return ()
        return self._cells.of({**trial.system_attrs.get("fixed_params", {}), **trial.params})

    def _seen(self, trials: Sequence[FrozenTrial], cell: Cell) -> list[FrozenTrial]:
        if self._has_seeds:
            trials = list(grouped(trials, self._seeds))
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


def grouped(trials: Sequence[FrozenTrial], seeds: Seeds | None) -> Iterator[FrozenTrial]:
    """The trials without runs of further seeds.

    With `best: all` a complete setting is at the mean of its seeds, and is hidden while one of them is not complete.
    """
    further = seeds.values[1:] if seeds and seeds.best is None else ()
    runs: dict[int, dict[int, float]] = {}
    for trial in trials:
        if OF in trial.user_attrs and trial.state == TrialState.COMPLETE:
            runs.setdefault(trial.user_attrs[OF], {})[trial.user_attrs[SEED]] = trial.values[0]
    for trial in trials:
        if OF in trial.user_attrs:
            continue
        if not further or trial.state != TrialState.COMPLETE:
            yield trial
            continue
        group = runs.get(trial.user_attrs.get(SAME_AS, trial.number), {})
        if all(seed in group for seed in further):
            seen = copy.copy(trial)
            seen.values = [statistics.fmean([trial.values[0], *(group[seed] for seed in further)])]
            yield seen


def is_peer(trial: FrozenTrial) -> bool:
    """True if a trial is a setting of the search: it was run, here or by an earlier sweep, and repeats no other."""
    return bool({STARTED, FROM} & trial.user_attrs.keys()) and not {SAME_AS, OF} & trial.user_attrs.keys()
