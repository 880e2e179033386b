"""What follows when a trial's worker ended with an error: it is started again, or the trial has failed.

worker lost, worker retired
    Started again; it is not the trial's fault, unless no start gets any further.
out of memory
    Started again once with half the micro-batch where the trainable says that its loss stays the same; else as an
    exception.
exception
    Started again while `max_failures_per_trial` allows, but not to meet the same one at the same report a third time.
disk full, non-finite objective
    Failed: it would end alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from trainables.trial import DISK_FULL, EXCEPTION, NON_FINITE, OUT_OF_MEMORY, RETIRED, WORKER_LOST

LOSSES_IN_A_ROW = 5
"""Workers that a trial may lose without a new report between; one that ends its worker each time ends here."""

_LARGEST_DIVISOR = 2


@dataclass
class Attempts:
    """How a trial's starts went so far; kept beside its journal, so that another driver goes on counting."""

    attempt: int = 0
    """How often it was started before."""
    failures: int = 0
    """Ends that count against it."""
    losses: int = 0
    """Workers lost since `reports` last rose."""
    reports: int = 0
    """Reports at the last end."""
    micro_batch_divisor: int = 1
    last: str = ""
    """What the last failure was."""

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> Attempts:
        """As another driver left it; fields that it did not know start anew."""
        return cls(**{name: value for name, value in record.items() if name in cls.__dataclass_fields__})

    @property
    def record(self) -> dict[str, Any]:
        """What :meth:`read` takes."""
        return asdict(self)

    def ended(self, reason: str, detail: str, *, reports: int, allowed: int, divides: bool) -> str | None:
        """Count an end with an error; the words of the trial's own end, or None where it is started again.

        Args:
            reason: a word of `trainables.trial`.
            detail: the reason with its text.
            reports: different ones so far, over all starts.
            allowed: `limits.max_failures_per_trial`.
            divides: whether half a micro-batch leaves the loss as it is.
        """
        further = reports > self.reports
        what = reason if reason == OUT_OF_MEMORY else detail  # whose text holds amounts that vary
        repeated = not further and what == self.last
        self.reports, self.attempt = reports, self.attempt + 1
        if reason == RETIRED:
            return None
        if reason == WORKER_LOST:
            self.losses = 1 if further else self.losses + 1
            return f"{detail} ({self.losses} times in a row)" if self.losses >= LOSSES_IN_A_ROW else None
        self.failures, self.last = self.failures + 1, what
        if reason == OUT_OF_MEMORY and divides:
            self.micro_batch_divisor *= 2
            return detail if self.micro_batch_divisor > _LARGEST_DIVISOR else None
        if reason in (DISK_FULL, NON_FINITE):
            return detail
        assert reason in (EXCEPTION, OUT_OF_MEMORY), reason
        return detail if repeated or self.failures > allowed else None
