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
"""For how long over a limit a report, which spares the worker, is waited for."""

_LOOK_S = 1.0


class Watch:
    """Looks at the clock for one sweep.

    Args:
        limits: of the sweep file.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._started = self._looked = time.monotonic()
        self._closing: float | None = None

    def of_sweep(self, failed: int) -> str | None:
        """Why the sweep must end, if a limit says so.

        Args:
            failed: trials that failed so far.
        """
        now = time.monotonic()
        limits, reason = self._limits, None
        if limits.max_hours and now - self._started > 3600 * limits.max_hours:
            reason = f"limits.max_hours {limits.max_hours:g} is reached"
        elif limits.max_failed_trials is not None and failed > limits.max_failed_trials:
            reason = f"limits.max_failed_trials {limits.max_failed_trials} is exceeded"
        if reason and self._closing is None:
            self._closing = now
        return reason

    def of_trial(self, live: RunningTrial, grace_s: float = 0.0) -> str | None:
        """Why the trial must end, if its minutes are used up; those that it waited do not count."""
        minutes = self._limits.max_minutes_per_trial
        if minutes and time.monotonic() - live.started - live.waited_s > 60 * minutes + grace_s:
            return f"{TIME_LIMIT} (max_minutes_per_trial {minutes:g})"
        return None

    def silent(
        self, lives: Iterable[RunningTrial], unplaced: Container[int], closing: str | None
    ) -> list[tuple[RunningTrial, str]]:
        """Trials that are over a limit and do not report, with the reason of each; looks once a second.

        Args:
            lives: the trials that run.
            unplaced: the numbers of those that still wait for a worker.
            closing: why the sweep ends, if it does.
        """
        now = time.monotonic()
        passed, due = now - self._looked, []
        if passed < _LOOK_S:
            return []
        self._looked = now
        is_over = self._closing is not None and now - self._closing > GRACE_S
        for live in lives:
            if self._limits.max_minutes_per_trial and (live.asked.number in unplaced or _waits(live)):
                live.waited_s += passed
            reason = closing if is_over and closing else self.of_trial(live, GRACE_S)
            if reason:
                due.append((live, reason))
        return due


def _waits(live: RunningTrial) -> bool:
    return f": {WAITING} " in f": {live.files.status()}"
