"""Retries: a trial whose worker ended with an error is started again, or it has failed.

worker lost, worker retired, disk full
    Started again, as the trial has no fault, unless no start gets any further. After a full disk, once it has room.
out of memory
    Started again once with half the micro-batch where the trainable says that its loss stays the same; else as an
    exception.
exception
    Started again while `max_failures_per_trial` allows, but not to meet the same one at the same report a third time.
non-finite objective
    Failed: a retry would end alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from trainables.trial import DISK_FULL, EXCEPTION, NON_FINITE, OUT_OF_MEMORY, RETIRED, WORKER_LOST

LOSSES_IN_A_ROW = 5
"""Workers that a trial may lose without a new report between; one that ends its worker each time ends here."""

_LARGEST_DIVISOR = 2


@dataclass(frozen=True)
class Retry:
    """The trial is started again."""


@dataclass(frozen=True)
class Failed:
    """The trial has failed."""

    text: str
    """The reason of its end."""


@dataclass
class Attempts:
    """Counters of a trial's starts, kept beside its journal so that another driver goes on counting."""

    attempt: int = 0
    """Starts before this one."""
    failures: int = 0
    """Ends that count against it."""
    losses: int = 0
    """Workers lost since `reports` last rose."""
    reports: int = 0
    """Reports at the last end."""
    micro_batch_divisor: int = 1
    last: str = ""
    """The last failure, in words."""

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> Attempts:
        """Read the counters that another driver left; fields that it did not know start anew."""
        fresh = asdict(cls())
        return cls(**{name: record[name] for name in fresh if type(record.get(name)) is type(fresh[name])})

    @property
    def record(self) -> dict[str, Any]:
        """The counters as :meth:`read` takes them."""
        return asdict(self)

    def ended(self, reason: str, detail: str, *, reports: int, allowed: int, divides: bool) -> Retry | Failed:
        """Count an end with an error and decide what follows.

        Args:
            reason: a word of `trainables.trial`.
            detail: the reason with its text.
            reports: different ones so far, over all starts.
            allowed: `limits.max_failures_per_trial`.
            divides: True if half a micro-batch leaves the loss as it is.
        """
        further = reports > self.reports
        what = reason if reason == OUT_OF_MEMORY else detail  # whose text holds amounts that vary
        repeated = not further and what == self.last
        self.reports, self.attempt = reports, self.attempt + 1
        if reason == RETIRED:
            return Retry()
        if reason in (WORKER_LOST, DISK_FULL):
            self.losses = 1 if further else self.losses + 1
            return Failed(f"{detail} ({self.losses} times in a row)") if self.losses >= LOSSES_IN_A_ROW else Retry()
        self.failures, self.last = self.failures + 1, what
        if reason == OUT_OF_MEMORY and divides:
            self.micro_batch_divisor *= 2
            return Failed(detail) if self.micro_batch_divisor > _LARGEST_DIVISOR else Retry()
        if reason == NON_FINITE:
            return Failed(detail)
        assert reason in (EXCEPTION, OUT_OF_MEMORY), reason
        return Failed(detail) if repeated or self.failures > allowed else Retry()
