"""The limits of a sweep: hours of all, minutes of one trial, failed trials.

A trial that reports is ended at its report. One that is silent is ended from outside, a little later.
"""

from __future__ import annotations

import time
from collections.abc import Container, Iterable

from platform.runners.running import RunningTrial
from platform.sweepfile.fields import Limits
from trainables.storage.stages import WAITING

TIME_LIMIT = "time limit"
GRACE_S = 10.0
"""Seconds over a limit in which a trial may still report, as ending it at a report spares the worker."""

_LOOK_S = 1.0


class Watch:
    """Looks at the clock for one sweep.

    Args:
        limits: of the sweep file.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._started = self._looked = time.monotonic()
        self.closing: str | None = None
        """The limit that ends the sweep; None while none is reached."""
        self._closed = 0.0

    def of_sweep(self, failed: int) -> str | None:
        """The limit that ends the sweep; it stays once it is reached. None while none is.

        Args:
            failed: trials that failed so far.
        """
        if self.closing:
            return self.closing
        now, limits = time.monotonic(), self._limits
        if limits.max_hours and now - self._started > 3600 * limits.max_hours:
            self.closing = f"limits.max_hours {limits.max_hours:g} is reached"
        elif limits.max_failed_trials is not None and failed > limits.max_failed_trials:
            self.closing = f"limits.max_failed_trials {limits.max_failed_trials} is exceeded"
        self._closed = now  # read only once a limit is reached
        return self.closing

    def of_trial(self, trial: RunningTrial, grace_s: float = 0.0) -> str | None:
        """The limit that ends the trial, None while it is not reached; minutes that it waited do not count."""
        minutes = self._limits.max_minutes_per_trial
        if minutes and time.monotonic() - trial.started - trial.waited_s > 60 * minutes + grace_s:
            return f"{TIME_LIMIT} (max_minutes_per_trial {minutes:g})"
        return None

    def silent(self, running: Iterable[RunningTrial], unplaced: Container[int]) -> list[tuple[RunningTrial, str]]:
        """Trials that are over a limit and do not report, with the limit of each; checked once per second.

        Args:
            running: the trials that run.
            unplaced: the numbers of those that still wait for a worker.
        """
        now = time.monotonic()
        passed, due = now - self._looked, []
        if passed < _LOOK_S:
            return []
        self._looked = now
        closing = self.closing if now - self._closed > GRACE_S else None
        for trial in running:
            if self._limits.max_minutes_per_trial and (trial.asked.number in unplaced or _waits(trial)):
                trial.waited_s += passed
            if limit := closing or self.of_trial(trial, GRACE_S):
                due.append((trial, limit))
        return due


def _waits(trial: RunningTrial) -> bool:
    return f": {WAITING} " in f": {trial.files.status()}"
