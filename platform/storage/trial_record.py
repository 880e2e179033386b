"""A trial's record: what `trial.json` holds, read and checked. It ties the trial's folder to one study and its values.

Study and tracking, of which neither may import the other, read it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from trainables.storage import mirror

NAME = "trial.json"


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


def read_json(path: Path) -> Any:
    """The content of a JSON file, None where there is none or where it is not JSON."""
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError, RecursionError):
        return None


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
