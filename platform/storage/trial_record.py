"""A trial's record: what `trial.json` holds, read and checked. It ties the trial's folder to one study and its values.

Study and tracking, of which neither may import the other, read it.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from platform.storage.trial_end import State, TrialEnd
from platform.sweepfile.fields import Metric
from trainables.storage import mirror, segments

NAME = "trial.json"
END = "end.json"


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """The identity of one trial."""

    number: int
    values: Mapping[str, Any]
    """The flat values of its config."""
    started: float
    """When it first started, in seconds since 1970."""
    study: str | None = None
    """The id of its study; None in a record from before records had it."""
    search: Mapping[str, Any] = field(default_factory=dict)
    """All that the study needs to know this trial again, see `study/from_files.py`; empty in such a record."""

    @property
    def retries(self) -> int | None:
        """The number of the failed trial whose setting it runs again."""
        number: int | None = self.search.get("user", {}).get("retries")
        return number

    @property
    def of(self) -> int | None:
        """The number of the trial whose setting it runs with a further seed."""
        number: int | None = self.search.get("user", {}).get("of")
        return number

    @classmethod
    def from_json(cls, record: Any) -> TrialRecord | None:
        """The record that `record` is the JSON of; None where it is the JSON of something else."""
        match record:
            case {"number": int(number), "values": dict(values), "started": float() | int() as started}:
                study, search = record.get("study"), record.get("search", {})
                if isinstance(study, str | None) and isinstance(search, dict):
                    return cls(number=number, values=values, started=started, study=study, search=search)
        return None

    def to_json(self) -> dict[str, Any]:
        """The record as `trial.json` holds it."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class TrialHistory:
    """A trial as its own files have it."""

    record: TrialRecord
    reports: Sequence[Mapping[str, Any]]
    """The lines of its journal."""
    end: TrialEnd | None

    def curve(self, metrics: Sequence[Metric]) -> list[tuple[float, ...]]:
        """The objective values of each report that has them all; NaN where one was not finite."""
        held = [report["metrics"] for report in self.reports]
        return [
            tuple(math.nan if each[metric.name] is None else each[metric.name] for metric in metrics)
            for each in held
            if all(metric.name in each for metric in metrics)
        ]

    def final_end(self, metrics: Sequence[Metric]) -> TrialEnd | None:
        """The end, if the trial is never started again; a complete trial without objective values has none."""
        if self.end is None or not self.end.state.is_final:
            return None
        return None if self.end.state is State.COMPLETE and not self.curve(metrics) else self.end


def read_history(sweep_folder: Path, number: int, notify: Callable[[str], None]) -> TrialHistory | None:
    """The history of a trial, None where it has no record that can be read.

    A trial whose journal has lost a report has no reports and no end: it is run anew.

    Args:
        sweep_folder: the sweep's.
        number: the trial's.
        notify: called with file and line of each line that is no report.
    """
    folder = sweep_folder / "trials" / str(number)
    if (record := read(sweep_folder, number)) is None:
        return None
    lost: list[str] = []
    reports, end = read_reports(folder, notify=lost.append), TrialEnd.read(read_json(folder / END))
    for where in lost:
        notify(f"{where} is no report; trial {number} is run anew")
    return TrialHistory(record=record, reports=() if lost else reports, end=None if lost else end)


def read_reports(
    folder: Path, after: int = 0, notify: Callable[[str], None] = lambda where: None
) -> list[dict[str, Any]]:
    """The reports in the journal of the trial in ``folder``, but the first `after`.

    A last line that is torn, or being written, is left out. So is a line that is no report.

    Args:
        folder: the trial's.
        after: number of reports to leave out.
        notify: called with file and line of each line that is no report.
    """
    reports: list[dict[str, Any]] = []
    for part in segments.parts(folder):
        lines = part.read_bytes().split(b"\n")[:-1]
        for number, line in list(enumerate(lines, 1))[after:]:
            if _is_report(report := _parse(line)):
                reports.append(report)
            else:
                notify(f"{part}:{number}")
        after = max(after - len(lines), 0)
    return reports


def _parse(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _is_report(line: Any) -> bool:
    match line:
        case {"report": int(), "time": float() | int(), "step": float() | int(), "metrics": dict(metrics)}:
            return all(isinstance(value, float | int | None) for value in metrics.values())
    return False


def read_json(path: Path) -> Any:
    """The content of a JSON file, None where there is none or where it is not JSON."""
    try:
        return _parse(path.read_bytes())
    except (FileNotFoundError, IsADirectoryError):
        return None


def set_aside(path: Path) -> Path:
    """Give a file that is no file of ours another name, in a bucket too; returns the new path."""
    aside = path.with_name(f"{path.name}.damaged")
    for count in itertools.count(2):
        if not aside.exists():
            break
        aside = path.with_name(f"{path.name}.damaged-{count}")
    path.rename(aside)
    mirror.push(aside)
    mirror.remove([path])
    return aside


def read(sweep_folder: Path, number: int) -> TrialRecord | None:
    """The record of a trial, None where there is none or it cannot be read."""
    return TrialRecord.from_json(read_json(sweep_folder / "trials" / str(number) / NAME))


def numbers(sweep_folder: Path) -> list[int]:
    """The numbers of the trials that have files in a sweep's folder or in its bucket, in order."""
    folder = sweep_folder / "trials"
    if mirror.remote_of(folder):
        names = {path.relative_to(folder).parts[0] for path in mirror.sizes(folder)}
    else:
        names = {path.name for path in folder.glob("*")}
    return sorted(int(name) for name in names if name.isdecimal())
