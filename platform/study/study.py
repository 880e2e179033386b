"""The durable Optuna study behind a sweep: ask, report, tell, repair after a crash. Only the driver uses it.

The study decides which trials exist, their parameters, their values and their ends. A trial's end is kept beside
Optuna's state as the user attribute `end`.
"""

from __future__ import annotations

import json
import logging
import math
import random
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from platform.errors import SweepError
from platform.space import points
from platform.space.space import Space
from platform.storage.trial_end import EndedTrial, State, TrialEnd
from platform.study import identity, search
from platform.study.pruning import Pruned, judge
from platform.study.storage import open_storage
from platform.study.tpe import Memory
from platform.sweepfile.spec import SweepSpec

IDENTITY = "identity"
ID = "id"
END = "end"
STARTED = "started"
POINT = "initial_point"

_PATIENCE_WITH_SAMPLER = 20  # infeasible proposals in a row before points are drawn uniformly

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asked:
    """One trial to run: its number and the flat values of its config."""

    number: int
    values: dict[str, Any]


class Study:
    """The study of one sweep, open for this driver alone.

    Args:
        spec: the sweep.
        space: its compiled parameters.
        folder: the sweep's folder in the storage; the journal lies there unless `study` names a database.
        notify: called with a sentence for the user.

    Raises:
        InvalidSweep: the storage holds a study of another space, metric or trainable under this name.
        SweepError: the storage cannot be opened.
    """

    def __init__(
        self, spec: SweepSpec, space: Space, folder: Path, notify: Callable[[str], None] = logger.warning
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.spec = spec
        self.space = space
        directions = [metric.goal for metric in spec.metrics]
        try:
            self._study = optuna.create_study(
                storage=open_storage(spec.study, folder, notify),
                study_name=spec.name,
                directions=directions,
                load_if_exists=True,
            )
        except Exception as error:
            raise SweepError(
                f"study: must be a storage that opens, but got {error.__cause__ or error!r}; "
                "see `study:` and `storage:`"
            ) from error
        past = self._count()
        if (stored := self._study.user_attrs.get(IDENTITY)) or past:
            identity.refuse_changed(stored, spec, space)
        else:
            self._study.set_user_attr(IDENTITY, identity.identity(spec, space))
        if ID not in self._study.user_attrs:
            self._study.set_user_attr(ID, uuid.uuid4().hex)
        self.id: str = self._study.user_attrs[ID]
        """Id that tells this sweep from others of its name, for as long as its study lasts."""
        self._memory = Memory()
        self._study.sampler = search.sampler(spec, _seed(spec.seed, past), memory=self._memory)
        self._study.pruner = search.pruner(spec.early_stopping)
        self._open: dict[int, Trial] = {}
        self._rungs: dict[int, dict[str, float]] = {}
        self._grid: Iterator[dict[str, Any]] | None = None
        known = {trial.user_attrs.get(POINT) for trial in self._study.get_trials(deepcopy=False)}
        for point in () if past and spec.method == "grid" else spec.initial_points:  # a grid comes to each anyway
            if _key(point) not in known:
                self._enqueue_drawn(point)

    def ask(self) -> Asked | None:
        """The next feasible point, or None where a grid is used up. An infeasible one is told as pruned and dropped."""
        while True:
            waiting = self._waiting()
            if self.spec.method == "grid" and not waiting and not (waiting := self._enqueue_grid()):
                return None
            if not waiting and self._refused_in_a_row() >= _PATIENCE_WITH_SAMPLER:
                self._enqueue_drawn()
            self._seed_sampler(min([t.number for t in self._waiting()], default=self._count()))
            if asked := self._settle(self._study.ask()):
                return asked

    def resume_running(self) -> list[Asked]:
        """Resume trials that a dead driver left running, under their own numbers."""
        left = []
        for frozen in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if STARTED not in frozen.user_attrs:  # died between ask and start
                self._seed_sampler(frozen.number)
            trial = Trial(self._study, frozen._trial_id)
            if STARTED not in frozen.user_attrs:
                asked = self._settle(trial)
            else:
                self._open[frozen.number] = trial
                asked = Asked(frozen.number, self.values(frozen))
            if asked:
                left.append(asked)
        return left

    def store_value(self, number: int, report: int, value: float) -> None:
        """Store the objective of a trial's `report`-th valued report (from 1), unless the study has it already."""
        trial, known = self._open[number], self._frozen(number).intermediate_values
        if len(self.spec.metrics) == 1 and report not in known and math.isfinite(value):
            trial.report(value, report)

    def judge(self, number: int, report: int, value: float, last: bool = False) -> Pruned | None:
        """Store a value and judge the trial by it; returns the verdict of early stopping if that ends the trial here.

        The `last` report of a trial writes its rungs for others to be judged by, and never ends the trial.
        """
        if len(self.spec.metrics) > 1:
            return None
        self.store_value(number, report, value)
        if self.spec.early_stopping.type == "none":
            return None
        first = None
        if self.spec.batch:  # a trial is judged by those of earlier batches, which have ended
            first, self._study.pruner = self._batch_start(number), search.pruner(self.spec.early_stopping)
        verdict = judge(self._study, self._frozen(number), report, lambda other: first is None or other.number < first)
        self._rungs[number] = verdict.rungs
        if last or not verdict.pruned:
            self._write_rungs(number)
        return None if last else verdict.pruned

    def tell(self, ended: EndedTrial) -> None:
        """Write how a trial ended, with its final values if it is complete."""
        self._write_rungs(ended.number)
        trial, state = self._open.pop(ended.number), ended.end.state
        trial.set_user_attr(END, ended.end.to_json())
        self._study.tell(trial, ended.values if state is State.COMPLETE else None, state=TrialState[state.name])

    def trials(self) -> list[FrozenTrial]:
        """Every trial that was run or is running, in order; points that a constraint forbade are left out."""
        return [
            trial
            for trial in self._study.get_trials(deepcopy=False)
            if STARTED in trial.user_attrs and trial.state != TrialState.WAITING
        ]

    def ended(self) -> list[EndedTrial]:
        """The trials that have ended, in order, with the values that the study has."""
        return [
            EndedTrial(trial.number, end, tuple(trial.values) if trial.values else None)
            for trial in self.trials()
            if (end := self.end_of(trial))
        ]

    @staticmethod
    def end_of(trial: FrozenTrial) -> TrialEnd | None:
        """The end of a trial, None while it runs. An end that another program told the study has no reason."""
        if not trial.state.is_finished():  # though its driver may have died over an end that was written here
            return None
        assert trial.datetime_complete is not None
        record = {"reason": "", "time": trial.datetime_complete.timestamp(), **trial.user_attrs.get(END, {})}
        return TrialEnd.from_json({**record, "state": trial.state.name})

    def values(self, trial: FrozenTrial) -> dict[str, Any]:
        """The flat config values of a trial, constants included."""
        return self.space.from_storage(trial.params)

    def best(self) -> list[FrozenTrial]:
        """The best completed trial, or for several metrics the Pareto front; empty where none completed."""
        done = [trial for trial in self.trials() if trial.state == TrialState.COMPLETE]
        if len(self.spec.metrics) > 1:
            front = {trial.number for trial in self._study.best_trials}
            return [trial for trial in done if trial.number in front]
        sign = self.spec.metrics[0].sign
        return sorted(done, key=lambda trial: sign * float(trial.values[0]), reverse=True)[:1]

    @property
    def optuna(self) -> optuna.Study:
        """The study itself."""
        return self._study

    def _batch_start(self, number: int) -> int:
        """The number of the first trial of the batch in which a deterministic sweep asked for trial `number`."""
        started = [trial.number for trial in self.trials()]
        place = started.index(number)
        return started[place - place % (self.spec.batch or 1)]

    def _write_rungs(self, number: int) -> None:
        for key, value in self._rungs.pop(number, {}).items():
            self._study._storage.set_trial_system_attr(self._open[number]._trial_id, key, value)

    def _settle(self, trial: Trial) -> Asked | None:
        """Fill in a trial's values; None where a constraint forbids them: the trial is then told as pruned."""
        values = self.space.suggest(trial)
        violations = self.space.violations(values)
        for expression, amount in violations.items():
            trial.set_constraint(expression, amount)
        if any(amount > 0 for amount in violations.values()):
            self._study.tell(trial, state=TrialState.PRUNED)
            return None
        trial.set_user_attr(STARTED, time.time())
        self._open[trial.number] = trial
        return Asked(trial.number, values)

    def _seed_sampler(self, number: int) -> None:
        """Let the values of trial `number` depend on nothing but the seed, the number and what the study holds."""
        if self.spec.batch:
            self._study.sampler = search.sampler(self.spec, _seed(self.spec.seed, number), number, self._memory)
            self._study.pruner = search.pruner(self.spec.early_stopping)  # that of Hyperband remembers what it saw

    def _waiting(self) -> list[FrozenTrial]:
        """Enqueued trials: first points, or points left by a driver that died before it asked for them."""
        return self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,))

    def _frozen(self, number: int) -> FrozenTrial:
        """An open trial as the storage has it, without reading the others."""
        return self._study._storage.get_trial(self._open[number]._trial_id)

    def _count(self) -> int:
        return len(self._study.get_trials(deepcopy=False))

    def _refused_in_a_row(self) -> int:
        """Number of the newest points in a row that constraints forbade."""
        count = 0
        for trial in reversed(self._study.get_trials(deepcopy=False)):
            if STARTED in trial.user_attrs or trial.state != TrialState.PRUNED:
                break
            count += 1
        return count

    def _enqueue_grid(self) -> list[FrozenTrial]:
        """Enqueue the next grid point that no trial has; empty where there is none left."""
        if self._grid is None:
            taken = {_key(self.values(trial)) for trial in self.trials()}
            self._grid = (values for values in self.space.grid() if _key(values) not in taken)
        values = next(self._grid, None)
        if values is not None:
            self._study.enqueue_trial(self.space.to_storage(values))
        return self._waiting()

    def _enqueue_drawn(self, point: Mapping[str, Any] | None = None) -> None:
        """Enqueue a feasible point: one of the file, with missing parameters drawn uniformly, or a random one."""
        attributes = None if point is None else {POINT: _key(point)}
        draws = random.Random(_seed(self.spec.seed, self._count()))
        values = points.find(self.space, self.space.feasible, draws, point)
        if values is None:
            raise SweepError(
                "constraints: must leave some point to run, but none was found among "
                f"{points.DRAWS} uniform draws; relax them or shrink the ranges"
            )
        self._study.enqueue_trial(self.space.to_storage(values), attributes)


def _seed(seed: int, past: int) -> int:
    return (seed * 1_000_003 + past) % 2**31


def _key(values: Mapping[str, Any]) -> str:
    return json.dumps(values, sort_keys=True, default=str)
