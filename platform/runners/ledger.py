"""The ledger that every runner keeps: the next trial, the reports, the end of each trial.

A report is in the trial's journal before it is acknowledged, then in the study, then on its way to MLflow. Search and
early stopping therefore see the same reports, and a crash at any point loses no acknowledged report.

The life of a trial, with the method that makes each step:

    study.ask
        |
        v         next_task
    waiting -----------------> running ----> COMPLETE   finish
        ^                         | |------> PRUNED     report, end_silent: early stopping, its own minutes
        |                         | '------> FAIL       report, finish, fail: not finite, no objective, Failed
        +------- fail: Retry -----+                     the same number, one attempt more

    the driver is interrupted,  waiting, running    --> INTERRUPTED   interrupt; a driver that dies leaves no end
    or a limit ends the sweep:                                        report, end_silent
    the next driver (__init__): INTERRUPTED, no end --> waiting       the same number, one attempt more
                                an end the study lacks: it is told    recover

    a person ends it:           waiting, running    --> CANCELLED     cancel, notice_told

The study calls a trial RUNNING until it is told of an end.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path

from platform.errors import InvalidSweep
from platform.runners.failures import Failed
from platform.runners.limits import GRACE_S, Watch
from platform.runners.mending import mend_trials
from platform.runners.queue import TrialQueue
from platform.runners.recovery import recover
from platform.runners.retention import Retention
from platform.runners.running import RunningTrial
from platform.storage import requests
from platform.storage.disk_space import DiskSpace
from platform.storage.trial_end import EndedTrial, State, TrialEnd
from platform.study.ownership import refuse_other
from platform.study.study import Asked, Study
from platform.sweepfile.spec import SweepSpec
from platform.tracking.journal import TrialFiles
from platform.tracking.tracker import Tracker
from trainables.redaction import redact
from trainables.runtime.task import Task
from trainables.runtime.worker import divides
from trainables.storage import mirror
from trainables.trial import DISK_FULL, FINISHED

BY_USER = "user"
"""The reason of a trial's end that a person asked for."""

logger = logging.getLogger(__name__)


class Decision(StrEnum):
    """The answer to a report, in Ray Tune's words."""

    CONTINUE = "CONTINUE"
    STOP = "STOP"


