"""Messages between a driver (`tracker.py`) and the process that ships for it (`shipper.py`): one JSON line each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal, get_args

from pydantic import TypeAdapter

from platform.tracking.destination import Destination

RunStatus = Literal["FINISHED", "KILLED", "FAILED"]
"""MLflow's words for the end of a run."""


@dataclass(frozen=True, kw_only=True)
class ParentEnd:
    """The end of a sweep's parent run: its status, the best trial as metrics and tags, the files to log.

    `time` (seconds since the epoch) and `step` belong to the metrics. Every try sends the same ones, so that the store
    keeps one point per metric.
    """

    status: RunStatus
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    time: float = 0.0
    step: int = 0


@dataclass(frozen=True, kw_only=True)
class Order:
    """To the process, first: the sweep to ship. `tags` are of the parent and of every trial; `secrets` are hidden."""

    destination: Destination
    sweep: str
    sweep_id: str
    folder: Path
    tags: Mapping[str, str]
    secrets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Changed:
    """To the process: the trial has news on disk."""

    number: int


@dataclass(frozen=True)
class Finish:
    """To the process, last: ship what is left and end the parent run."""

    end: ParentEnd


@dataclass(frozen=True)
class Notify:
    """To the driver: a sentence for the user."""

    text: str


@dataclass(frozen=True)
class Shipped:
    """To the driver: the store has all news of the trial."""

    number: int


@dataclass(frozen=True)
class Finished:
    """To the driver, last: the answer to `Finish`, with True if the store took everything."""

    took_all: bool


Message = Order | Changed | Finish | Notify | Shipped | Finished


def encode(message: Message) -> bytes:
    """The line that carries `message`."""
    return json.dumps([type(message).__name__, asdict(message)], default=str).encode() + b"\n"


def decode(line: bytes) -> Message | None:
    """The message that `line` carries; None where its sender died before it wrote the whole line."""
    if not line.endswith(b"\n"):
        return None
    name, fields = json.loads(line)
    message: Message = _adapter(name).validate_python(fields)
    return message


@cache
def _adapter(name: str) -> TypeAdapter[Message]:
    return TypeAdapter({kind.__name__: kind for kind in get_args(Message)}[name])
