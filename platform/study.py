"""The durable Optuna study behind a sweep: ask, report, tell, repair after a crash. Only the driver uses it.

The study is the truth: which trials there are, their parameters, their values and how each ended. What a trial's end
was is kept beside Optuna's state as the user attribute `end`.
"""

from __future__ import annotations

import json
import logging
import math
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, Trial, TrialState

from platform import search
from platform.errors import InvalidSweep, SweepError
from platform.space import Space
from platform.spec import SweepSpec

IDENTITY = "identity"
END = "end"
STARTED = "started"

_PATIENCE_WITH_SAMPLER = 20  # infeasible proposals in a row before points are drawn uniformly
_UNIFORM_DRAWS = 20_000

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asked:
    """One trial to run: its number and the flat values of its config."""

    number: int
    values: dict[str, Any]


@dataclass(frozen=True)
class Pruned:
    """Why early stopping ended a trial: after which report, at which rung, and the value that would have gone on."""

    report: int
    rung: int | None = None
    cutoff: float | None = None

    def __str__(self) -> str:
        at = f"at report {self.report}"
        return f"{at}, rung {self.rung}, cutoff {self.cutoff:.4g}" if self.cutoff is not None else at


class Study:
    """The study of one sweep, open for this driver alone.

    Args:
        spec: the sweep.
        space: its compiled parameters.
        folder: the sweep's folder in the storage; the journal lies there unless `study` names another place.

    Raises:
        InvalidSweep: the storage holds a study of another space, metric or trainable under this name.
        SweepError: the storage cannot be opened.
    """

    def __init__(self, spec: SweepSpec, space: Space, folder: Path) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.spec = spec
        self.space = space
        directions = [metric.goal for metric in spec.metrics]
        try:
            self._study = optuna.create_study(
                storage=_open_storage(spec, folder), study_name=spec.name, directions=directions, load_if_exists=True
            )
        except Exception as error:
            raise SweepError(
                f"study: must be a storage that opens, but got {error.__cause__ or error!r}; "
                "see `study:` and `storage:`"
            ) from error
        created = IDENTITY not in self._study.user_attrs
        self._check_identity(created)
        past = len(self._study.get_trials(deepcopy=False))
        self._study.sampler = search.sampler(spec, seed=_seed(spec.seed, past))
        self._study.pruner = search.pruner(spec.early_stopping)
        self._random = random.Random(_seed(spec.seed, past))
        self._open: dict[int, Trial] = {}
        self._grid: Iterator[dict[str, Any]] | None = None
        if created:
            for point in spec.initial_points:
                self._study.enqueue_trial(space.to_storage(point))

    def ask(self) -> Asked | None:
        """The next feasible point, or None where a grid is used up. An infeasible one is told and never seen again."""
        for tries in range(_PATIENCE_WITH_SAMPLER + 1):
            if self.spec.method == "grid" and not self._enqueue_grid():
                return None
            if tries == _PATIENCE_WITH_SAMPLER:
                self._enqueue_uniform()
            trial = self._study.ask()
            values = self.space.suggest(trial)
            violations = self.space.violations(values)
            for expression, amount in violations.items():
                trial.set_constraint(expression, amount)
            if all(amount <= 0 for amount in violations.values()):
                trial.set_user_attr(STARTED, time.time())
                self._open[trial.number] = trial
                return Asked(trial.number, values)
            self._study.tell(trial, state=TrialState.PRUNED)
        raise SweepError(
            "constraints: must leave some point to run, but none was found among "
            f"{_UNIFORM_DRAWS} uniform draws; relax them or shrink the ranges"
        )

    def take_up(self) -> list[Asked]:
        """Trials that a dead driver left running, to be carried on under their own numbers."""
        left = []
        for frozen in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            trial = Trial(self._study, frozen._trial_id)
            if STARTED not in frozen.user_attrs:  # died between ask and start: nothing was run
                if point := frozen.system_attrs.get("fixed_params"):  # an initial point, say: it is still to be run
                    self._study.enqueue_trial(point)
                self._study.tell(trial, state=TrialState.FAIL)
                continue
            self._open[frozen.number] = trial
            left.append(Asked(frozen.number, self.values(frozen)))
        return left

    def record(self, number: int, report: int, value: float) -> None:
        """Put down the objective of a trial's `report`-th valued report (from 1), unless it is there already."""
        trial = self._open[number]
        known = self._study.get_trials(deepcopy=False)[number].intermediate_values
        if len(self.spec.metrics) == 1 and report not in known and math.isfinite(value):
            trial.report(value, report)

    def report(self, number: int, report: int, value: float) -> Pruned | None:
        """As :meth:`record`; says so if early stopping ends the trial here."""
        if len(self.spec.metrics) > 1:
            return None
        self.record(number, report, value)
        return self._explain(number, report) if self._open[number].should_prune() else None

    def complete(self, number: int, values: Sequence[float], end: Mapping[str, Any]) -> None:
        """The trial ran to its end with these objective values."""
        self._tell(number, TrialState.COMPLETE, end, values)

    def prune(self, number: int, end: Mapping[str, Any]) -> None:
        """The trial was stopped early; its intermediate values stand."""
        self._tell(number, TrialState.PRUNED, end)

    def fail(self, number: int, end: Mapping[str, Any]) -> None:
        """The trial failed."""
        self._tell(number, TrialState.FAIL, end)

    def trials(self) -> list[FrozenTrial]:
        """Every trial that was run or is running, in order; points that a constraint forbade are left out."""
        return [
            trial
            for trial in self._study.get_trials(deepcopy=False)
            if STARTED in trial.user_attrs and trial.state != TrialState.WAITING
        ]

    def values(self, trial: FrozenTrial) -> dict[str, Any]:
        """The flat config values of a trial, constants included."""
        return self.space.from_storage(trial.params)

    def best(self) -> list[FrozenTrial]:
        """The best completed trial, or for several metrics the Pareto front; empty where none completed."""
        done = [trial for trial in self.trials() if trial.state == TrialState.COMPLETE]
        if len(self.spec.metrics) > 1:
            front = {trial.number for trial in self._study.best_trials}
            return [trial for trial in done if trial.number in front]
        sign = 1 if self.spec.metrics[0].goal == "maximize" else -1
        return sorted(done, key=lambda trial: sign * float(trial.values[0]), reverse=True)[:1]

    @property
    def optuna(self) -> optuna.Study:
        """The study itself, for Optuna's own plots."""
        return self._study

    def _tell(
        self, number: int, state: TrialState, end: Mapping[str, Any], values: Sequence[float] | None = None
    ) -> None:
        trial = self._open.pop(number)
        trial.set_user_attr(END, dict(end))
        self._study.tell(trial, values, state=state)

    def _explain(self, number: int, report: int) -> Pruned:
        """Rung and cutoff of a trial that successive halving ended, from the rungs kept in the study."""
        if self.spec.early_stopping.type != "asha":
            return Pruned(report)
        rungs = [t.system_attrs for t in self._study.get_trials(deepcopy=False)]
        own = self._study.get_trials(deepcopy=False)[number].system_attrs
        rung = max((int(key.rsplit("_", 1)[1]) for key in own if key.startswith("completed_rung_")), default=0)
        peers = sorted(attrs[key] for attrs in rungs if (key := f"completed_rung_{rung}") in attrs)
        if not peers:
            return Pruned(report)
        place = max(1, len(peers) // self.spec.early_stopping.reduction_factor)
        maximize = self.spec.metrics[0].goal == "maximize"
        return Pruned(report, rung, peers[-place] if maximize else peers[place - 1])

    def _check_identity(self, created: bool) -> None:
        identity = {
            "trainable": self.spec.trainable,
            "metrics": [[metric.name, metric.goal] for metric in self.spec.metrics],
            "space": self.space.canonical(),
            "method": self.spec.method,
            "early_stopping": self.spec.early_stopping.model_dump(),
            "seed": self.spec.seed,
        }
        if created:
            self._study.set_user_attr(IDENTITY, json.dumps(identity, sort_keys=True))
            return
        stored = json.loads(self._study.user_attrs[IDENTITY])
        differences = _differences(stored, json.loads(json.dumps(identity, sort_keys=True)))
        if differences:
            raise InvalidSweep(
                [
                    f"{self.spec.at('name')}: name: a sweep must keep its space and search, but {self.spec.name!r} "
                    f"has trials of another ({difference}); run this one under its own name: --set name=..."
                    for difference in differences
                ]
            )

    def _enqueue_grid(self) -> bool:
        """Enqueue the next grid point that no trial has; False where there is none left."""
        if self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            return True  # enqueued by a driver that died before it asked
        if self._grid is None:
            taken = {_key(self.values(trial)) for trial in self.trials()}
            self._grid = (values for values in self.space.grid() if _key(values) not in taken)
        values = next(self._grid, None)
        if values is not None:
            self._study.enqueue_trial(self.space.to_storage(values))
        return values is not None

    def _enqueue_uniform(self) -> None:
        for _ in range(_UNIFORM_DRAWS):
            values = self.space.sample(self._random)
            if self.space.feasible(values):
                self._study.enqueue_trial(self.space.to_storage(values))
                return


def _open_storage(spec: SweepSpec, folder: Path) -> BaseStorage:
    where = spec.study or str(folder / "study.journal")
    if "://" in where:
        return optuna.storages.RDBStorage(where)
    path = Path(where)
    path.parent.mkdir(parents=True, exist_ok=True)
    mend_journal(path)
    return JournalStorage(JournalFileBackend(str(path), lock_obj=JournalFileOpenLock(str(path))))


def mend_journal(path: Path) -> None:
    """Cut a last line that a crash tore, and drop the lock file that its writer left.

    Call it only while holding the sweep's own lock: nobody else writes then.
    """
    path.with_name(path.name + ".lock").unlink(missing_ok=True)
    if not path.exists():
        return
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        logger.warning("%s ended in a torn line of %d bytes; it was cut", path, len(content) - len(whole))
        with path.open("r+b") as stream:
            stream.truncate(len(whole))


def _seed(seed: int, past: int) -> int:
    return (seed * 1_000_003 + past) % 2**31


def _key(values: Mapping[str, Any]) -> str:
    return json.dumps(values, sort_keys=True, default=str)


def _differences(stored: Any, current: Any, path: str = "") -> list[str]:
    """Where two JSON values differ, one line each: `parameters.x: was 1, is 2`."""
    if isinstance(stored, dict) and isinstance(current, dict):
        return [
            line
            for key in sorted(stored.keys() | current.keys())
            for line in _differences(stored.get(key), current.get(key), f"{path}.{key}" if path else key)
        ]
    same = stored == current or (
        isinstance(stored, float) and isinstance(current, float) and math.isclose(stored, current)
    )
    return [] if same else [f"{path}: was {json.dumps(stored)}, is {json.dumps(current)}"]
