"""One trial's files in the storage: its values, reports and end. They are written before anything relies on them.

<storage>/<sweep>/trials/<number>/
    trial.json       values and start, written when the trial starts
    journal.jsonl    one line per report, on disk before the report is acknowledged (in a bucket: journal/)
    attempts.json    how its starts went, once one of them failed
    end.json         state and reason, written when the trial ends
    shipped.json     how far the tracking server has it (shipper.py)
    artifacts/  checkpoints/  status  tags.json      written by the worker

Where the storage is a bucket, these are copies: what is written is in the bucket before anything relies on it.
"""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from platform.storage import trial_record
from platform.storage.disk_space import retry_while_full
from platform.storage.trial_end import TrialEnd
from platform.storage.trial_record import TrialRecord, read_json, read_reports
from trainables.disk import PRIVATE, write_all
from trainables.redaction import holds_secret
from trainables.storage import mirror, segments

_STATUS_AGE_S = 10.0

logger = logging.getLogger(__name__)


class TrialFiles:
    """The files of trial `number` of the sweep in `sweep_folder`; `notify` is called while they wait for space.

    `label` names the trial to people: its number, after the name of its sweep where that is an `earlier` one.
    """

    def __init__(
        self, sweep_folder: Path, number: int, notify: Callable[[str], None] = logger.warning, *, earlier: str = ""
    ) -> None:
        self.number = number
        self.label = f"{earlier}/{number}" if earlier else str(number)
        self._notify = notify
        self.folder = sweep_folder / "trials" / str(number)
        self._count: int | None = None

    def begin(
        self, values: Mapping[str, Any], study: str | None = None, search: Mapping[str, Any] | None = None
    ) -> None:
        """Write the trial's record; a resumed trial keeps its first start. A dead driver's end is withdrawn.

        Args:
            values: of its config, flat.
            study: the id of its study.
            search: see :class:`TrialRecord`.
        """
        if (self.folder / "end.json").exists():
            mirror.remove([self.folder / "end.json"])
        if not (self.folder / trial_record.NAME).exists():
            record = TrialRecord(
                number=self.number, values=dict(values), started=time.time(), study=study, search=search or {}
            )
            self._write(trial_record.NAME, record.to_json(), private=holds_secret(record.values))

    def record(self) -> TrialRecord | None:
        """The trial's record; None where there is none (yet) or it cannot be read."""
        return TrialRecord.from_json(read_json(self.folder / trial_record.NAME))

    def restore(self, record: TrialRecord) -> None:
        """Write a record again that was lost."""
        self._write(trial_record.NAME, record.to_json(), private=holds_secret(record.values))

    def set_aside(self, name: str) -> None:
        """Give one of the files that is none of ours another name, and tell the user."""
        aside = trial_record.set_aside(self.folder / name)
        self._notify(f"{self.folder / name} holds no {name} of a trial; it is set aside as {aside.name}")

    def append(self, step: int, metrics: Mapping[str, float], last: bool = False) -> dict[str, Any]:
        """Add one report and return its line once it is on disk.

        A value that is not finite is kept as null, and an infinite one once more as text under `infinite`.
        """
        if self._count is None:
            self._count = self._mend()
        infinite = {name: str(value) for name, value in metrics.items() if math.isinf(value)}
        line = {
            "report": self._count + 1,
            "time": time.time(),
            "step": step,
            "metrics": {name: value if math.isfinite(value) else None for name, value in metrics.items()},
            **({"infinite": infinite} if infinite else {}),
            **({"last": True} if last else {}),
        }
        retry_while_full(lambda: self._add(json.dumps(line).encode() + b"\n"), self.folder, self._notify)
        self._count += 1
        return line

    def lines(self, after: int = 0) -> list[dict[str, Any]]:
        """The reports after the first `after`, see :func:`read_reports`; a line that is none is told."""
        return read_reports(self.folder, after, lambda where: self._notify(f"{where} is no report and is left out"))

    def end(self, end: TrialEnd, *, waits: bool = True) -> None:
        """Write how the trial ended; unless it `waits` for free space, a full disk is an OSError."""
        self._write("end.json", end.to_json(), waits=waits)

    def read_end(self) -> TrialEnd | None:
        """The trial's end; None while it runs."""
        return TrialEnd.read(read_json(self.folder / trial_record.END))

    def read(self, name: str) -> dict[str, Any]:
        """One of the JSON files, empty where it is not there (yet)."""
        content = read_json(self.folder / name)
        return content if isinstance(content, dict) else {}

    def status(self) -> str:
        """The worker's own line on what the trial is doing, empty where it has none; some seconds old in a bucket."""
        mirror.refresh_in_background(self.folder / "status", _STATUS_AGE_S)
        try:
            return (self.folder / "status").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def bring(self, most_bytes: float) -> None:
        """Download the tags and artifacts that the worker wrote, but for those of more than `most_bytes`."""
        mirror.pull_file(self.folder / "tags.json")
        mirror.pull(self.folder / "artifacts", most_bytes=most_bytes)

    def note_attempts(self, record: Mapping[str, Any]) -> None:
        """Write how the trial's starts went, before it is started again."""
        self._write("attempts.json", record)

    def write_shipped(self, record: Mapping[str, Any]) -> None:
        """Note how far the tracking server has this trial."""
        self._write("shipped.json", record)

    def _mend(self) -> int:
        """Cut a last line that a crash tore, before more is written; returns the number of lines."""
        count = 0
        for part in segments.parts(self.folder):
            content = part.read_bytes()
            whole = content[: content.rfind(b"\n") + 1]
            if whole != content:
                os.truncate(part, len(whole))
            count += whole.count(b"\n")
        return count

    def _write(self, name: str, content: Mapping[str, Any], *, waits: bool = True, private: bool = False) -> None:
        def write() -> None:
            self.folder.mkdir(parents=True, exist_ok=True)
            draft = self.folder / f".{name}.draft"
            with draft.open("wb", buffering=0) as stream:
                if private:
                    os.fchmod(stream.fileno(), PRIVATE)
                write_all(stream, json.dumps(content).encode())
                os.fsync(stream.fileno())
            draft.rename(self.folder / name)
            mirror.push(self.folder / name)

        if waits:
            retry_while_full(write, self.folder, self._notify)
        else:
            write()

    def _add(self, line: bytes) -> None:
        """Append to the journal, all of it or nothing."""
        path = segments.part_of(self.folder, self._count or 0)
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.stat().st_size if path.exists() else 0
        try:
            with path.open("ab", buffering=0) as stream:
                write_all(stream, line)
                os.fsync(stream.fileno())
            mirror.push(path)
        except OSError:
            if path.exists():
                os.truncate(path, before)
            raise


