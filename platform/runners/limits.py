"""The limits of a sweep: hours of all, minutes of one trial, failed trials."""

from __future__ import annotations

import time

from platform.fields import Limits
from platform.runners.live import Live

TIME_LIMIT = "time limit"
_SWEEP = "limits."


class Watch:
    """Looks at the clock for one sweep.

    Args:
        limits: of the sweep file.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._started = time.monotonic()

    def of_sweep(self, failed: int) -> str | None:
        """Why the sweep must end, if a limit says so.

        Args:
            failed: trials that failed so far.
        """
        hours = (time.monotonic() - self._started) / 3600
        if self._limits.max_hours and hours > self._limits.max_hours:
            return f"{_SWEEP}max_hours {self._limits.max_hours:g} is reached"
        most = self._limits.max_failed_trials
        if most is not None and failed > most:
            return f"{_SWEEP}max_failed_trials {most} is exceeded"
        return None

    def of_trial(self, live: Live) -> str | None:
        """Why the trial must end, if its minutes are used up."""
        minutes = self._limits.max_minutes_per_trial
        if minutes and time.monotonic() - live.started > 60 * minutes:
            return f"{TIME_LIMIT} (max_minutes_per_trial {minutes:g})"
        return None


def is_limit(closing: str | None) -> bool:
    """Whether a sweep closes by a limit, and not because there is nothing left to ask for."""
    return (closing or "").startswith(_SWEEP)
