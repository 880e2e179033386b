"""A worker's messages to the driver, which Ray Tune carries as results.

The driver answers a report by going on or by ending the trial. An end is the last message, and has no answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Report:
    """The metrics of one step."""

    step: int
    metrics: dict[str, float]
    last: bool = False
    """No report of the validation split follows."""


@dataclass(frozen=True, kw_only=True)
class WorkerEnd:
    """The last word of a worker on its trial."""

    reason: str
    """A word of :mod:`trainables.trial`."""
    text: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    """The platform's own: ``trial/...``."""


def to_result(message: Report | WorkerEnd) -> dict[str, Any]:
    """The message in plain values, with metrics as pairs, because Tune flattens nested dicts."""
    kind = "report" if isinstance(message, Report) else "end"
    return {**vars(message), "kind": kind, "metrics": [*message.metrics.items()]}


def from_result(result: Mapping[str, Any]) -> Report | WorkerEnd | None:
    """The message in a result, among keys of Tune's own. None if Tune made the result by itself."""
    metrics = dict(result.get("metrics", ()))
    match result.get("kind"):
        case "report":
            return Report(step=result["step"], metrics=metrics, last=result["last"])
        case "end":
            return WorkerEnd(reason=result["reason"], text=result["text"], metrics=metrics)
    return None