def metrics_of(line: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of a journal's line as they were reported, those that are not finite too."""
    metrics = {name: math.nan if value is None else value for name, value in line["metrics"].items()}
    return metrics | {name: float(value) for name, value in line.get("infinite", {}).items()}


def infinite_words(lines: Iterable[Mapping[str, Any]]) -> str:
    """The infinite metrics of a trial's reports in words, each at its first step; "" where there are none."""
    first: dict[str, str] = {}
    for line in lines:
        for name, value in line.get("infinite", {}).items():
            first.setdefault(name, f"{name} = {value} at step {line['step']}")
    return "; ".join(first.values())


def last_values(lines: Iterable[Mapping[str, Any]], *prefixes: str) -> dict[str, float]:
    """Of a trial's reports, the last finite value of each metric whose name starts with one of `prefixes`."""
    values: dict[str, float] = {}
    for line in lines:
        values |= {n: v for n, v in line["metrics"].items() if n.startswith(prefixes) and v is not None}
    return values


def all_trials(sweep_folder: Path, notify: Callable[[str], None] = logger.warning) -> list[TrialFiles]:
    """The trials that have files in a sweep's folder, in order."""
    numbers = sorted(int(p.name) for p in (sweep_folder / "trials").glob("*") if p.name.isdecimal())
    return [TrialFiles(sweep_folder, number, notify) for number in numbers]
