"""Messages between a trial's worker and its ranks: lines of JSON on a socket.

A rank gets one :class:`RankTask`. It sends each :class:`Report` and waits until that was taken, which an empty line
says. Its last message is a :class:`RankEnd`. Ranks on another node are started by a node agent, which gets one
:class:`NodeTask` over Ray and returns one :class:`RankEnd` for all its ranks.
"""

import json
from dataclasses import asdict, dataclass

from trainables.runtime.messages import Report
from trainables.runtime.task import Task

TAKEN = b"\n"
"""A worker's answer to a report."""


@dataclass(frozen=True, kw_only=True)
class NodeTask:
    """The ranks of a trial that run on one node."""

    task: Task
    ranks: range
    gpus: float
    """GPUs of this node for all of them."""
    address: str
    """Of the store over which the trial's ranks find each other."""
    port: int
    """Of the same store."""


@dataclass(frozen=True, kw_only=True)
class RankTask:
    """One rank of a trial, and its place on its node."""

    task: Task
    rank: int
    local_rank: int
    """From 0 on each node."""
    device: str
    """``cpu`` or ``cuda:<index>``."""
    interface: str
    """The node's network interface by which the ranks talk."""
    address: str
    """Of the store, as in :class:`NodeTask`."""
    port: int


@dataclass(frozen=True, kw_only=True)
class RankEnd:
    """The last word of a rank, or of all ranks on a node."""

    reason: str
    """A word of :mod:`trainables.trial`."""
    text: str = ""
    time: float = 0.0
    """Seconds since 1970. 0 if the rank itself sent no last word."""
    memory_mib: float = 0.0
    traceback: str = ""


def to_line(message: RankTask | Report | RankEnd) -> bytes:
    """The message as a line, which :func:`from_line` and :func:`task_from_line` take back."""
    return json.dumps(asdict(message)).encode() + b"\n"


def from_line(line: bytes) -> Report | RankEnd:
    """The message that a rank sent."""
    fields = json.loads(line)
    return RankEnd(**fields) if "reason" in fields else Report(**fields)


def task_from_line(line: str) -> RankTask:
    """The task that a worker sent."""
    fields = json.loads(line)
    return RankTask(**{**fields, "task": Task.from_dict(fields["task"])})
