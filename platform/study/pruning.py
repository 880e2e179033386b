"""The judge of early stopping: it ends a trial at its newest report, or lets it go on.

Optuna's pruners store the rungs that a trial has reached before they decide whether to prune it. Here the rungs are
stored last. If the driver dies in between, the next driver judges the report again, with the same verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Any, cast

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

_RUNG = "completed_rung_"


@dataclass(frozen=True)
class Pruned:
    """The reason of early stopping: the report, the rung, and the value that would have gone on."""

    report: int
    rung: int | None = None
    cutoff: float | None = None

    def __str__(self) -> str:
        at = f"at report {self.report}"
        return f"{at}, rung {self.rung}, cutoff {self.cutoff:.4g}" if self.cutoff is not None else at


@dataclass(frozen=True)
class Verdict:
    """The verdict on one report: the end of the trial, if it is one, and the rungs still to be written."""

    pruned: Pruned | None
    rungs: dict[str, float]


class _Seen:
    """The storage as the judge of one trial sees it: with some peers only, and read-only."""

    def __init__(self, storage: BaseStorage, is_seen: Callable[[FrozenTrial], bool]) -> None:
        self.rungs: dict[str, float] = {}
        self._storage = storage
        self._is_seen = is_seen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """The peers that count."""
        return [t for t in self._storage.get_all_trials(study_id, deepcopy=deepcopy, states=states) if self._is_seen(t)]

    def set_trial_system_attr(self, trial_id: int, key: str, value: float) -> None:
        """Keep a rung that a pruner stores."""
        self.rungs[key] = value


def judge(study: optuna.Study, trial: FrozenTrial, report: int, is_seen: Callable[[FrozenTrial], bool]) -> Verdict:
    """Judge the newest report of `trial` by the study's pruner.

    Args:
        study: it holds the report already.
        trial: as the study has it.
        report: its number, for the explanation.
        is_seen: True for another trial that counts as a peer.
    """
    seen = _Seen(study._storage, lambda other: other.number == trial.number or is_seen(other))
    view = optuna.Study(study.study_name, cast(BaseStorage, seen), study.sampler, study.pruner)
    if not study.pruner.prune(view, trial):
        return Verdict(None, seen.rungs)
    return Verdict(_explained(view, trial, report, seen.rungs), seen.rungs)


def _explained(view: optuna.Study, trial: FrozenTrial, report: int, rungs: dict[str, float]) -> Pruned:
    """Rung and cutoff, where successive halving ended the trial."""
    pruner = view.pruner
    if not rungs or not isinstance(pruner, optuna.pruners.SuccessiveHalvingPruner):
        return Pruned(report)
    rung = max(int(key.removeprefix(_RUNG)) for key in rungs)
    key = f"{_RUNG}{rung}"
    others = [t for t in view.get_trials(deepcopy=False) if t.number != trial.number]
    peers = sorted([t.system_attrs[key] for t in others if key in t.system_attrs] + [rungs[key]])
    place = max(1, len(peers) // pruner._reduction_factor)
    maximize = view.direction == optuna.study.StudyDirection.MAXIMIZE
    return Pruned(report, rung, peers[-place] if maximize else peers[place - 1])
