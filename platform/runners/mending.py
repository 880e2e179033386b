"""Mending of trials' files that are none of ours, which a disk or a person left: each is told by name and set aside.

What a file held is had again: a record and an end from the study, reports by running the trial anew. The reports of a
trial that has ended are told by whoever reads them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from platform.storage import trial_record
from platform.storage.trial_record import TrialRecord
from platform.study.ends import end_of
from platform.study.settings import STARTED
from platform.study.study import Study
from platform.tracking.journal import TrialFiles
from trainables.storage import mirror, segments

_OTHERS = ("attempts.json", "shipped.json", "tags.json")


def mend_trials(study: Study, folder: Path, notify: Callable[[str], None]) -> None:
    """Mend the files of all trials; call it while holding the lease, before a trial is taken up."""
    trials = {trial.number: trial for trial in study.trials(retried=True)}
    numbers = trial_record.numbers(folder)
    gone = [n for n, trial in trials.items() if n not in numbers and (end_of(trial) or trial.intermediate_values)]
    if gone:
        lost = f"{len(gone)} trials, the first is trial {gone[0]}, and their test values are gone"
        notify(
            f"{mirror.uri_of(folder / 'trials')} lacks the files of {lost}; see whether `storage:` names their place"
        )
    for number in numbers:
        if number not in trials:
            continue
        files, trial = TrialFiles(folder, number, notify), trials[number]
        end = end_of(trial)
        for name in _OTHERS:
            if _is_there(files, name) and not isinstance(trial_record.read_json(files.folder / name), dict):
                files.set_aside(name)
        if files.record() is None and (end or _is_there(files, trial_record.NAME)):
            _set_aside(files, trial_record.NAME)
            values, attributes = study.values(trial), study.search_record(number)
            started = float(trial.user_attrs[STARTED])
            files.restore(TrialRecord(number=number, values=values, started=started, study=study.id, search=attributes))
        written = files.read_end()
        if written is None and (end or _is_there(files, trial_record.END)):
            _set_aside(files, trial_record.END)
        if end and not (written and written.state.is_final):  # lost, or told by another program meanwhile
            files.end(end)
        if end is None:
            _begin_anew_if_lost(files, study, max(trial.intermediate_values, default=0), notify)


def _begin_anew_if_lost(files: TrialFiles, study: Study, known: int, notify: Callable[[str], None]) -> None:
    """Let a trial that lost a report begin anew: its checkpoint would go on behind the gap.

    Args:
        files: the trial's.
        study: of the sweep.
        known: number of reports with an objective that the study has; the journal has each before the study.
        notify: called with a sentence for the user.
    """
    lost: list[str] = []
    reports = trial_record.read_reports(files.folder, notify=lost.append)
    held = sum(study.spec.metrics[0].name in report["metrics"] for report in reports)
    if not lost and held >= known:
        return
    what = f"{lost[0]} is no report" if lost else f"{files.folder} holds {held} of {known} reports"
    notify(f"{what}; the journal is set aside, and trial {files.number} begins anew")
    for part in segments.parts(files.folder):
        trial_record.set_aside(part)
    mirror.remove([files.folder / trial_record.END])
    mirror.remove_folder(files.folder / "checkpoints")


def _set_aside(files: TrialFiles, name: str) -> None:
    if _is_there(files, name):
        files.set_aside(name)


def _is_there(files: TrialFiles, name: str) -> bool:
    return (files.folder / name).exists()
