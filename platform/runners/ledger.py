"""The ledger that every runner keeps: which trial comes next, what was reported, how each trial ended.

A report is in the trial's journal before it is acknowledged, then in the study, then on its way to MLflow. Search and
early stopping therefore see the same truth, and a crash at any point loses nothing that was acknowledged.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Container, Mapping
from pathlib import Path
from typing import Any

from platform.runners.failures import Attempts
from platform.runners.limits import Watch
from platform.runners.retention import Retention
from platform.runners.running import Ended, RunningTrial
from platform.storage.disk_space import DiskSpace
from platform.study.pruning import Pruned
from platform.study.study import Asked, Study
from platform.sweepfile.spec import SweepSpec
from platform.tracking.journal import TrialFiles
from platform.tracking.tracker import Tracker
from trainables.redaction import redact
from trainables.runtime.task import Task
from trainables.runtime.worker import divides
from trainables.storage import mirror
from trainables.trial import DISK_FULL, FINISHED

INTERRUPTED = "INTERRUPTED"

logger = logging.getLogger(__name__)


class Ledger:
    """Everything that must be known about a sweep while it runs. One thread calls it.

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
        on_end: Callable[[Ended], None] = lambda ended: None,
        check: Callable[[], None] = lambda: None,
        notify: Callable[[str], None] = logger.warning,
    ) -> None:
        self.spec = spec
        self.study = study
        self.live: dict[int, RunningTrial] = {}
        self.closing: str | None = None
        """The limit that ends the sweep; None while none is reached."""
        self.is_exhausted = False
        """Whether a grid is used up; trials that run or wait are still run to their ends."""
        self._folder = folder
        self._stages = stages
        self._tracker = tracker
        self._on_end = on_end
        self._notify = notify
        self._disk_space = DiskSpace(folder, notify)
        self._check = check
        self._watch = Watch(spec.limits)
        left = study.resume_running()  # first: one that was asked for and not started counts from here on
        self._counted = len(study.trials())
        self._failed = sum(1 for trial in study.trials() if trial.state.name == "FAIL")
        self._waiting: deque[RunningTrial] = deque()
        self._retention = Retention(
            folder, spec.metrics, spec.tracking, tracker.changed if tracker else lambda trial: None
        )
        self._retention.begin((t.number, t.state.name, t.values) for t in study.trials() if t.state.is_finished())
        for asked in left:
            self._recover(asked)

    def next_task(self, *, cpus: float, gpus: float) -> Task | None:
        """The next trial as a worker gets it, or None where nothing is left to start."""
        self._check()
        if self._check_limits() or self.is_full:
            return None
        self._ask()
        if not self._waiting:
            return None
        live = self._waiting.popleft()
        live.started, live.waited_s = time.monotonic(), 0.0
        self.live[live.asked.number] = live
        live.files.begin(live.asked.values)
        self._ship(live)
        return Task(
            trainable=self.spec.trainable,
            number=live.asked.number,
            attempt=live.attempts.attempt,
            micro_batch_divisor=live.attempts.micro_batch_divisor,
            values=live.asked.values,
            folder=mirror.uri_of(live.files.folder),
            stages=mirror.uri_of(self._stages),
            cpus=cpus,
            gpus=gpus,
            ranks=self.spec.resources.workers,
            nodes=self.spec.resources.nodes,
        )

    def report(self, number: int, step: int, metrics: Mapping[str, float]) -> bool:
        """Take one report; False ends the trial."""
        self._check()
        live = self.live.get(number)
        if live is None:
            return False
        if live.is_new(step, metrics):
            live.files.append(step, metrics)
            if not self._judge(live, step, metrics):
                return False
        self._ship(live)
        if over := self._watch.of_trial(live):
            self._end(live, "PRUNED", over)
            return False
        if self._check_limits():
            self._end(live, "PRUNED", self.closing or "")
            return False
        return True

    def finish(self, number: int, metrics: Mapping[str, float]) -> None:
        """The trial ran to its end; `metrics` are the platform's own (`trial/*`)."""
        self._check()
        live = self.live.get(number)
        if live is None:
            return
        if metrics and live.is_new(live.step, metrics):
            live.files.append(live.step, metrics)
        if live.best is None:
            self._end(live, "FAIL", f"it never reported {' and '.join(metric.name for metric in self.spec.metrics)}")
        else:
            self._end(live, "COMPLETE", FINISHED)

    def fail(self, number: int, reason: str, text: str) -> None:
        """The trial's worker ended with an error; `failures.py` says whether it is started again."""
        self._check()
        live = self.live.get(number)
        if live is None:
            return
        detail = redact(f"{reason}: {text}" if text else reason)
        final = live.attempts.ended(
            reason,
            detail,
            reports=len(live.seen),
            allowed=self.spec.limits.max_failures_per_trial,
            divides=divides(self.spec.trainable, live.asked.values),
        )
        if final is not None:
            self._end(live, "FAIL", final)
            if reason == DISK_FULL:
                self._disk_space.note_full()
            return
        live.files.note_attempts(live.attempts.record)
        logger.warning("trial %d is started again: %s", number, detail)
        del self.live[number]
        self._waiting.appendleft(live)

    def end_silent(self, unplaced: Container[int] = ()) -> list[int]:
        """End the trials that are over a limit and do not report; returns whose workers must be ended with them.

        Args:
            unplaced: the numbers of those that still wait for a worker.
        """
        self._check()
        self._check_limits()
        silent = self._watch.silent(list(self.live.values()), unplaced, self.closing)
        for live, reason in silent:
            self._end(live, "PRUNED", reason)
        return [live.asked.number for live, _ in silent]

    def interrupt(self) -> None:
        """The driver ends while trials run: they stay in the study to be taken up, and no run is left RUNNING."""
        for live in [*self.live.values(), *self._waiting]:
            with contextlib.suppress(OSError):  # where it cannot be written, a missing end says the same
                if live.files.read("end.json").get("state", INTERRUPTED) == INTERRUPTED:  # else its telling was cut
                    end = {"state": INTERRUPTED, "reason": "interrupted, resumable", "time": time.time()}
                    live.files.end(end, waits=False)
            self._ship(live)
        self.live.clear()
        self._waiting.clear()

    @property
    def is_full(self) -> bool:
        """Whether trials wait for room on the disk."""
        return bool(self.left) and self._disk_space.is_full

    @property
    def left(self) -> int:
        """Trials that are still to be started, as far as the budget says."""
        if self.closing:
            return 0
        return len(self._waiting) + (0 if self.is_exhausted else max(0, self.spec.num_trials - self._counted))

    def _ask(self) -> None:
        """Have a trial wait to be started, if there is one to ask for.

        A deterministic sweep asks for a whole batch, once every trial before it has ended: what the study knows then
        does not depend on which trial was quicker. A batch that a crash cut short is filled up first.
        """
        batch = self.spec.batch or 1
        if self._waiting if batch == 1 else self._counted % batch == 0 and (self._waiting or self.live):
            return
        while self._counted < self.spec.num_trials and not self.is_exhausted:
            asked = self.study.ask()
            if asked is None:
                self.is_exhausted = True
                return
            self._counted += 1
            self._waiting.append(self._live_of(asked))
            if self._counted % batch == 0:
                return

    def _live_of(self, asked: Asked) -> RunningTrial:
        return RunningTrial(asked, TrialFiles(self._folder, asked.number, self._notify), time.monotonic())

    def _recover(self, asked: Asked) -> None:
        """A trial that an earlier driver left running: its counters come from its journal, and it waits its turn.

        One whose end was written, but not yet told, is only told. The newest report is judged again, in case the
        driver died over it.
        """
        live = self._live_of(asked)
        live.attempts = Attempts.read(live.files.read("attempts.json"))
        live.attempts.attempt += 1
        broken: str | None = None
        newest: float | None = None
        for line in live.files.lines():
            metrics = {name: math.nan if value is None else value for name, value in line["metrics"].items()}
            values = live.add_report(line["step"], metrics, self.spec.metrics)
            if values is not None:
                self.study.store_value(asked.number, live.num_valued, values[0])
                broken, newest = broken or live.not_finite(values, self.spec.metrics), values[0]
        pruned = None if newest is None or broken else self.study.judge(asked.number, live.num_valued, newest)
        end = live.files.read("end.json")
        if (broken or pruned) and end.get("state", INTERRUPTED) == INTERRUPTED:
            state, reason = ("FAIL", broken) if broken else ("PRUNED", self._stopped_early(pruned))
            end = {"state": state, "reason": reason, "time": time.time()}
            live.files.end(end)
        if end and end["state"] != INTERRUPTED:
            self._tell(live, end)
        else:
            self._waiting.append(live)

    def _judge(self, live: RunningTrial, step: int, metrics: Mapping[str, float]) -> bool:
        """Whether the trial goes on after a new report."""
        values = live.add_report(step, metrics, self.spec.metrics)
        if values is None:
            return True
        if broken := live.not_finite(values, self.spec.metrics):
            self._end(live, "FAIL", broken)
            return False
        pruned = self.study.judge(live.asked.number, live.num_valued, values[0])
        if pruned is not None:
            self._end(live, "PRUNED", self._stopped_early(pruned))
            return False
        return True

    def _stopped_early(self, pruned: Pruned | None) -> str:
        return f"early stopping ({self.spec.early_stopping.type}) {pruned}"

    def _end(self, live: RunningTrial, state: str, reason: str) -> None:
        end = {"state": state, "reason": reason, "time": time.time()}
        live.files.end(end)
        self._tell(live, end)
        self.live.pop(live.asked.number, None)
        self._ship(live)
        self._on_end(Ended(live.asked.number, state, reason, live.best))

    def _tell(self, live: RunningTrial, end: dict[str, Any]) -> None:
        if end["state"] == "COMPLETE":
            assert live.best is not None
            self.study.complete(live.asked.number, live.best, end)
        elif end["state"] == "PRUNED":
            self.study.prune(live.asked.number, end)
        else:
            self.study.fail(live.asked.number, end)
            self._failed += 1
        self._retention.ended(live.asked.number, end["state"], live.best)

    def _check_limits(self) -> bool:
        """Whether the sweep is closing, because a limit says so."""
        self.closing = self.closing or self._watch.of_sweep(self._failed)
        return self.closing is not None

    def _ship(self, live: RunningTrial) -> None:
        if self._tracker:
            self._tracker.changed(live.files)
