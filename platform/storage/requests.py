"""Requests that a person leaves for the driver of a sweep, and its answers: one file each in the sweep's folder.

    requests/<id>.json   written by whoever asks, once; ids sort by time
    answers/<id>.json    written by the driver, after it has done what is asked
    paused               there while no trial is to be started

A driver that dies between the two meets the request again. What is asked is therefore done so that a second time
changes nothing: whatever the study takes from a request carries its id.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from platform.storage.trial_record import read_json
from trainables.storage import mirror

_REQUESTS, _ANSWERS, _PAUSED = "requests", "answers", "paused"


class Verb(StrEnum):
    """The act that is asked for."""

    END = "end"
    ENQUEUE = "enqueue"
    PAUSE = "pause"
    RETRY = "retry"
    UNPAUSE = "unpause"


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request."""

    verb: Verb
    numbers: tuple[int, ...] = ()
    """The trials that it names; for a retry, none means every failed one."""
    setting: Mapping[str, Any] = field(default_factory=dict)
    """The values of a point to enqueue."""
    id: str = field(default_factory=lambda: f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}")

    @classmethod
    def read(cls, request_id: str, record: Any) -> Request | None:
        """The request of which `record` is the JSON; None where it is the JSON of something else."""
        match record:
            case {"verb": str(verb), "numbers": list(numbers), "setting": dict(setting)} if verb in list(Verb):
                if all(type(number) is int for number in numbers):
                    return cls(verb=Verb(verb), numbers=tuple(numbers), setting=setting, id=request_id)
        return None


@dataclass(frozen=True)
class Answer:
    """An answer to a request."""

    text: str
    """Told to whoever asked."""
    done: bool = True
    """False if the request is refused."""


def leave(folder: Path, request: Request) -> None:
    """Leave a request for the driver of the sweep in `folder`."""
    _write(folder / _REQUESTS / f"{request.id}.json", {**asdict(request), "numbers": list(request.numbers)})


def pending(folder: Path) -> list[tuple[str, Request | None]]:
    """The requests without an answer, oldest first, each with its id; None stands for a file that is no request."""
    mirror.pull(folder / _REQUESTS)
    ids = sorted(path.stem for path in (folder / _REQUESTS).glob("[!.]*.json"))
    left = [each for each in ids if not (folder / _ANSWERS / f"{each}.json").exists()]
    return [(each, Request.read(each, read_json(folder / _REQUESTS / f"{each}.json"))) for each in left]


def write_answer(folder: Path, request_id: str, answer: Answer) -> None:
    """Answer a request."""
    _write(folder / _ANSWERS / f"{request_id}.json", asdict(answer))


def answer_to(folder: Path, request: Request) -> Answer | None:
    """The answer to a request; None while there is none."""
    path = folder / _ANSWERS / f"{request.id}.json"
    mirror.pull_file(path)
    match read_json(path):
        case {"text": str(text), "done": bool(done)}:
            return Answer(text, done)
    return None


def is_paused(folder: Path) -> bool:
    """True if no trial of the sweep in `folder` is to be started."""
    mirror.pull_file(folder / _PAUSED)
    return (folder / _PAUSED).exists()


def pause(folder: Path, on: bool) -> None:
    """Let no trial be started from here on, or let them start again."""
    if on:
        _write(folder / _PAUSED, {"since": time.time()})
    else:
        mirror.remove([folder / _PAUSED])


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(json.dumps(content))
    draft.replace(path)
    mirror.push(path)
