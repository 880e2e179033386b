"""A trial's end: what `end.json` in the sweep's folder and the study's attribute `end` hold.

Study and tracking, of which neither may import the other, read it, and so do runners and analysis.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """The state of a trial, in Optuna's words.

    Three are ours: INTERRUPTED is RUNNING in the study, RETRIED and CANCELLED are FAIL.
    """

    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    PRUNED = "PRUNED"
    FAIL = "FAIL"
    INTERRUPTED = "INTERRUPTED"
    """Its driver ended; the next driver starts the trial again."""

    RETRIED = "RETRIED"
    """It failed, and another trial runs its setting again."""

    CANCELLED = "CANCELLED"
    """A person ended it: it is no failure, and samplers learn nothing from it."""

    @property
    def is_final(self) -> bool:
        """True if the trial is never started again."""
        return self not in (State.RUNNING, State.INTERRUPTED)


@dataclass(frozen=True)
class TrialEnd:
    """The end of one trial."""

    state: State
    reason: str
    """The cause, in the user's words."""
    time: float
    """When it ended, in seconds since 1970."""

    @classmethod
    def now(cls, state: State, reason: str) -> TrialEnd:
        """An end at this moment."""
        return cls(state, reason, time.time())

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> TrialEnd:
        """The end of which `record` is the JSON."""
        return cls(State(record["state"]), record["reason"], record["time"])

    @classmethod
    def read(cls, record: Any) -> TrialEnd | None:
        """The end of which `record` is the JSON; None where it is the JSON of something else."""
        match record:
            case {"state": str(state), "reason": str(), "time": float() | int()} if state in list(State):
                return cls.from_json(record)
        return None

    def to_json(self) -> dict[str, Any]:
        """The end as JSON holds it."""
        return asdict(self) | {"state": self.state.value}


@dataclass(frozen=True)
class EndedTrial:
    """A trial that has ended."""

    number: int
    end: TrialEnd
    values: tuple[float, ...] | None
    """Its objective values; None where it reported none."""
    of: int | None = None
    """The number of the trial whose setting it ran with a further seed."""
    setting: Mapping[str, Any] = field(default_factory=dict)
    """Its values, for who shows it."""
    work_s: float | None = None
    """Seconds that its reports took, without the start of its worker; None for a trial that did not run here."""