class Ledger:
    """The state of a sweep while it runs. One thread calls it.

    Args:
        spec: the sweep.
        study: its open study.
        folder: the sweep's folder in the storage, absolute.
        stages: the folder of shared stages, absolute.
        tracker: None tracks nothing.
        on_end: called with each trial that ended.
        check: called before anything is written; raises where this driver may not write any more.
        notify: called with a sentence for the user.
    """

    def __init__(
        self,
        spec: SweepSpec,
        study: Study,
        folder: Path,
        stages: Path,
        tracker: Tracker | None = None,
        on_end: Callable[[EndedTrial], None] = lambda trial: None,
        check: Callable[[], None] = lambda: None,
        notify: Callable[[str], None] = logger.warning,
    ) -> None:
        self.spec = spec
        self.study = study
        self.running: dict[int, RunningTrial] = {}
        self.is_paused = requests.is_paused(folder)
        """True while a person wants no trial to be started."""
        self._leaving: dict[int, float] = {}
        """Trials that a person ended while they ran, and since when their workers may end by themselves."""
        self._folder = folder
        self._stages = stages
        self._tracker = tracker
        self._on_end = on_end
        self._notify = notify
        self._disk_space = DiskSpace(folder, notify)
        self._check = check
        self._watch = Watch(spec.limits)
        mend_trials(study, folder, notify)
        left = study.resume_running()  # first: one that was asked for and not started counts from here on
        self._queue = TrialQueue(study, self._trial_of)
        past = study.ended()
        self._failed = sum(trial.end.state is State.FAIL for trial in past)
        self._retention = Retention(
            folder, spec.metrics, spec.tracking, tracker.changed if tracker else lambda trial: None
        )
        self._retention.begin(past)
        for asked in left:
            trial = self._trial_of(asked)
            if end := recover(trial, study):
                self._tell(EndedTrial(asked.number, end, trial.best, asked.of))
            else:
                self._queue.waiting.append(trial)

    def next_task(self, *, cpus: float, gpus: float) -> Task | None:
        """The next trial as a worker gets it, or None where nothing is left to start."""
        self._check()
        if self._watch.of_sweep(self._failed) or self.waits:
            return None
        self.study.require()
        trial = self._queue.next(is_idle=not self.running)
        if trial is None:
            return None
        trial.started, trial.waited_s = time.monotonic(), 0.0
        self.running[trial.asked.number] = trial
        self._begin(trial)
        self._ship(trial)
        return Task(
            trainable=self.spec.trainable,
            number=trial.asked.number,
            attempt=trial.attempts.attempt,
            micro_batch_divisor=trial.attempts.micro_batch_divisor,
            values=trial.asked.values,
            folder=mirror.uri_of(trial.files.folder),
            stages=mirror.uri_of(self._stages),
            cpus=cpus,
            gpus=gpus,
            ranks=self.spec.resources.workers,
            nodes=self.spec.resources.nodes,
        )

    def report(self, number: int, step: int, metrics: Mapping[str, float], last: bool = False) -> Decision:
        """Take one report; STOP ends the trial. The `last` one ends it only if it is not finite."""
        self._check()
        trial = self.running.get(number)
        if trial is None:
            return Decision.STOP
        is_new = trial.is_new(step, metrics)
        if is_new:
            trial.files.append(step, metrics, last)  # first: from this line a driver after a crash derives all else
        if self._notice_told(trial):
            return Decision.STOP
        if is_new:
            values = trial.add_report(step, metrics, self.spec.metrics)
            if values and (end := trial.judge(values, self.study, last)):
                self._end(trial, end)
                return Decision.STOP
        self._ship(trial)
        if last:
            return Decision.CONTINUE
        if limit := self._watch.of_trial(trial):
            self._end(trial, TrialEnd.now(State.PRUNED, limit))
            return Decision.STOP
        if self._watch.of_sweep(self._failed):
            self._interrupt(trial)
            return Decision.STOP
        return Decision.CONTINUE

    def finish(self, number: int, metrics: Mapping[str, float]) -> None:
        """Finish a trial that ran to its end; `metrics` are the platform's own (`trial/*`)."""
        self._check()
        trial = self.running.get(number)
        if trial is None:
            return
        if metrics and trial.is_new(trial.step, metrics):
            trial.files.append(trial.step, metrics)
        if trial.best is None:
            names = " and ".join(metric.name for metric in self.spec.metrics)
            others = sorted({name for _, reported in trial.seen for name in reported if not name.startswith("trial/")})
            told = f"it reported {', '.join(others)}" if others else "it reported nothing"
            self._end(trial, TrialEnd.now(State.FAIL, f"it never reported {names}; {told}"))
        else:
            self._end(trial, TrialEnd.now(State.COMPLETE, FINISHED))

    def fail(self, number: int, reason: str, text: str) -> None:
        """Note that a trial's worker ended with an error; `failures.py` decides on a retry."""
        self._check()
        trial = self.running.get(number)
        if trial is None:
            return
        detail = redact(f"{reason}: {text}" if text else reason)
        decision = trial.attempts.ended(
            reason,
            detail,
            reports=len(trial.seen),
            allowed=self.spec.limits.max_failures_per_trial,
            divides=divides(self.spec.trainable, trial.asked.values),
        )
        if reason == DISK_FULL:
            self._disk_space.note_full()
        if isinstance(decision, Failed):
            self._end(trial, TrialEnd.now(State.FAIL, decision.text))
            return
        trial.files.note_attempts(trial.attempts.record)
        logger.warning("trial %d is started again: %s", number, detail)
        del self.running[number]
        self._queue.waiting.appendleft(trial)

    def end_silent(self, unplaced: Container[int] = ()) -> list[int]:
        """End the trials that are over a limit and do not report; returns whose workers must be ended with them.

        Args:
            unplaced: the numbers of those that still wait for a worker.
        """
        self._check()
        self._watch.of_sweep(self._failed)
        silent = self._watch.silent(list(self.running.values()), unplaced)
        for trial, limit in silent:
            if limit is None:
                self._interrupt(trial)
            else:
                self._end(trial, TrialEnd.now(State.PRUNED, limit))
        late = [number for number, since in self._leaving.items() if time.monotonic() - since > GRACE_S]
        for number in late:
            del self._leaving[number]
        return [*(trial.asked.number for trial, _ in silent), *late]

    def cancel(self, numbers: Sequence[int]) -> None:
        """End trials that run or wait, for a person; those that were ended so before are left alone.

        Raises:
            InvalidSweep: one of them has ended otherwise, or has not started; then none is ended.
        """
        here = self.running | {trial.asked.number: trial for trial in self._queue.waiting}
        ends = {trial.number: trial.end.state for trial in self.study.ended()}
        wrong = [f"{n} ({f'it is {ends[n]}' if n in ends else 'it has not started'})" for n in numbers
                 if n not in here and ends.get(n) is not State.CANCELLED]  # fmt: skip
        if wrong:
            rule = f"must name trials that run, but got {', '.join(wrong)}"
            raise InvalidSweep([f"--end: {rule}; there are {', '.join(map(str, here)) or 'none'}"])
        for trial in [here[number] for number in numbers if number in here]:
            if trial in self._queue.waiting:
                self._queue.waiting.remove(trial)
            self._cancel(trial, TrialEnd.now(State.CANCELLED, BY_USER))

    def notice_told(self) -> None:
        """End the trials that run here and that another program told the study to have ended."""
        self._check()
        self.study.require()
        for trial in list(self.running.values()):
            self._notice_told(trial)

    def recount(self) -> None:
        """Count again after failed trials were let run again, or settings were enqueued."""
        self._queue.recount()
        self._failed = sum(trial.end.state is State.FAIL for trial in self.study.ended())

    def interrupt(self) -> None:
        """Interrupt running trials as the driver ends: the study keeps them to be resumed, no run is left RUNNING."""
        for trial in [*self.running.values(), *self._queue.waiting]:
            self._interrupt(trial)
        self._queue.waiting.clear()

    @property
    def closing(self) -> str | None:
        """The limit that ends the sweep; None while none is reached."""
        return self._watch.closing

    @property
    def is_exhausted(self) -> bool:
        """True once a grid is used up; trials that run or wait are still run to their ends."""
        return self._queue.is_exhausted

    @property
    def waits(self) -> bool:
        """True if trials wait: for free disk space, or for a person to let them start."""
        return bool(self.left) and (self.is_paused or self._disk_space.is_full)

    @property
    def left(self) -> int:
        """Trials that are still to be started; none if a limit ends the sweep."""
        return 0 if self.closing else self._queue.left

    def _trial_of(self, asked: Asked) -> RunningTrial:
        return RunningTrial(asked, TrialFiles(self._folder, asked.number, self._notify), time.monotonic())

    def _begin(self, trial: RunningTrial) -> None:
        """Write the record of a trial; whose files lie in its folder already must be this very trial."""
        if record := trial.files.record():
            refuse_other(record, trial.files.folder, trial.asked.number, self.study.id, trial.asked.values)
        trial.files.begin(trial.asked.values, self.study.id, self.study.search_record(trial.asked.number))

    def _interrupt(self, trial: RunningTrial) -> None:
        """Let a trial rest; the next driver resumes it under its number."""
        with contextlib.suppress(OSError):  # where it cannot be written, a missing end says the same
            end = trial.files.read_end()
            if end is None or not end.state.is_final:  # a final one stays: a signal cut its telling short
                trial.files.end(TrialEnd.now(State.INTERRUPTED, "interrupted, resumable"), waits=False)
        self.running.pop(trial.asked.number, None)
        self._ship(trial)

    def _notice_told(self, trial: RunningTrial) -> bool:
        """End a trial if another program told the study of its end; True if it did."""
        self.study.require()
        if end := self.study.told(trial.asked.number):
            self._cancel(trial, end)
        return end is not None

    def _cancel(self, trial: RunningTrial, end: TrialEnd) -> None:
        if trial.asked.number in self.running:
            self._leaving[trial.asked.number] = time.monotonic()
        self._end(trial, end)

    def _end(self, trial: RunningTrial, end: TrialEnd) -> None:
        trial.files.end(end)  # first: after a crash the next driver tells the study what stands here
        ended = self._tell(EndedTrial(trial.asked.number, end, trial.best, trial.asked.of))
        if ended.end != end:  # another program was quicker
            trial.files.end(ended.end)
        self.running.pop(ended.number, None)
        self._ship(trial)
        self._on_end(replace(ended, setting=trial.asked.values, work_s=trial.work_s))

    def _tell(self, trial: EndedTrial) -> EndedTrial:
        """Tell the study of an end; returns the end that the study has then."""
        trial = self.study.tell(trial)
        self._failed += trial.end.state is State.FAIL
        self._retention.ended(trial)
        return trial

    def _ship(self, trial: RunningTrial) -> None:
        if self._tracker:
            self._tracker.changed(trial.files)
