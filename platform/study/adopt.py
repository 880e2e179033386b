"""Adoption: a study that was lost, damaged or restored from a backup is rebuilt from its trials' own files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from platform.errors import InvalidSweep
from platform.space.space import Space
from platform.storage import trial_record
from platform.storage.trial_record import TrialHistory, set_aside
from platform.study import from_files, identity, opening, ownership
from platform.study.settings import STARTED
from platform.study.storage import JOURNAL
from platform.sweepfile.spec import SweepSpec
from trainables.storage import mirror


@dataclass(frozen=True, kw_only=True)
class Adopted:
    """The result: the trials of the study that have ended, and those that a driver takes up."""

    ended: int
    unfinished: int
    rebuilt: bool
    """False if the study knew all of them already, and was left as it is."""

    @classmethod
    def of(cls, trials: Iterable[FrozenTrial], *, rebuilt: bool) -> Adopted:
        """The result for the trials of a study."""
        finished = [trial.state.is_finished() for trial in trials if STARTED in trial.user_attrs]
        return cls(ended=sum(finished), unfinished=len(finished) - sum(finished), rebuilt=rebuilt)

    def __str__(self) -> str:
        what = "the study is rebuilt from its trials' files" if self.rebuilt else "the study knows all trials already"
        return f"{what}, {self.ended} have ended, {self.unfinished} go on"


def adopt(spec: SweepSpec, space: Space, folder: Path, notify: Callable[[str], None]) -> Adopted:
    """Rebuild the study of the sweep in `folder`. Trials keep their numbers, the study keeps its id.

    Call it only while holding the sweep's lease.

    Args:
        spec: the sweep.
        space: its compiled parameters.
        folder: the sweep's folder in the storage.
        notify: called with a sentence for the user.

    Raises:
        InvalidSweep: the trials are of several studies or of another space, or the study has trials of another sweep.
    """
    histories = _read(folder, notify)
    if not histories:
        raise InvalidSweep([f"{folder / 'trials'}: must hold trials for --adopt, but has none; run without --adopt"])
    study_id = ownership.study_of(folder, {number: history.record for number, history in histories.items()})
    trials = _trials(spec, space, folder, histories)
    storage = _open(spec, folder, notify)
    if spec.name in optuna.get_all_study_names(storage):
        old = optuna.load_study(study_name=spec.name, storage=storage)
        started = {trial.number: trial for trial in old.get_trials() if STARTED in trial.user_attrs}
        if started and old.user_attrs.get(opening.ID) != study_id:
            place = ownership.place_of(spec, folder)
            rule = f"must have no trials of another sweep for --adopt, but {place} has {len(started)} in {spec.name!r}"
            raise InvalidSweep([spec.problem("study", f"{rule}; name another storage, or move that study away")])
        if started:
            identity.refuse_changed(old.user_attrs.get(opening.IDENTITY), spec, space)
            if _is_whole(old, spec, space, folder):
                return Adopted.of(started.values(), rebuilt=False)
        trials = {**started, **trials}  # a trial whose folder was deleted is still known
        optuna.delete_study(study_name=spec.name, storage=storage)
    study = opening.create(spec, storage)
    opening.mark(study, spec, space, study_id or opening.new_id())
    for number in range(max([*trials, *trial_record.numbers(folder)]) + 1):
        study.add_trial(trials.get(number) or create_trial(state=TrialState.FAIL))  # nobody sees a gap
    from_files.restore_study(
        study, max((each.record for each in histories.values()), key=lambda record: record.started)
    )
    if spec.method == "cmaes":
        notify("method cmaes begins its generations anew: only the lost study had them")
    return Adopted.of(trials.values(), rebuilt=True)


def _is_whole(study: optuna.Study, spec: SweepSpec, space: Space, folder: Path) -> bool:
    try:
        opening.refuse_wrong(study, spec, space, folder)
    except InvalidSweep:
        return False
    return True


def _read(folder: Path, notify: Callable[[str], None]) -> dict[int, TrialHistory]:
    """The histories of all trials that have a record, by number; the others are told."""
    histories: dict[int, TrialHistory] = {}
    for number in trial_record.numbers(folder):
        if history := trial_record.read_history(folder, number, notify):
            histories[number] = history
        else:
            path = folder / "trials" / str(number) / trial_record.NAME
            notify(f"{path} is not there or no record of a trial; trial {number} is left out")
    return histories


def _trials(
    spec: SweepSpec, space: Space, folder: Path, histories: Mapping[int, TrialHistory]
) -> dict[int, FrozenTrial]:
    """The trials of the study by number: those that have files, and those that these files know.

    Raises:
        InvalidSweep: trials of another space, one problem per trial.
    """
    rungs, own, others = from_files.Rungs(spec), dict[int, FrozenTrial](), dict[int, FrozenTrial]()
    problems: list[str] = []
    for number, history in histories.items():
        try:
            own[number] = from_files.frozen_trial(history, spec, space, rungs)
            others |= {trial.number: trial for trial in from_files.others_of(history, space)}
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            path = mirror.uri_of(folder / "trials" / str(number) / trial_record.NAME)
            problems.append(f"{path}: must be a trial of {spec.path}, but is not ({error}); name its sweep file")
    if problems:
        raise InvalidSweep(problems)
    return {**others, **own}


def _open(spec: SweepSpec, folder: Path, notify: Callable[[str], None]) -> optuna.storages.BaseStorage:
    """Open the study's storage; a damaged journal is set aside."""
    try:
        return opening.open_or_refuse(spec, folder, notify)
    except InvalidSweep as damage:
        aside = set_aside(folder / JOURNAL)
        notify(f"{str(damage).partition(';')[0]}; it is set aside as {aside.name}")
        return opening.open_or_refuse(spec, folder, notify)
