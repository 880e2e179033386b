"""Mending of trials' files that are none of ours, which a disk or a person left: each is told by name and set aside.

What a file held is had again: a record and an end from the study, reports by running the trial anew. The reports of a
trial that has ended are told by whoever reads them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from platform.storage import trial_record
from platform.storage.trial_record import TrialRecord
from platform.study.settings import STARTED
from platform.study.study import Study
from platform.tracking.journal import TrialFiles
from trainables.storage import mirror, segments

_OTHERS = ("attempts.json", "shipped.json", "tags.json")


def mend_trials(study: Study, folder: Path, notify: Callable[[str], None]) -> None:
    """Mend the files of all trials; call it while holding the lease, before a trial is taken up."""
    trials = {trial.number: trial for trial in study.trials(retried=True)}
    for number in trial_record.numbers(folder):
        if number not in trials:
            continue
        files, trial = TrialFiles(folder, number, notify), trials[number]
        end = study.end_of(trial)
        for name in _OTHERS:
            if _is_there(files, name) and not isinstance(trial_record.read_json(files.folder / name), dict):
                files.set_aside(name)
        if files.record() is None and (end or _is_there(files, trial_record.NAME)):
            _set_aside(files, trial_record.NAME)
            values, attributes = study.values(trial), study.search_record(number)
            started = float(trial.user_attrs[STARTED])
            files.restore(TrialRecord(number=number, values=values, started=started, study=study.id, search=attributes))
        if files.read_end() is None and (end or _is_there(files, trial_record.END)):
            _set_aside(files, trial_record.END)
            if end:
                files.end(end)
        if end is None:
            _begin_anew_if_lost(files, notify)


def _begin_anew_if_lost(files: TrialFiles, notify: Callable[[str], None]) -> None:
    """Let a trial that lost a report begin anew: its checkpoint would go on behind the gap."""
    lost: list[str] = []
    trial_record.read_reports(files.folder, notify=lost.append)
    if not lost:
        return
    notify(f"{lost[0]} is no report; the journal is set aside, and trial {files.number} begins anew")
    for part in segments.parts(files.folder):
        trial_record.set_aside(part)
    mirror.remove([files.folder / trial_record.END])
    mirror.remove_folder(files.folder / "checkpoints")


def _set_aside(files: TrialFiles, name: str) -> None:
    if _is_there(files, name):
        files.set_aside(name)


def _is_there(files: TrialFiles, name: str) -> bool:
    return (files.folder / name).exists()
