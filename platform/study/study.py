"""The durable Optuna study behind a sweep: ask, report, tell, repair after a crash. Only the driver uses it.

The study decides which trials exist, their parameters, their values and their ends. A trial's end is kept beside
Optuna's state as the user attribute `end`.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.study import Study as OptunaStudy
from optuna.trial import FrozenTrial, Trial, TrialState

from platform.errors import InvalidSweep, SweepError
from platform.space import points
from platform.space.cells import Cell, Cells
from platform.space.space import Space, Values
from platform.storage.trial_end import EndedTrial, State, TrialEnd
from platform.study import ends, from_files, identity, search, seeds
from platform.study.opening import END, ID, IDENTITY, open_study
from platform.study.proposals import Proposals
from platform.study.pruning import Pruned, judge
from platform.study.settings import (
    FROM,
    OF,
    PAGE,
    REQUEST,
    RETRIES,
    SEED,
    STARTED,
    Settings,
    shown,
    tell_again,
    with_seed,
)
from platform.study.view import View, is_peer
from platform.study.warm_start import warm_start
from platform.sweepfile.spec import SweepSpec
from trainables.runtime import registry

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asked:
    """One trial to run: its number and the flat values of its config."""

    number: int
    values: dict[str, Any]
    retries: int | None = None
    """The number of the failed trial whose setting it runs again."""
    of: int | None = None
    """The number of the trial whose setting it runs with a further seed."""


class Study:
    """The study of one sweep, open for this driver alone.

    Args:
        spec: the sweep.
        space: its compiled parameters.
        folder: the sweep's folder in the storage; the journal lies there unless `study` names a database.
        notify: called with a sentence for the user.
        page: gives the address of the run of a trial in MLflow, None while there is none.

    Raises:
        InvalidSweep, SweepError: as `opening.py` says.
    """

    def __init__(
        self,
        spec: SweepSpec,
        space: Space,
        folder: Path,
        notify: Callable[[str], None] = logger.warning,
        page: Callable[[int], str | None] = lambda number: None,
    ) -> None:
        self.space = space
        self._study = open_study(spec, space, folder, notify)
        self.spec = spec = identity.as_started(spec, space, self._study.user_attrs[IDENTITY])
        self.id: str = self._study.user_attrs[ID]
        """Id that tells this sweep from others of its name, for as long as its study lasts."""
        self._study.pruner = search.pruner(spec.early_stopping)
        self._page = page
        self._open: dict[int, Trial] = {}
        self._rungs: dict[int, dict[str, float]] = {}
        self._settings = Settings(space, registry.load(spec.trainable).repeatable)
        for trial in (*self.trials(), *self.earlier()):
            self._settings.add(trial.number, self.values(trial))
        warm_start(self._study, spec, space, self._settings, folder, notify)
        self._cells = Cells(space, spec.compare.by if spec.compare and len(spec.metrics) == 1 else ())
        self._view = View(self._study, self._cells, lifted=spec.method == "gp", seeds=spec.seeds)
        self._samplers = search.Samplers(spec, space, self._cells, len(self._all()))
        self._proposals = Proposals(self._study, spec, space, self._settings, self._cells, self._view, notify)

    def ask(self) -> Asked | None:
        """The next setting to run; None where none is left that has not run.

        A point that a constraint forbids and one whose setting is not new are told at once and dropped.
        """
        while self._proposals.prepare():
            if asked := self._settle(self._seen(*self._proposals.next()).ask()):
                return asked
        return None

    def ask_seeds(self, *, is_over: bool) -> list[Asked]:
        """The runs of settings with further seeds that are due now.

        Args:
            is_over: True if no setting is left that is to be started, and none runs.
        """
        if not is_over and not (self.spec.seeds and self.spec.seeds.best is None):
            return []
        for number, seed in self._missing_seeds():
            self._study.enqueue_trial(self._all()[number].params, {OF: number, SEED: seed})
        waiting = self._waiting_seeds()
        asked = [self._settle(self._view.of_seeds().ask()) for _ in range(waiting)]
        return [each for each in asked if each]

    @property
    def seeds_left(self) -> int:
        """The runs with further seeds that are still to be started, if no other setting completes."""
        return self._waiting_seeds() + len(self._missing_seeds()) if self.spec.seeds else 0

    def enqueue(self, point: Mapping[str, Any], request: str) -> int:
        """Let a setting run next; returns the number of its trial.

        Args:
            point: a whole or partial point of the space, whose missing parameters are drawn uniformly.
            request: the id of the request for it; of one request only the first call counts.

        Raises:
            InvalidSweep: it is no feasible point, or a trial has its setting.
        """
        if not self._of_request(request):
            if problems := list(points.point_problems(self.space, {**point})):
                raise InvalidSweep([f"--enqueue: {f'{name}: ' if name else ''}{text}" for name, text in problems])
            whole = self._proposals.feasible(point)
            if (number := self._settings.number(whole)) is not None:
                raise InvalidSweep([f"--enqueue: must be a setting that has not run, but trial {number} has it"])
            self._study.enqueue_trial(self.space.to_storage(whole), {REQUEST: request})
        return self._of_request(request)[0].number

    def retry(self, numbers: Sequence[int] | None = None, request: str | None = None) -> list[int]:
        """Let failed trials run again, each under a new number, as soon as a driver asks; returns their numbers.

        Args:
            numbers: of the trials; None for every failed one.
            request: the id of the request for it; what an earlier call did for it is not done again.

        Raises:
            InvalidSweep: one of them has not failed, or is retried already.
        """
        done = [trial.user_attrs[RETRIES] for trial in self._of_request(request)]
        numbers = None if numbers is None else [number for number in numbers if number not in done]
        failed = [trial.number for trial in self.ended() if trial.end.state is State.FAIL]
        if wrong := sorted(set(numbers or ()) - set(failed)):
            rule = f"must name failed trials that are not retried yet, but got {', '.join(map(str, wrong))}"
            raise InvalidSweep([f"--retry: {rule}; there are {', '.join(map(str, failed)) or 'none'}"])
        chosen = failed if numbers is None else sorted(set(numbers))
        for number in chosen:
            trial = self._all()[number]
            kept = {name: trial.user_attrs[name] for name in (OF, SEED) if OF in trial.user_attrs}
            kept |= {REQUEST: request} if request else {}
            self._study.enqueue_trial(trial.params, {RETRIES: number, **kept})
            self._settings.forget(number)
        return sorted([*done, *chosen])

    def resume_running(self) -> list[Asked]:
        """Resume trials that a dead driver left running, under their own numbers."""
        left = []
        for frozen in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            asked: Asked | None
            if STARTED not in frozen.user_attrs:  # died between ask and start
                is_seeds = OF in frozen.user_attrs
                study = self._view.of_seeds() if is_seeds else self._seen(frozen.number, self._view.cell(frozen))
                asked = self._settle(Trial(study, frozen._trial_id))
            else:
                self._open[frozen.number] = Trial(self._study, frozen._trial_id)
                asked = self._asked(frozen.number, self.values(frozen))
            if asked:
                left.append(asked)
        return left

    def store_value(self, number: int, report: int, value: float) -> None:
        """Store the objective of a trial's `report`-th valued report (from 1), unless the study has it already."""
        trial, known = self._open[number], self._frozen(number).intermediate_values
        if len(self.spec.metrics) == 1 and report not in known and math.isfinite(value):
            with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):  # `told` says so next
                trial.report(value, report)

    def judge(self, number: int, report: int, value: float, last: bool = False) -> Pruned | None:
        """Store a value and judge the trial by it; returns the verdict of early stopping if that ends the trial here.

        The `last` report of a trial writes its rungs for others to be judged by, and never ends the trial.
        """
        if len(self.spec.metrics) > 1:
            return None
        self.store_value(number, report, value)
        if self.spec.early_stopping.type == "none" or OF in self._frozen(number).user_attrs:
            return None
        first: int | None = None
        cell = self._view.cell(self._frozen(number))
        if self.spec.batch:  # a trial is judged by those of earlier batches, which have ended
            first, self._study.pruner = self._batch_start(number), search.pruner(self.spec.early_stopping)
        verdict = judge(
            self._study,
            self._frozen(number),
            report,
            lambda other: is_peer(other) and self._view.cell(other) == cell and (first is None or other.number < first),
        )
        self._rungs[number] = verdict.rungs
        if last or not verdict.pruned:
            self._write_rungs(number)
        return None if last else verdict.pruned

    def tell(self, ended: EndedTrial) -> EndedTrial:
        """Write how a trial ended, with its final values if it is complete; returns the end that the study has.

        That is another one where another program told the study before.
        """
        trial, state = self._open[ended.number], ended.end.state
        with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
            self._write_rungs(ended.number)
            trial.set_user_attr(END, ended.end.to_json())
            self._link(trial)
        told = self.told(ended.number)
        del self._open[ended.number]
        if told:
            return next(each for each in self.ended() if each.number == ended.number)
        in_study = TrialState.FAIL if state is State.CANCELLED else TrialState[state.name]
        self._study.tell(trial, ended.values if state is State.COMPLETE else None, state=in_study)
        return ended

    def told(self, number: int) -> TrialEnd | None:
        """The end of an open trial that another program told the study; None while it has none."""
        return ends.end_of(self._frozen(number))

    def require(self) -> None:
        """Return while the study is there.

        Raises:
            SweepError: another program deleted it.
        """
        try:
            self._study._storage.get_study_name_from_id(self._study._study_id)
        except KeyError:
            rule = "study: must stay there while a sweep runs, but another program deleted it"
            raise SweepError(f"{rule}; the same command with --adopt rebuilds it from the trials' own files") from None

    def trials(self, *, retried: bool = False) -> list[FrozenTrial]:
        """Every trial that was run or is running, in order; points that were not run are left out.

        Args:
            retried: True to have failed trials that are retried, too.
        """
        every = self._study.get_trials(deepcopy=False)
        left_out = set() if retried else ends.retried(every)
        return [t for t in every if STARTED in t.user_attrs and t.number not in left_out]

    def earlier(self) -> list[FrozenTrial]:
        """Trials that an earlier sweep ran, with the attribute `from`; none of the others is among them."""
        return [trial for trial in self._all() if FROM in trial.user_attrs]

    def ended(self) -> list[EndedTrial]:
        """The trials that have ended, in order, with the values that the study has; retried ones among them."""
        return list(ends.ended(self._all()))

    def values(self, trial: FrozenTrial) -> dict[str, Any]:
        """The flat config values of a trial, constants included."""
        return with_seed(self.space.from_storage(trial.params), trial.user_attrs)

    def search_record(self, number: int) -> dict[str, Any]:
        """All that the study has of a trial that starts, for the trial's own files."""
        return from_files.search_record(self._study, number)

    def best(self) -> list[FrozenTrial]:
        """The best completed trial, or for several metrics the Pareto front; empty where none completed.

        With `seeds` it is the winning setting's own trial.
        """
        done = [trial for trial in (*self.trials(), *self.earlier()) if trial.state == TrialState.COMPLETE]
        if len(self.spec.metrics) > 1:
            front = {trial.number for trial in self._study.best_trials}
            return [trial for trial in done if trial.number in front]
        sign = self.spec.metrics[0].sign
        if rule := self.spec.seeds:
            groups: dict[int, dict[int, float]] = {t.number: {rule.values[0]: t.values[0]} for t in done if is_peer(t)}
            for trial in done:
                if (of := trial.user_attrs.get(OF)) in groups and trial.user_attrs[SEED] in rule.values:
                    groups[of][trial.user_attrs[SEED]] = trial.values[0]
            return [t for t in done if t.number in seeds.competing(rule, groups, sign)[:1]]
        return sorted(done, key=lambda trial: sign * float(trial.values[0]), reverse=True)[:1]

    def grid_left(self) -> Iterator[Values]:
        """The points of the grid that no trial has, in the order in which they come."""
        return (point for point in self.space.grid() if self._settings.is_new(point))

    @property
    def optuna(self) -> optuna.Study:
        """The study itself."""
        return self._study

    def _batch_start(self, number: int) -> int:
        """The number of the first trial of the batch in which a deterministic sweep asked for trial `number`."""
        started = [trial.number for trial in self.trials() if is_peer(trial)]
        place = started.index(number)
        return started[place - place % (self.spec.batch or 1)]

    def _write_rungs(self, number: int) -> None:
        for key, value in self._rungs.pop(number, {}).items():
            self._study._storage.set_trial_system_attr(self._open[number]._trial_id, key, value)

    def _settle(self, trial: Trial) -> Asked | None:
        """Fill in a trial's values; None where a constraint forbids them, or where their setting is not new."""
        values = with_seed(self.space.suggest(trial), trial.user_attrs)
        violations = {} if OF in trial.user_attrs else self.space.violations(values)
        if any(amount > 0 for amount in violations.values()):  # others count as feasible without being marked
            for expression, amount in violations.items():
                trial.set_constraint(expression, amount)
            self._study.tell(trial, state=TrialState.PRUNED)
            return None
        if (earlier := self._settings.number(values)) is not None:
            tell_again(self._study, trial, self._all()[earlier])
            return None
        self._settings.add(trial.number, values)
        for name, value in shown(self._cells.axes, values, seeds=bool(self.spec.seeds)).items():
            trial.set_user_attr(name, value)
        self._link(trial)
        trial.set_user_attr(STARTED, time.time())
        self._open[trial.number] = trial
        return self._asked(trial.number, values)

    def _asked(self, number: int, values: dict[str, Any]) -> Asked:
        attributes = self._frozen(number).user_attrs
        return Asked(number, values, attributes.get(RETRIES), attributes.get(OF))

    def _link(self, trial: Trial) -> None:
        """Write the address of a trial's run, as soon as there is one."""
        if PAGE not in trial.user_attrs and (address := self._page(trial.number)):
            trial.set_user_attr(PAGE, address)

    def _of_request(self, request: str | None) -> list[FrozenTrial]:
        return [trial for trial in self._all() if request and trial.user_attrs.get(REQUEST) == request]

    def _missing_seeds(self) -> list[tuple[int, int]]:
        rule = self.spec.seeds
        return seeds.missing(rule, self._all(), self._view.cell, self.spec.metrics[0].sign) if rule else []

    def _waiting_seeds(self) -> int:
        waiting = self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        return sum(OF in trial.user_attrs for trial in waiting)

    def _seen(self, number: int, cell: Cell) -> OptunaStudy:
        """The study as it is seen by the sampler that chooses the values of trial `number`, which is in a cell.

        In a deterministic sweep they depend on nothing but the seed, the number and what the study holds.
        """
        place: int | None = None
        if self.spec.batch:
            before = (trial for trial in self._all()[:number] if OF not in trial.user_attrs)
            place = sum(self._view.cell(trial) == cell for trial in before)
            self._study.pruner = search.pruner(self.spec.early_stopping)  # that of Hyperband remembers what it saw
        self._study.sampler = self._samplers.of(cell, number, place)
        return self._view.of(cell, self._study.sampler)

    def _frozen(self, number: int) -> FrozenTrial:
        """An open trial as the storage has it, without reading the others."""
        return self._study._storage.get_trial(self._open[number]._trial_id)

    def _all(self) -> list[FrozenTrial]:
        """Every trial by number, those that were not run too."""
        return self._study.get_trials(deepcopy=False)
