"""The ends of a study's trials, as the study has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from optuna.trial import FrozenTrial, TrialState

from platform.storage.trial_end import EndedTrial, State, TrialEnd
from platform.study.opening import END
from platform.study.settings import OF, RETRIES, STARTED

TOLD = "user, by another program"
"""The reason of an end that another program told the study."""


def end_of(trial: FrozenTrial) -> TrialEnd | None:
    """The end of a trial, None while it runs. An end without a record was told by another program, for a person."""
    if not trial.state.is_finished():  # though its driver may have died over an end that was written here
        return None
    assert trial.datetime_complete is not None
    told = {"state": State.CANCELLED, "reason": TOLD, "time": trial.datetime_complete.timestamp()}
    record = trial.user_attrs.get(END, told)
    is_cancelled = trial.state == TrialState.FAIL and record["state"] == State.CANCELLED
    return TrialEnd.from_json({**record, "state": State.CANCELLED if is_cancelled else trial.state.name})


def ended(trials: Iterable[FrozenTrial]) -> Iterator[EndedTrial]:
    """Those of a study's trials that were started and have ended, with the values that the study has."""
    trials = list(trials)
    again = retried(trials)
    for trial in trials:
        if STARTED in trial.user_attrs and (end := end_of(trial)):
            end = replace(end, state=State.RETRIED) if trial.number in again else end
            values = tuple(trial.values) if trial.values else None
            yield EndedTrial(trial.number, end, values, trial.user_attrs.get(OF))


def retried(trials: Iterable[FrozenTrial]) -> set[int]:
    """The numbers of failed trials whose settings run again."""
    return {trial.user_attrs[RETRIES] for trial in trials if RETRIES in trial.user_attrs}
