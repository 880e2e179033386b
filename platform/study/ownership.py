"""Ownership of the trials' folders: each belongs to one study and one setting, else a checkpoint meets other values."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from platform.errors import InvalidSweep
from platform.storage import trial_record
from platform.storage.trial_record import TrialRecord
from platform.study.identity import differences, seeded
from platform.sweepfile.spec import SweepSpec
from trainables.redaction import redact_values
from trainables.storage import mirror

ADOPT = "--adopt rebuilds the study from the trials' own files"
_MOST = 5


def refuse_unowned(
    spec: SweepSpec,
    folder: Path,
    study_id: str | None,
    trials: Sequence[FrozenTrial],
    values_of: Callable[[FrozenTrial], dict[str, Any] | None],
) -> None:
    """Compare the trials' folders with the study, before either is written to.

    Args:
        spec: the sweep.
        folder: the sweep's.
        study_id: None for a study that is not there yet.
        trials: all that the study has, by number.
        values_of: gives the flat values of a trial that was started, None for any other trial.

    Raises:
        InvalidSweep: a folder belongs to a trial that the study does not know, or knows with other values.
    """
    unknown: list[int] = []
    problems: list[str] = []
    for number in trial_record.numbers(folder):
        record = trial_record.read(folder, number)
        trial = trials[number] if number < len(trials) else None
        values = values_of(trial) if trial else None
        if values is None:
            never_ran = trial is not None and trial.state.is_finished()  # a point that was dropped
            if record or not (never_ran or _is_empty(folder / "trials" / str(number))):
                unknown.append(number)
        elif record and (what := _mismatch(record, number, study_id, values)):
            problems.append(f"trial {number} has {what} in its {trial_record.NAME}")
    if unknown:
        shown = ", ".join(map(str, unknown[:_MOST])) + (", ..." if len(unknown) > _MOST else "")
        problems.insert(0, f"it does not know {len(unknown)} of them (trial {shown})")
    if problems:
        more = f", and {len(problems) - _MOST} trials more differ" if len(problems) > _MOST else ""
        rule = f"must be the study of the trials in {mirror.uri_of(folder / 'trials')}"
        what = f"{place_of(spec, folder)} is not: {'; '.join(problems[:_MOST])}{more}"
        remedy = f"name the study that they had, or run this sweep under another name (--set name=...), or {ADOPT}"
        raise InvalidSweep([spec.problem("study", f"{rule}, but {what}; {remedy}")])


def _is_empty(folder: Path) -> bool:
    """True if a trial's folder holds nothing but drafts, which a crash may leave."""
    return all(path.name.startswith(".") for path in mirror.sizes(folder))


def place_of(spec: SweepSpec, folder: Path) -> str:
    """The database or the file that holds the study of a sweep."""
    return spec.study or str(folder / "study.journal")


def study_of(folder: Path, records: Mapping[int, TrialRecord]) -> str | None:
    """The id of the one study that records of a sweep's trials name; None where they name none.

    Args:
        folder: the sweep's.
        records: by the number that each trial's folder has.

    Raises:
        InvalidSweep: they name several studies, or a record is in the folder of another number.
    """
    first: dict[str, int] = {}
    for number, record in records.items():
        if record.study:
            first.setdefault(record.study, number)
    there = [f"{study[:8]} in folder {number}" for study, number in first.items()] if len(first) > 1 else []
    strays = [(number, record.number) for number, record in records.items() if record.number != number]
    there += [f"trial {trial} in folder {number}" for number, trial in strays]
    if there:
        rule = f"{mirror.uri_of(folder / 'trials')}: must hold the trials of one study, each under its number"
        raise InvalidSweep([f"{rule}, but there is {' and '.join(there[:_MOST])}; move what belongs elsewhere"])
    return next(iter(first), None)


def refuse_other(
    record: TrialRecord, folder: Path, number: int, study_id: str | None, values: Mapping[str, Any]
) -> None:
    """Compare one trial's record with the trial that is about to start in its folder.

    Raises:
        InvalidSweep: it is another trial's.
    """
    if what := _mismatch(record, number, study_id, values):
        rule = f"{folder}: must hold trial {number} of this sweep, but its {trial_record.NAME} has {what}"
        raise InvalidSweep([f"{rule}; run this sweep under another name (--set name=...), or {ADOPT}"])


def _mismatch(record: TrialRecord, number: int, study_id: str | None, values: Mapping[str, Any]) -> str:
    """The difference of a record to a trial of the study, in words; empty where there is none."""
    what: list[str] = []
    if record.study and study_id and record.study != study_id:
        what.append(f"the id of another study ({record.study[:8]}, not {study_id[:8]})")
    if record.number != number:
        what.append(f"the number {record.number}")
    theirs, ours = seeded({**record.values}), seeded({**values})
    if differences(theirs, json.loads(json.dumps(ours))):
        shown = differences(redact_values(theirs), redact_values(ours))
        what.append(f"other values ({', '.join(shown)})")
    return " and ".join(what)
